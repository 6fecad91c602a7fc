//! The upper part of a blob's BLAKE3 tree: one chaining value for each range.

use crate::Error;
use blake3::hazmat::{ChainingValue, HasherExt, Mode, merge_subtrees_non_root, merge_subtrees_root};
use eyot_model::Digest;

/// Length of a range in bytes; the last one of a blob may be shorter. A power of two, so that each range is a subtree.
pub const RANGE_LEN: u64 = 1 << 20;
/// Bytes of one chaining value.
const VALUE_LEN: usize = 32;

/// The chaining values of a blob's ranges. An `Outline` is always proven: its values merge to `digest`.
///
/// A blob of one range or less needs no values: its bytes are checked against the digest itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outline {
    digest: Digest,
    size: u64,
    values: Vec<ChainingValue>,
}

impl Outline {
    /// Checks that the values are those of `digest`. `bytes` are [`Outline::encoded_len`] bytes from anywhere.
    ///
    /// # Errors
    /// [`Error::WrongOutline`].
    pub fn decode(digest: Digest, size: u64, bytes: &[u8]) -> Result<Self, Error> {
        let wrong = || Error::WrongOutline { digest };
        if usize::try_from(Self::encoded_len(size)).ok() != Some(bytes.len()) {
            return Err(wrong());
        }
        let (values, _) = bytes.as_chunks::<VALUE_LEN>();
        let outline = Self {
            digest,
            size,
            values: values.to_vec(),
        };
        let right = match outline.values.as_slice() {
            [] => size > 0 || digest == Digest::of(&[]),
            values => root(values) == digest,
        };
        if right { Ok(outline) } else { Err(wrong()) }
    }

    /// From values that were computed here. None if the blob has one range or less, where nothing is to be merged.
    pub(crate) fn from_values(size: u64, values: Vec<ChainingValue>) -> Option<Self> {
        (values.len() > 1).then(|| Self {
            digest: root(&values),
            size,
            values,
        })
    }

    /// Of a blob of one range or less.
    pub(crate) fn small(digest: Digest, size: u64) -> Self {
        Self {
            digest,
            size,
            values: Vec::new(),
        }
    }

    /// Length in bytes of the outline of a blob of `size` bytes; zero for one range or less.
    #[must_use]
    pub fn encoded_len(size: u64) -> u64 {
        match ranges(size) {
            0 | 1 => 0,
            n => n * VALUE_LEN as u64,
        }
    }

    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        self.values.as_flattened().to_vec()
    }

    #[must_use]
    pub fn digest(&self) -> Digest {
        self.digest
    }

    /// Length of the blob in bytes.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Number of ranges.
    #[must_use]
    pub fn ranges(&self) -> u64 {
        ranges(self.size)
    }

    /// Length of a range in bytes; zero beyond the end.
    #[must_use]
    pub fn range_len(&self, range: u64) -> u64 {
        self.size.saturating_sub(range.saturating_mul(RANGE_LEN)).min(RANGE_LEN)
    }

    /// Checks the bytes of one range.
    ///
    /// # Errors
    /// [`Error::WrongRange`], also if the length is not that of the range.
    pub fn verify(&self, range: u64, bytes: &[u8]) -> Result<(), Error> {
        let right = bytes.len() as u64 == self.range_len(range)
            && !bytes.is_empty()
            && match usize::try_from(range).ok().and_then(|i| self.values.get(i)) {
                Some(value) => range_value(range, bytes) == *value,
                None => range == 0 && self.values.is_empty() && Digest::of(bytes) == self.digest,
            };
        if right {
            Ok(())
        } else {
            Err(Error::WrongRange {
                digest: self.digest,
                range,
            })
        }
    }
}

fn ranges(size: u64) -> u64 {
    size.div_ceil(RANGE_LEN)
}

/// The chaining value of a range that is not the whole blob.
pub(crate) fn range_value(range: u64, bytes: &[u8]) -> ChainingValue {
    let mut hasher = blake3::Hasher::new();
    hasher.set_input_offset(range * RANGE_LEN);
    hasher.update(bytes);
    hasher.finalize_non_root()
}

/// Of at least two values: the left subtree is the largest power of two of ranges that leaves some for the right one.
fn split(values: &[ChainingValue]) -> (&[ChainingValue], &[ChainingValue]) {
    values.split_at(values.len().div_ceil(2).next_power_of_two())
}

fn root(values: &[ChainingValue]) -> Digest {
    let (left, right) = split(values);
    Digest(*merge_subtrees_root(&merge(left), &merge(right), Mode::Hash).as_bytes())
}

fn merge(values: &[ChainingValue]) -> ChainingValue {
    match values {
        [one] => *one,
        more => {
            let (left, right) = split(more);
            merge_subtrees_non_root(&merge(left), &merge(right), Mode::Hash)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn bytes(len: usize, seed: u8) -> Vec<u8> {
        let mut bytes = vec![0; len];
        blake3::Hasher::new().update(&[seed]).finalize_xof().fill(&mut bytes);
        bytes
    }

    fn outline(bytes: &[u8]) -> Outline {
        let values: Vec<_> = bytes
            .chunks(RANGE_LEN as usize)
            .enumerate()
            .map(|(i, range)| range_value(i as u64, range))
            .collect();
        Outline::from_values(bytes.len() as u64, values).unwrap_or_else(|| Outline::small(Digest::of(bytes), bytes.len() as u64))
    }

    #[test]
    fn values_merge_to_the_digest_for_every_shape_of_tree() {
        let mib = RANGE_LEN as usize;
        for len in [
            0,
            1,
            mib - 1,
            mib,
            mib + 1,
            2 * mib,
            2 * mib + 1,
            3 * mib,
            4 * mib,
            5 * mib + 7,
            7 * mib,
            9 * mib - 1,
        ] {
            let bytes = bytes(len, 1);
            let outline = outline(&bytes);
            assert_eq!(outline.digest(), Digest::of(&bytes), "{len}");
            let back = Outline::decode(Digest::of(&bytes), len as u64, &outline.encode()).unwrap();
            for (i, range) in bytes.chunks(mib).enumerate() {
                back.verify(i as u64, range).unwrap();
            }
        }
    }

    #[test]
    fn a_wrong_size_never_passes() {
        let mib = RANGE_LEN as usize;
        let whole = bytes(4 * mib, 2);
        let outline = outline(&whole);
        let digest = Digest::of(&whole);
        // The inner nodes as if they were the values of a blob half as long: they do merge to the digest …
        let pairs: Vec<u8> = outline.values.chunks(2).flat_map(merge).collect();
        let half = Outline::decode(digest, 2 * RANGE_LEN, &pairs).unwrap();
        // … but no bytes fit them.
        assert!(half.verify(0, &whole[..mib]).is_err());
        assert!(Outline::decode(digest, 4 * RANGE_LEN + 1, &outline.encode()).is_err());
        assert!(Outline::decode(digest, 3 * RANGE_LEN, &outline.encode()).is_err());
        let short = Outline::decode(digest, 4 * RANGE_LEN - 1, &outline.encode()).unwrap();
        assert!(short.verify(3, &whole[3 * mib..4 * mib - 1]).is_err());
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]
        #[test]
        fn a_flipped_bit_is_found_in_its_range_and_only_there(len in 1usize..(3 << 20), at in any::<prop::sample::Index>(), bit in 0u8..8) {
            let mut bytes = bytes(len, 3);
            let outline = outline(&bytes);
            let at = at.index(len);
            bytes[at] ^= 1 << bit;
            for (i, range) in bytes.chunks(RANGE_LEN as usize).enumerate() {
                let here = at / RANGE_LEN as usize == i;
                prop_assert_eq!(outline.verify(i as u64, range).is_err(), here);
            }
        }
    }
}

//! Segments: the files of the journal, their names and headers.
//!
//! Each header names the segment before it and where that one's content ends, so the journal is a chain: what lies
//! beyond that end, or outside the chain, does not belong to it. The header is durable before the first frame is written, and it lies
//! in the file twice, in different pages.

/// Bytes before the first frame.
pub(crate) const SEGMENT_HEADER: u64 = 8192;
const COPY_AT: usize = 4096;
const MAGIC: &[u8; 8] = b"eyotjrn1";
const LEN: usize = 8 + 10 * 8 + 4;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Header {
    /// Number of this segment; counts from 1, never used twice.
    pub(crate) index: u64,
    /// The segment before this one; 0 where this is the first.
    pub(crate) previous: u64,
    /// Where that one's content ends: what is before is durable, what is behind is to be ignored.
    pub(crate) previous_end: u64,
    pub(crate) generation: u64,
    /// The generation of the segment before.
    pub(crate) previous_generation: u64,
    /// Number of the last record before this segment.
    pub(crate) before: u64,
    /// No record that stands here has this number or a higher one.
    pub(crate) bound: u64,
    /// Every segment up to this number is no longer needed.
    pub(crate) dropped: u64,
    /// Damage in segments up to this number is known, reported, and answered by a new generation.
    pub(crate) examined: u64,
    /// Bytes reserved for the file.
    pub(crate) capacity: u64,
}

impl Header {
    fn bytes(&self) -> [u8; LEN] {
        let mut out = [0; LEN];
        out[..8].copy_from_slice(MAGIC);
        let fields = [
            self.index,
            self.previous,
            self.previous_end,
            self.generation,
            self.previous_generation,
            self.before,
            self.bound,
            self.dropped,
            self.examined,
            self.capacity,
        ];
        for (slot, field) in out[8..].chunks_exact_mut(8).zip(fields) {
            slot.copy_from_slice(&field.to_le_bytes());
        }
        let crc = crc32fast::hash(&out[..LEN - 4]);
        out[LEN - 4..].copy_from_slice(&crc.to_le_bytes());
        out
    }

    /// The whole beginning of a segment.
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut out = vec![0; 2 * COPY_AT];
        let bytes = self.bytes();
        out[..LEN].copy_from_slice(&bytes);
        out[COPY_AT..COPY_AT + LEN].copy_from_slice(&bytes);
        out
    }

    /// The header, from whichever of its two places is sound.
    pub(crate) fn decode(segment: &[u8]) -> Option<Self> {
        [0, COPY_AT].into_iter().find_map(|at| Self::decode_one(segment.get(at..at + LEN)?))
    }

    fn decode_one(bytes: &[u8]) -> Option<Self> {
        let (covered, crc) = bytes.split_at_checked(LEN - 4)?;
        if !covered.starts_with(MAGIC) || crc32fast::hash(covered).to_le_bytes() != crc {
            return None;
        }
        let mut fields = covered[8..]
            .chunks_exact(8)
            .map(|field| u64::from_le_bytes(field.try_into().unwrap_or_default()));
        let mut next = || fields.next();
        Some(Self {
            index: next()?,
            previous: next()?,
            previous_end: next()?,
            generation: next()?,
            previous_generation: next()?,
            before: next()?,
            bound: next()?,
            dropped: next()?,
            examined: next()?,
            capacity: next()?,
        })
    }
}

pub(crate) fn name(index: u64) -> String {
    format!("journal-{index:016x}.seg")
}

/// The number in a segment's name; None for other files.
pub(crate) fn index_of(name: &str) -> Option<u64> {
    let hex = name.strip_prefix("journal-")?.strip_suffix(".seg")?;
    (hex.len() == 16)
        .then(|| u64::from_str_radix(hex, 16).ok())
        .flatten()
        .filter(|i| self::name(*i) == name)
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEADER: Header = Header {
        index: 3,
        previous: 2,
        previous_end: 10_000,
        generation: 77,
        previous_generation: 76,
        before: 1_000,
        bound: 250_000,
        dropped: 1,
        examined: 0,
        capacity: 4 << 20,
    };

    #[test]
    fn a_header_survives_the_loss_of_one_of_its_pages() {
        let whole = HEADER.encode();
        assert_eq!(whole.len() as u64, SEGMENT_HEADER);
        for lost in [0..4096, 4096..8192] {
            let mut bytes = whole.clone();
            bytes[lost].fill(0xff);
            assert_eq!(Header::decode(&bytes), Some(HEADER));
        }
        assert_eq!(Header::decode(&vec![0; 8192]), None);
        assert_eq!(Header::decode(&[]), None);
    }

    #[test]
    fn names_and_numbers_belong_together() {
        assert_eq!(index_of(&name(0xabc)), Some(0xabc));
        for other in [
            "journal-1.seg",
            "journal-000000000000000A.seg",
            "reserve",
            "journal-0000000000000001.seg.bad",
        ] {
            assert_eq!(index_of(other), None, "{other}");
        }
    }
}

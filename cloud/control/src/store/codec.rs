//! Structures in BLOB columns: a version byte, a checksum of what follows, then postcard. SQLite itself does not notice a
//! bit that flips within a value.

use super::Error;
use eyot_model::Digest;
use serde::{Serialize, de::DeserializeOwned};

const VERSION: u8 = 1;
/// Bytes of the checksum: the beginning of the body's BLAKE3 digest.
const SUM: usize = 4;

pub(super) fn encode<T: Serialize>(value: &T, what: &'static str) -> Result<Vec<u8>, Error> {
    let mut bytes = postcard::to_extend(value, vec![VERSION, 0, 0, 0, 0]).map_err(|source| Error::Corrupt {
        what,
        source: Some(source),
    })?;
    let sum = sum_of(&bytes[1 + SUM..]);
    bytes[1..=SUM].copy_from_slice(&sum);
    Ok(bytes)
}

pub(super) fn decode<T: DeserializeOwned>(bytes: &[u8], what: &'static str) -> Result<T, Error> {
    let damaged = Error::Corrupt { what, source: None };
    let Some(([VERSION, sum @ ..], body)) = bytes.split_first_chunk::<{ 1 + SUM }>() else {
        return Err(damaged);
    };
    if *sum != sum_of(body) {
        return Err(damaged);
    }
    postcard::from_bytes(body).map_err(|source| Error::Corrupt {
        what,
        source: Some(source),
    })
}

fn sum_of(body: &[u8]) -> [u8; SUM] {
    let [a, b, c, d, ..] = Digest::of(body).0;
    [a, b, c, d]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_flipped_bit_is_noticed() {
        let bytes = encode(&("a text", 7_u64, vec![1_u8, 2, 3]), "a tuple").unwrap();
        let read = |bytes: &[u8]| decode::<(String, u64, Vec<u8>)>(bytes, "a tuple");
        assert_eq!(read(&bytes).unwrap(), ("a text".to_owned(), 7, vec![1, 2, 3]));
        for bit in 0..bytes.len() * 8 {
            let mut flipped = bytes.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert!(matches!(read(&flipped), Err(Error::Corrupt { .. })), "bit {bit}");
        }
    }
}

//! Structures in BLOB columns: a version byte, then postcard.

use super::Error;
use serde::{Serialize, de::DeserializeOwned};

const VERSION: u8 = 1;

pub(super) fn encode<T: Serialize>(value: &T, what: &'static str) -> Result<Vec<u8>, Error> {
    postcard::to_extend(value, vec![VERSION]).map_err(|source| Error::Corrupt {
        what,
        source: Some(source),
    })
}

pub(super) fn decode<T: DeserializeOwned>(bytes: &[u8], what: &'static str) -> Result<T, Error> {
    match bytes.split_first() {
        Some((&VERSION, body)) => postcard::from_bytes(body).map_err(|source| Error::Corrupt {
            what,
            source: Some(source),
        }),
        _ => Err(Error::Corrupt { what, source: None }),
    }
}

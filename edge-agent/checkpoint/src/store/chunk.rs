//! How trees, keys and large values lie in the one flat key space of the database.
//!
//! Everything lies in one database tree, so that a batch over several of our trees is one batch of the database. A value
//! over [`INLINE_LIMIT`] is cut into pieces under keys of their own: a leaf of the database holds up to some
//! 27 pairs before it is split and written anew, and a leaf over a quarter of the database's segment (128 KiB) would spill into a side
//! file that the database never syncs.

use super::StoreError;

/// Longest value that is stored with its key, and longest piece of a longer one, in bytes.
pub(super) const INLINE_LIMIT: usize = 3 << 10;

const HEAD: u8 = b'h';
const PIECE: u8 = b'p';
const META: u8 = b'm';

/// Key of the folded position.
pub(super) const FOLDED_KEY: &[u8] = &[META, b'f'];

/// The key of a pair: marker, length of the tree's name, name, key.
pub(super) fn head_key(tree: &str, key: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(2 + tree.len() + key.len());
    out.push(HEAD);
    // Names are at most 32 bytes.
    out.push(tree.len().to_le_bytes()[0]);
    out.extend_from_slice(tree.as_bytes());
    out.extend_from_slice(key);
    out
}

/// What is left of a pair's key after the tree's part.
pub(super) fn bare_key<'a>(tree: &str, head: &'a [u8]) -> &'a [u8] {
    head.get(2 + tree.len()..).unwrap_or_default()
}

/// The key of a piece: marker, length of the pair's key without its marker, that key, number.
pub(super) fn piece_key(head: &[u8], number: u32) -> Vec<u8> {
    let body = &head[1..];
    let mut out = Vec::with_capacity(2 + body.len() + 4);
    out.push(PIECE);
    // Name and key are at most 225 bytes together.
    out.push(body.len().to_le_bytes()[0]);
    out.extend_from_slice(body);
    out.extend_from_slice(&number.to_be_bytes());
    out
}

/// What is stored under a pair's key.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Head<'a> {
    Inline(&'a [u8]),
    /// Length of the whole value in bytes.
    Cut {
        len: usize,
    },
}

pub(super) fn encode_inline(value: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(1 + value.len());
    out.push(0);
    out.extend_from_slice(value);
    out
}

pub(super) fn encode_cut(len: usize) -> Vec<u8> {
    let mut out = vec![1];
    out.extend_from_slice(&(len as u64).to_le_bytes());
    out
}

pub(super) fn decode(stored: &[u8]) -> Result<Head<'_>, StoreError> {
    match stored.split_first() {
        Some((0, value)) => Ok(Head::Inline(value)),
        Some((1, len)) => len
            .try_into()
            .ok()
            .and_then(|len| usize::try_from(u64::from_le_bytes(len)).ok())
            .filter(|len| *len <= super::VALUE_LIMIT)
            .map(|len| Head::Cut { len })
            .ok_or_else(|| StoreError::Damaged("a long value has no length".into())),
        _ => Err(StoreError::Damaged("a value begins with an unknown mark".into())),
    }
}

/// Number of pieces of a value of `len` bytes.
pub(super) fn pieces(len: usize) -> u32 {
    // At most 32 MiB / 3 KiB.
    u32::try_from(len.div_ceil(INLINE_LIMIT)).unwrap_or(u32::MAX)
}

//! Frames: how one item of the journal lies in a segment.
//!
//! `crc32 (4) | body length (4) | kind (1) | n (8) | body`, little endian. The checksum covers everything after
//! itself and the number of the segment, so that bytes of another segment never pass for one of this one.

use crate::record::{Entry, Keep, LiveKey, RECORD_LIMIT, Record};
use eyot_model::Position;

/// Bytes before the body.
pub(crate) const FRAME_HEADER: usize = 17;
/// Bytes of a whole mark.
pub(crate) const MARK_LEN: usize = FRAME_HEADER + 16;
const KEY_LEN: usize = 16;
const COPY_LEN: usize = 8 + KEY_LEN;
/// Longest body.
const BODY_LIMIT: usize = RECORD_LIMIT + COPY_LEN;

const RECORD: u8 = 1;
const LIVE: u8 = 2;
const ENDS: u8 = 3;
const COPY: u8 = 4;
const MARK: u8 = 5;
const CLOSE: u8 = 6;
const RENEWS: u8 = 7;
const SETTLES: u8 = 8;
/// Set in the kind of all frames of a batch but the last: a batch is recovered whole or not at all.
const MORE: u8 = 0x80;

/// One frame, as read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Frame<'a> {
    /// A record of this segment's generation.
    Record { n: u64, keep: Keep, payload: &'a [u8], more: bool },
    /// A record of a segment that is gone, at its old position.
    Copy {
        position: Position,
        key: LiveKey,
        payload: &'a [u8],
        more: bool,
    },
    /// This segment is durable up to `offset`, which is where record `n` ends; segments up to number `dropped` are no longer needed.
    Mark { n: u64, offset: u64, dropped: u64, more: bool },
    /// The journal was closed in order, and no number after `n` was ever given to a record.
    Close { n: u64 },
}

impl Frame<'_> {
    pub(crate) fn more(&self) -> bool {
        match self {
            Self::Record { more, .. } | Self::Copy { more, .. } | Self::Mark { more, .. } => *more,
            Self::Close { .. } => false,
        }
    }
}

fn checksum(segment: u64, covered: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&segment.to_le_bytes());
    hasher.update(covered);
    hasher.finalize()
}

fn encode(out: &mut Vec<u8>, segment: u64, kind: u8, n: u64, parts: [&[u8]; 3]) {
    let start = out.len();
    let len: usize = parts.iter().map(|part| part.len()).sum();
    out.extend_from_slice(&[0; 4]);
    // Callers keep bodies under BODY_LIMIT, far below 4 GiB.
    out.extend_from_slice(&u32::try_from(len).unwrap_or(u32::MAX).to_le_bytes());
    out.push(kind);
    out.extend_from_slice(&n.to_le_bytes());
    for part in parts {
        out.extend_from_slice(part);
    }
    let crc = checksum(segment, &out[start + 4..]);
    out[start..start + 4].copy_from_slice(&crc.to_le_bytes());
}

pub(crate) fn encode_record(out: &mut Vec<u8>, segment: u64, n: u64, keep: Keep, payload: &[u8], more: bool) {
    let more = if more { MORE } else { 0 };
    let (kind, key) = match keep {
        Keep::UntilFolded => return encode(out, segment, RECORD | more, n, [payload, &[], &[]]),
        Keep::WhileLive(key) => (LIVE, key),
        Keep::Ends(key) => (ENDS, key),
        Keep::Renews(key) => (RENEWS, key),
        Keep::Settles(key) => (SETTLES, key),
    };
    encode(out, segment, kind | more, n, [&key.0.to_le_bytes(), payload, &[]]);
}

/// A copy of a live record, never the last frame of its batch.
pub(crate) fn encode_copy(out: &mut Vec<u8>, segment: u64, entry: &Entry, key: LiveKey) {
    let head = entry.position.generation.to_le_bytes();
    encode(
        out,
        segment,
        COPY | MORE,
        entry.position.n,
        [&head, &key.0.to_le_bytes(), &entry.payload],
    );
}

pub(crate) fn encode_mark(out: &mut Vec<u8>, segment: u64, n: u64, offset: u64, dropped: u64) {
    encode(out, segment, MARK, n, [&offset.to_le_bytes(), &dropped.to_le_bytes(), &[]]);
}

pub(crate) fn encode_close(out: &mut Vec<u8>, segment: u64, n: u64) {
    encode(out, segment, CLOSE, n, [&[], &[], &[]]);
}

/// Bytes of a record's frame.
pub(crate) fn record_len(record: &Record) -> usize {
    let key = match record.keep {
        Keep::UntilFolded => 0,
        Keep::WhileLive(_) | Keep::Ends(_) | Keep::Renews(_) | Keep::Settles(_) => KEY_LEN,
    };
    FRAME_HEADER + key + record.payload.len()
}

/// Bytes of a copy's frame.
pub(crate) fn copy_len(entry: &Entry) -> usize {
    FRAME_HEADER + COPY_LEN + entry.payload.len()
}

fn array<const N: usize>(bytes: &[u8], at: usize) -> Option<[u8; N]> {
    bytes.get(at..at + N)?.try_into().ok()
}

/// The frame at the beginning of `bytes` and its length; None where there is no whole, sound frame.
pub(crate) fn decode(bytes: &[u8], segment: u64) -> Option<(Frame<'_>, usize)> {
    let kind = *bytes.get(8)?;
    let more = kind & MORE != 0;
    let kind = kind & !MORE;
    if !(RECORD..=SETTLES).contains(&kind) {
        return None;
    }
    let len = usize::try_from(u32::from_le_bytes(array(bytes, 4)?)).ok()?;
    if len > BODY_LIMIT {
        return None;
    }
    let whole = FRAME_HEADER + len;
    let covered = bytes.get(4..whole)?;
    if checksum(segment, covered) != u32::from_le_bytes(array(bytes, 0)?) {
        return None;
    }
    let n = u64::from_le_bytes(array(bytes, 9)?);
    let body = &bytes[FRAME_HEADER..whole];
    let key = |at| Some(LiveKey(u128::from_le_bytes(array(body, at)?)));
    let frame = match kind {
        RECORD => Frame::Record {
            n,
            keep: Keep::UntilFolded,
            payload: body,
            more,
        },
        LIVE | ENDS | RENEWS | SETTLES => Frame::Record {
            n,
            keep: match kind {
                LIVE => Keep::WhileLive(key(0)?),
                ENDS => Keep::Ends(key(0)?),
                RENEWS => Keep::Renews(key(0)?),
                _ => Keep::Settles(key(0)?),
            },
            payload: &body[KEY_LEN..],
            more,
        },
        COPY => Frame::Copy {
            position: Position {
                generation: u64::from_le_bytes(array(body, 0)?),
                n,
            },
            key: key(8)?,
            payload: &body[COPY_LEN..],
            more,
        },
        MARK => Frame::Mark {
            n,
            offset: u64::from_le_bytes(array(body, 0)?),
            dropped: u64::from_le_bytes(array(body, 8)?),
            more,
        },
        _ => Frame::Close { n },
    };
    Some((frame, whole))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_read_back_in_their_own_segment_and_in_no_other() {
        let mut bytes = Vec::new();
        encode_record(&mut bytes, 7, 42, Keep::WhileLive(LiveKey(9)), b"hello", true);
        let (frame, len) = decode(&bytes, 7).unwrap();
        assert_eq!(len, bytes.len());
        assert_eq!(
            frame,
            Frame::Record {
                n: 42,
                keep: Keep::WhileLive(LiveKey(9)),
                payload: b"hello",
                more: true
            }
        );
        assert!(decode(&bytes, 8).is_none());
        let mut mark = Vec::new();
        encode_mark(&mut mark, 7, 42, 99, 3);
        assert_eq!(mark.len(), MARK_LEN);
    }

    #[test]
    fn every_flipped_bit_and_every_cut_is_noticed() {
        let mut bytes = Vec::new();
        encode_record(&mut bytes, 1, 5, Keep::UntilFolded, b"payload", false);
        for bit in 0..bytes.len() * 8 {
            let mut wrong = bytes.clone();
            wrong[bit / 8] ^= 1 << (bit % 8);
            assert!(decode(&wrong, 1).is_none(), "bit {bit}");
        }
        for len in 0..bytes.len() {
            assert!(decode(&bytes[..len], 1).is_none(), "cut at {len}");
        }
        assert!(decode(&[0; 64], 1).is_none());
    }
}

//! Reading the frames of one segment.

use super::frame::{self, Frame, MARK_LEN};
use super::scan::{Damage, DamageKind, Scanned, damage};
use super::segment::{Header, SEGMENT_HEADER};
use crate::record::{Entry, Keep};
use eyot_model::Position;

/// A record or copy, as it came.
#[derive(Debug)]
pub(crate) struct Item {
    pub(crate) segment: u64,
    /// Where its frame ends.
    pub(crate) end: u64,
    pub(crate) entry: Entry,
    pub(crate) copy: bool,
}

/// Reads one segment.
#[derive(Debug)]
pub(crate) struct Reader {
    pub(crate) scanned: Scanned,
    stated_end: Option<u64>,
    is_last: bool,
    pub(crate) items: Vec<Item>,
    pub(crate) damage: Vec<Damage>,
    pub(crate) last: u64,
    /// First number that cannot stand in this segment.
    pub(crate) possible: u64,
    pub(crate) dropped: u64,
    pub(crate) torn: u64,
    /// The last number that was given out, where the last frame says so.
    pub(crate) closed: Option<u64>,
}

impl Reader {
    /// `before` is the number of the last record before this segment. Without a stated end, what is behind the last mark may be torn.
    pub(crate) fn new(header: &Header, stated_end: Option<u64>, is_last: bool, before: u64) -> Self {
        Self {
            scanned: Scanned {
                header: *header,
                end: SEGMENT_HEADER,
                last: before,
                durable_end: SEGMENT_HEADER,
                durable: before,
                file_len: 0,
            },
            stated_end,
            is_last,
            items: Vec::new(),
            damage: Vec::new(),
            last: before,
            possible: header.bound,
            dropped: 0,
            torn: 0,
            closed: None,
        }
    }

    pub(crate) fn read(&mut self, bytes: &[u8]) {
        let index = self.scanned.header.index;
        self.scanned.file_len = bytes.len() as u64;
        let to_usize = |offset: u64| usize::try_from(offset).unwrap_or(usize::MAX);
        let limit = self.stated_end.map_or(bytes.len(), to_usize).min(bytes.len());
        let within = &bytes[..limit];
        let mut at = to_usize(SEGMENT_HEADER).min(limit);
        let durable_end = match self.stated_end {
            Some(end) => to_usize(end),
            None => self.last_mark(within, at),
        };
        let mut batch = Batch::default();
        let mut expected = None;
        while at < limit {
            let sound = frame::decode(&within[at..], index).filter(|(frame, _)| follows(frame, expected));
            if let Some((frame, len)) = sound {
                self.closed = match frame {
                    Frame::Close { n } => Some(n),
                    _ => None,
                };
                if let Frame::Record { n, .. } = frame {
                    expected = Some(n + 1);
                }
                at += len;
                self.take(&frame, at, &mut batch);
                continue;
            }
            if at >= durable_end {
                break;
            }
            self.closed = None;
            let found = Search::new(within, index).next(at + 1).filter(|(offset, ..)| *offset < durable_end);
            let next = found.as_ref().map_or(durable_end.min(limit), |(offset, ..)| *offset);
            // A mark that went bad says nothing that later ones do not say again; the numbers tell that no record is gone.
            let unbroken = next - at == MARK_LEN && found.as_ref().is_some_and(|(_, frame, _)| continues(frame, expected));
            self.damage.push(damage(
                index,
                DamageKind::BadBytes {
                    offset: at as u64,
                    len: (next - at) as u64,
                },
                !unbroken,
            ));
            // What is left of a batch that had been durable is better than nothing of it.
            batch.end(at, self);
            expected = None;
            at = next;
        }
        if at < durable_end && limit < durable_end {
            let len = (durable_end - at.max(limit)) as u64;
            self.damage
                .push(damage(index, DamageKind::BadBytes { offset: limit as u64, len }, true));
        }
        if self.stated_end.is_some() {
            // Durable to the stated end, so no batch is open, and nothing follows.
            batch.end(at, self);
            self.scanned.end = self.stated_end.unwrap_or_default();
            self.scanned.durable_end = self.scanned.end;
            self.scanned.durable = self.last;
        } else {
            let tail = &bytes[to_usize(self.scanned.end).min(bytes.len())..];
            self.torn = tail.iter().rposition(|byte| *byte != 0).map_or(0, |last| last as u64 + 1);
            self.closed = self.closed.filter(|_| self.torn == 0 && self.is_last);
            // With the machine down in between, a torn tail may hide further marks; what was read up to here stands.
            self.scanned.durable_end = self.scanned.durable_end.max(durable_end.min(to_usize(self.scanned.end)) as u64);
        }
        self.scanned.last = self.last;
    }

    /// How far marks anywhere in the segment say that it was durable.
    fn last_mark(&mut self, bytes: &[u8], from: usize) -> usize {
        let index = self.scanned.header.index;
        let mut at = from;
        let mut durable = from;
        let search = Search::new(bytes, index);
        while let Some((start, frame, len)) = search.next(at) {
            if let Frame::Mark { n, offset, .. } = frame {
                let end = usize::try_from(offset).unwrap_or_default();
                if end > durable && end <= bytes.len() {
                    durable = end;
                    self.scanned.durable = self.scanned.durable.max(n);
                }
            }
            at = start + len;
        }
        durable
    }

    fn take(&mut self, frame: &Frame<'_>, end: usize, batch: &mut Batch) {
        let entry = match *frame {
            Frame::Record { n, keep, payload, .. } => Some((self.position(n), keep, payload, false)),
            Frame::Copy {
                position, key, payload, ..
            } => Some((position, Keep::WhileLive(key), payload, true)),
            Frame::Mark { dropped, .. } => {
                batch.dropped = batch.dropped.max(dropped);
                None
            }
            Frame::Close { .. } => None,
        };
        if let Some((position, keep, payload, copy)) = entry {
            let entry = Entry {
                position,
                keep,
                payload: payload.to_vec(),
            };
            batch.items.push(Item {
                segment: self.scanned.header.index,
                end: end as u64,
                entry,
                copy,
            });
        }
        if !frame.more() {
            batch.end(end, self);
        }
    }

    fn position(&self, n: u64) -> Position {
        Position {
            generation: self.scanned.header.generation,
            n,
        }
    }
}

/// Frames of a batch whose last frame has not come yet.
#[derive(Debug, Default)]
struct Batch {
    items: Vec<Item>,
    dropped: u64,
}

impl Batch {
    fn end(&mut self, end: usize, reader: &mut Reader) {
        for item in &self.items {
            if !item.copy {
                reader.last = reader.last.max(item.entry.position.n);
            }
        }
        reader.items.append(&mut self.items);
        reader.dropped = reader.dropped.max(self.dropped);
        reader.scanned.end = end as u64;
    }
}

/// Whether a frame can come where record `expected` is due.
fn follows(frame: &Frame<'_>, expected: Option<u64>) -> bool {
    match (frame, expected) {
        (Frame::Record { n, .. }, Some(expected)) => *n >= expected,
        _ => true,
    }
}

/// Whether a frame shows that no record before it is missing.
fn continues(frame: &Frame<'_>, expected: Option<u64>) -> bool {
    match frame {
        Frame::Record { n, .. } => Some(*n) == expected,
        Frame::Mark { n, .. } | Frame::Close { n } => Some(*n + 1) == expected,
        Frame::Copy { .. } => false,
    }
}

/// Looks for sound frames where it is not known where one begins.
pub(crate) struct Search<'a> {
    bytes: &'a [u8],
    /// No frame begins here or behind: all the rest is zero.
    end: usize,
    segment: u64,
}

impl<'a> Search<'a> {
    pub(crate) fn new(bytes: &'a [u8], segment: u64) -> Self {
        Self {
            bytes,
            end: bytes.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1),
            segment,
        }
    }

    /// The first sound frame at or after `from`: its offset, itself, its length.
    pub(crate) fn next(&self, from: usize) -> Option<(usize, Frame<'a>, usize)> {
        (from..self.end).find_map(|at| frame::decode(&self.bytes[at..], self.segment).map(|(frame, len)| (at, frame, len)))
    }
}

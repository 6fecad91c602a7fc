//! Reading a journal back: what is whole, what was never finished, and what is damaged.
//!
//! The bytes up to the last mark of the last segment, and up to the end that its successor states for every other one, were durable: a bad
//! frame there is damage. Behind them it is the torn tail of a write that nobody relied on.

use super::frame::{self, FRAME_HEADER, Frame, MARK_LEN};
use super::live::LiveSet;
use super::segment::{self, Header, SEGMENT_HEADER};
use crate::disk::{Disk, DiskFile, read_all};
use crate::record::{Entry, Keep};
use eyot_model::Position;
use std::collections::{BTreeMap, BTreeSet};
use std::io;

/// Longest file that is taken for a segment, in bytes.
const FILE_LIMIT: u64 = 256 << 20;

/// What was wrong with a file of the journal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Damage {
    /// Name of the file.
    pub file: String,
    pub kind: DamageKind,
    /// Whether durable records may be gone.
    pub lost: bool,
    /// Name of the copy that was set aside.
    pub quarantined: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DamageKind {
    /// Bytes that had been durable are not sound frames.
    BadBytes { offset: u64, len: u64 },
    /// A segment that the chain needs is not there.
    Missing,
    /// Neither copy of the header is sound, though there are frames.
    BadHeader,
    /// The file's header belongs to another name: a copy.
    Misnamed,
    /// A segment with records that no other segment leads to.
    OutsideChain,
    /// The system does not give its content.
    Unreadable,
}

/// One segment of the chain.
#[derive(Clone, Debug)]
pub(crate) struct Scanned {
    pub(crate) header: Header,
    /// Where its content ends.
    pub(crate) end: u64,
    /// The last record in it or before it.
    pub(crate) last: u64,
    /// Up to here the content is known to have been durable.
    pub(crate) durable_end: u64,
    /// The last record that is known to have been durable.
    pub(crate) durable: u64,
    pub(crate) file_len: u64,
}

/// A journal as found.
#[derive(Debug, Default)]
pub(crate) struct Scan {
    /// In order.
    pub(crate) chain: Vec<Scanned>,
    /// Records and copies by number, each once.
    pub(crate) entries: BTreeMap<u64, Entry>,
    pub(crate) live: LiveSet,
    pub(crate) damage: Vec<Damage>,
    /// Bytes of a torn tail that are cut.
    pub(crate) torn: u64,
    /// Closed in order.
    pub(crate) clean: bool,
    pub(crate) last: u64,
    /// First number that no record can have had before.
    pub(crate) next: u64,
    /// No file has or had this number of a segment, or a higher one.
    pub(crate) next_index: u64,
    pub(crate) dropped: u64,
    pub(crate) examined: u64,
    /// Numbers of the copies that are not known to be durable.
    pub(crate) unsure_copies: BTreeSet<u64>,
    /// That segments were dropped stands in a frame alone, which may not be durable.
    pub(crate) unsure_drop: bool,
    /// Files that mean nothing any more.
    pub(crate) leftovers: Vec<String>,
}

impl Scan {
    pub(crate) fn lost(&self) -> bool {
        self.damage.iter().any(|damage| damage.lost)
    }

    pub(crate) fn generations(&self) -> impl Iterator<Item = u64> + '_ {
        self.chain.iter().flat_map(|s| [s.header.generation, s.header.previous_generation])
    }
}

/// Reads the whole journal. Changes nothing on the disk.
///
/// # Errors
/// Only when the folder cannot be listed: whatever is wrong with its files is in the result.
pub(crate) fn scan(disk: &dyn Disk) -> io::Result<Scan> {
    let mut scan = Scan::default();
    let mut headers = BTreeMap::new();
    let mut highest = 0;
    for index in disk.list()?.iter().filter_map(|name| segment::index_of(name)) {
        highest = highest.max(index);
        if let Some(found) = scan.read_header(disk, index) {
            headers.insert(index, found);
        }
    }
    scan.next_index = highest + 1;
    scan.dropped = headers.values().map(|h: &Header| h.dropped).max().unwrap_or_default();
    scan.examined = headers.values().map(|h: &Header| h.examined).max().unwrap_or_default();

    let (chain, missing) = link(&headers);
    let mut items = Vec::new();
    let mut last = 0;
    let mut closed = None;
    for (at, header) in chain.iter().enumerate() {
        let successor = chain.get(at + 1);
        let stated_end = successor.filter(|s| s.previous == header.index).map(|s| s.previous_end);
        let mut reader = Reader::new(header, stated_end, successor.is_none(), last.max(header.before));
        match disk.open(&segment::name(header.index)).and_then(|file| read_all(&*file)) {
            Ok(bytes) => reader.read(&bytes),
            Err(_) => scan.damage.push(damage(header.index, DamageKind::Unreadable, true)),
        }
        last = last.max(reader.last);
        scan.next = scan.next.max(reader.possible);
        scan.unsure_drop |= reader.dropped > scan.dropped;
        scan.dropped = scan.dropped.max(reader.dropped);
        scan.damage.append(&mut reader.damage);
        if successor.is_none() {
            scan.torn = reader.torn;
            scan.clean = reader.closed.is_some();
            closed = reader.closed;
            let durable = reader.scanned.durable_end;
            let unsure = reader.items.iter().filter(|item| item.copy && item.end > durable);
            scan.unsure_copies = unsure.map(|item| item.entry.position.n).collect();
        }
        items.append(&mut reader.items);
        scan.chain.push(reader.scanned);
    }
    for (index, header) in headers.iter().filter(|(index, _)| !chain.iter().any(|h| h.index == **index)) {
        scan.outside_chain(disk, *index, header);
    }
    for index in missing {
        scan.damage.push(damage(index, DamageKind::Missing, true));
    }
    scan.settle(items, last, closed);
    Ok(scan)
}

fn damage(index: u64, kind: DamageKind, lost: bool) -> Damage {
    Damage {
        file: segment::name(index),
        kind,
        lost,
        quarantined: None,
    }
}

/// The segments that belong together, in order, and the numbers of those that are missing between or before them.
fn link(headers: &BTreeMap<u64, Header>) -> (Vec<Header>, Vec<u64>) {
    let mut chain = Vec::new();
    let mut missing = Vec::new();
    let mut next = headers.last_key_value().map(|(_, header)| *header);
    while let Some(header) = next {
        chain.push(header);
        if header.previous == 0 || header.previous >= header.index {
            break;
        }
        next = headers.get(&header.previous).copied();
        if next.is_none() {
            missing.push(header.previous);
            next = headers.range(..header.previous).next_back().map(|(_, older)| *older);
        }
    }
    chain.reverse();
    (chain, missing)
}

impl Scan {
    /// The header of a file that may be a segment.
    fn read_header(&mut self, disk: &dyn Disk, index: u64) -> Option<Header> {
        let name = segment::name(index);
        let mut beginning = vec![0; 8192];
        let read = disk.open(&name).and_then(|file| {
            if file.len()? > FILE_LIMIT {
                return Err(io::ErrorKind::FileTooLarge.into());
            }
            let read = file.read_at(0, &mut beginning)?;
            Ok((file, read))
        });
        let Ok((file, read)) = read else {
            self.damage.push(damage(index, DamageKind::Unreadable, true));
            return None;
        };
        match Header::decode(&beginning[..read]) {
            Some(header) if header.index == index => Some(header),
            Some(_) => {
                self.damage.push(damage(index, DamageKind::Misnamed, false));
                None
            }
            None => {
                self.without_header(&*file, index);
                None
            }
        }
    }

    /// A file without a header was never begun, unless there are frames in it.
    fn without_header(&mut self, file: &dyn DiskFile, index: u64) {
        let Ok(bytes) = read_all(file) else {
            self.damage.push(damage(index, DamageKind::Unreadable, true));
            return;
        };
        let mut at = usize::try_from(SEGMENT_HEADER).unwrap_or(usize::MAX);
        let mut frames = 0;
        let search = Search::new(&bytes, index);
        while let Some((offset, frame, len)) = search.next(at) {
            if let Frame::Record { n, .. } = frame {
                self.next = self.next.max(n + 1);
            }
            frames += 1;
            at = offset + len;
        }
        if frames == 0 {
            self.leftovers.push(segment::name(index));
        } else {
            self.next = self.next.saturating_add(bytes.len() as u64 / FRAME_HEADER as u64);
            self.damage.push(damage(index, DamageKind::BadHeader, true));
        }
    }

    /// A segment that was dropped, or whose creation failed, or that does not belong here.
    fn outside_chain(&mut self, disk: &dyn Disk, index: u64, header: &Header) {
        let mut reader = Reader::new(header, None, false, header.before);
        if index > self.dropped
            && let Ok(bytes) = disk.open(&segment::name(index)).and_then(|file| read_all(&*file))
        {
            reader.read(&bytes);
        }
        if reader.items.is_empty() {
            self.leftovers.push(segment::name(index));
        } else {
            self.damage.push(damage(index, DamageKind::OutsideChain, false));
        }
    }

    /// Brings together what the segments gave.
    fn settle(&mut self, items: Vec<Item>, last: u64, closed: Option<u64>) {
        let (dropped, examined) = (self.dropped, self.examined);
        let index = |damage: &Damage| segment::index_of(&damage.file).unwrap_or_default();
        self.damage.retain(|damage| index(damage) > dropped);
        for damage in &mut self.damage {
            damage.lost &= index(damage) > examined;
        }
        // What was reported before is not news; the file stays in the chain until it is dropped.
        self.damage
            .retain(|damage| index(damage) > examined || !matches!(damage.kind, DamageKind::BadBytes { .. } | DamageKind::Missing));
        for at in (0..self.chain.len()).rev() {
            if self.chain[at].header.index <= dropped {
                let gone = self.chain.remove(at);
                self.leftovers.push(segment::name(gone.header.index));
            }
        }
        for item in items.into_iter().filter(|item| item.segment > dropped) {
            self.live.note(&item.entry, item.copy);
            self.entries.entry(item.entry.position.n).or_insert(item.entry);
        }
        self.last = last;
        self.next = match closed {
            Some(given) if !self.lost() => given.max(last) + 1,
            _ => self.next.max(last + 1),
        };
    }
}

/// A record or copy, as it came.
#[derive(Debug)]
pub(crate) struct Item {
    segment: u64,
    /// Where its frame ends.
    end: u64,
    pub(crate) entry: Entry,
    pub(crate) copy: bool,
}

/// Reads one segment.
#[derive(Debug)]
pub(crate) struct Reader {
    scanned: Scanned,
    stated_end: Option<u64>,
    is_last: bool,
    pub(crate) items: Vec<Item>,
    pub(crate) damage: Vec<Damage>,
    last: u64,
    /// First number that cannot stand in this segment.
    possible: u64,
    dropped: u64,
    torn: u64,
    /// The last number that was given out, where the last frame says so.
    closed: Option<u64>,
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
struct Search<'a> {
    bytes: &'a [u8],
    /// No frame begins here or behind: all the rest is zero.
    end: usize,
    segment: u64,
}

impl<'a> Search<'a> {
    fn new(bytes: &'a [u8], segment: u64) -> Self {
        Self {
            bytes,
            end: bytes.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1),
            segment,
        }
    }

    /// The first sound frame at or after `from`: its offset, itself, its length.
    fn next(&self, from: usize) -> Option<(usize, Frame<'a>, usize)> {
        (from..self.end).find_map(|at| frame::decode(&self.bytes[at..], self.segment).map(|(frame, len)| (at, frame, len)))
    }
}

//! Reading a journal back: what is whole, what was never finished, and what is damaged.
//!
//! The bytes up to the last mark of the last segment, and up to the end that its successor states for every other one, were durable: a bad
//! frame there is damage. Behind them it is the torn tail of a write that nobody relied on.

use super::frame::{FRAME_HEADER, Frame};
use super::live::LiveSet;
use super::reader::{Item, Reader, Search};
use super::segment::{self, Header, SEGMENT_HEADER};
use crate::disk::{Disk, DiskFile, read_all, read_all_into};
use crate::record::Entry;
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
    // One buffer for all of them: so much memory, freed again and again, would stay with the process.
    let mut bytes = Vec::new();
    for (at, header) in chain.iter().enumerate() {
        let successor = chain.get(at + 1);
        let stated_end = successor.filter(|s| s.previous == header.index).map(|s| s.previous_end);
        let mut reader = Reader::new(header, stated_end, successor.is_none(), last.max(header.before));
        let file = disk.open(&segment::name(header.index));
        match file.and_then(|file| read_all_into(&*file, &mut bytes)) {
            Ok(()) => reader.read(&bytes),
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

pub(super) fn damage(index: u64, kind: DamageKind, lost: bool) -> Damage {
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

    /// A file without a header was never begun: what is to stand at its beginning is made durable before the header is, and
    /// until then the segment before has it too. Where there was a header and none of its copies is sound, frames are records that
    /// are lost.
    fn without_header(&mut self, file: &dyn DiskFile, index: u64) {
        let Ok(bytes) = read_all(file) else {
            self.damage.push(damage(index, DamageKind::Unreadable, true));
            return;
        };
        let at_first = usize::try_from(SEGMENT_HEADER).unwrap_or(usize::MAX);
        let mut at = at_first;
        let mut frames = 0;
        let search = Search::new(&bytes, index);
        while let Some((offset, frame, len)) = search.next(at) {
            if let Frame::Record { n, .. } = frame {
                self.next = self.next.max(n + 1);
            }
            frames += 1;
            at = offset + len;
        }
        let header = &bytes[..bytes.len().min(at_first)];
        if frames == 0 || header.iter().all(|byte| *byte == 0) {
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

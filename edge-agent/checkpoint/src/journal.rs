//! The commit point: an append-only log in segments.
//!
//! *Appended* means written to the file: it survives the death of the process. *Synced* means on the medium: it survives a power cut.
//! After a failed sync the same file is never synced again: what was not known to be durable is written once more, into a new segment.

mod frame;
mod live;
mod reader;
mod scan;
mod segment;
mod trim;
mod unfolded;

pub use scan::{Damage, DamageKind};
pub(crate) use scan::{Scan, scan};
pub(crate) use trim::Trim;
pub(crate) use unfolded::ToFold;

use crate::disk::{Disk, DiskFile};
use crate::record::{Entry, RECORD_LIMIT, Record};
use eyot_model::Position;
use live::LiveSet;
use segment::{Header, SEGMENT_HEADER};
use std::collections::VecDeque;
use std::io;
use std::sync::Arc;
use unfolded::Unfolded;

/// Longest batch, in bytes of all its payloads.
pub const BATCH_LIMIT: usize = 64 << 20;
/// Room of a segment beyond what is asked for, when the disk has no place for a whole one, in bytes.
const SMALL_SEGMENT: u64 = 64 << 10;
/// New segments that one call of `sync` tries.
const SYNC_TRIES: usize = 3;
/// Room that a closing frame needs, and more, in bytes.
const CLOSE_ROOM: u64 = 64;

#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    #[error("record of {0} bytes is over the limit of {RECORD_LIMIT} bytes")]
    TooLong(usize),
    #[error("batch of {0} bytes is over the limit of {BATCH_LIMIT} bytes")]
    BatchTooLong(usize),
    /// Nothing was appended; it works again once there is room.
    #[error("journal has no room left on its disk")]
    Full(#[source] io::Error),
    #[error("journal cannot {action}")]
    Io {
        action: &'static str,
        #[source]
        source: io::Error,
    },
    /// What is waited for was never written: on a full disk records wait in memory.
    #[error("record {0} is not in the journal yet")]
    NotAppended(u64),
    /// The thread that syncs has ended; only at the end of the process.
    #[error("journal is closed")]
    Closed,
}

impl JournalError {
    pub(crate) fn io(action: &'static str, source: io::Error) -> Self {
        match source.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Self::Full(source),
            _ => Self::Io { action, source },
        }
    }
}

/// The segment that is written.
#[derive(Debug)]
struct Current {
    index: u64,
    file: Option<Arc<dyn DiskFile>>,
    capacity: u64,
    end: u64,
    /// Durable up to here.
    synced_end: u64,
    /// Written since the last sync began, marks aside.
    unsynced: bool,
    /// Takes no more frames: a write failed, or a successor was begun.
    closed: bool,
    /// Must not be synced again.
    sync_failed: bool,
}

/// An earlier segment.
#[derive(Debug)]
struct Old {
    header: Header,
    end: u64,
    last: u64,
    file_len: u64,
}

#[derive(Debug)]
pub(crate) struct Journal {
    disk: Arc<dyn Disk>,
    segment_bytes: u64,
    generation: u64,
    /// Of whatever came before the first segment.
    previous_generation: u64,
    current: Current,
    current_header: Option<Header>,
    old: VecDeque<Old>,
    next_index: u64,
    next: u64,
    /// The last record that was appended.
    last: u64,
    synced: u64,
    dropped: u64,
    examined: u64,
    unfolded: Unfolded,
    live: LiveSet,
    /// Copies of live records that are not known to be durable, and whose segments may be gone.
    carry: Vec<Entry>,
    buffer: Vec<u8>,
    /// The stop before this start was in order.
    clean: bool,
    /// Counts the times that unsynced content was given up and written again.
    rewrites: u64,
}

/// A sync on its way, so that appends can go on during it.
#[derive(Debug)]
pub(crate) struct Ticket {
    file: Arc<dyn DiskFile>,
    index: u64,
    end: u64,
    last: u64,
}

impl Ticket {
    pub(crate) fn run(&self) -> io::Result<()> {
        self.file.sync_data()
    }
}

impl Journal {
    /// Goes on after what a scan found. Records after `stored` are kept for the store.
    pub(crate) fn resume(disk: Arc<dyn Disk>, segment_bytes: u64, scan: &mut Scan, generation: u64, stored: Option<Position>) -> Self {
        let mut chain: VecDeque<Old> = scan
            .chain
            .iter()
            .map(|s| Old {
                header: s.header,
                end: s.end,
                last: s.last,
                file_len: s.file_len,
            })
            .collect();
        let tail = chain.pop_back();
        let (durable_end, durable) = scan.chain.last().map_or((0, 0), |s| (s.durable_end, s.durable));
        let mut journal = Self {
            disk,
            segment_bytes: segment_bytes.max(2 * SEGMENT_HEADER),
            generation,
            previous_generation: stored.map_or(generation, |p| p.generation),
            current: Current {
                index: tail.as_ref().map_or(0, |t| t.header.index),
                file: None,
                capacity: tail.as_ref().map_or(0, |t| t.file_len),
                end: tail.as_ref().map_or(0, |t| t.end),
                synced_end: durable_end,
                unsynced: false,
                closed: true,
                sync_failed: false,
            },
            current_header: tail.as_ref().map(|t| t.header),
            old: chain,
            next_index: scan.next_index,
            next: scan.next.max(1),
            last: scan.last,
            synced: durable.min(scan.last),
            dropped: scan.dropped,
            examined: scan.examined,
            unfolded: Unfolded::default(),
            live: std::mem::take(&mut scan.live),
            carry: Vec::new(),
            buffer: Vec::new(),
            clean: scan.clean,
            rewrites: 0,
        };
        let needed = stored.map_or(0, |p| p.n).min(journal.synced);
        for (_, entry) in scan.entries.range(needed + 1..) {
            journal.unfolded.push(entry.clone(), false);
        }
        let copies = std::mem::take(&mut scan.unsure_copies);
        journal.carry = scan
            .entries
            .values()
            .filter(|e| copies.contains(&e.position.n) && journal.live.needs(e))
            .cloned()
            .collect();
        // What was written after the last mark is written again, not synced: if a sync of it failed before the process
        // ended, the system has forgotten that it is not on disk.
        let unsure = journal.last > journal.synced || !journal.carry.is_empty() || scan.unsure_drop;
        journal.current.sync_failed = unsure;
        journal.current.unsynced = unsure;
        if let Err(error) = journal.disk.sync_dir() {
            tracing::error!(%error, "the journal's folder cannot be synced");
        }
        journal
    }

    /// Begins a segment, so that generation and what was examined are on disk.
    pub(crate) fn begin(&mut self, generation: u64, examined: u64) -> Result<(), JournalError> {
        self.generation = generation;
        self.examined = self.examined.max(examined);
        self.rotate(0)
    }

    pub(crate) fn appended(&self) -> Position {
        self.position(self.last)
    }

    /// The next record comes after this, which no record may have.
    pub(crate) fn taken(&self) -> Position {
        self.position(self.next - 1)
    }

    pub(crate) fn synced(&self) -> Position {
        self.position(self.synced)
    }

    pub(crate) fn dirty(&self) -> bool {
        self.current.unsynced
    }

    fn position(&self, n: u64) -> Position {
        Position {
            generation: self.generation,
            n,
        }
    }

    /// Bytes of all segments.
    pub(crate) fn bytes(&self) -> u64 {
        self.current.capacity + self.old.iter().map(|old| old.file_len).sum::<u64>()
    }

    /// Records that the store does not durably hold.
    pub(crate) fn pending(&self) -> usize {
        self.unfolded.len()
    }

    /// Their payload bytes.
    pub(crate) fn pending_bytes(&self) -> u64 {
        self.unfolded.bytes()
    }

    /// Whether appending would begin a new segment, which must not happen during a sync.
    pub(crate) fn would_rotate(&self, records: &[Record]) -> bool {
        let need: u64 = records.iter().map(|record| frame::record_len(record) as u64).sum();
        self.no_room_for(need)
    }

    fn no_room_for(&self, need: u64) -> bool {
        self.current.closed || self.current.sync_failed || self.current.end.saturating_add(need) > self.current.capacity
    }

    /// Writes a batch; gives the position of its last record. The records of a batch have consecutive numbers and are recovered all together or
    /// not at all. After an error the records are still the caller's.
    pub(crate) fn append(&mut self, records: &mut Vec<Record>) -> Result<Position, JournalError> {
        let Some(count) = records.len().checked_sub(1) else {
            return Ok(self.appended());
        };
        let mut payloads = 0;
        for record in records.iter() {
            if record.payload.len() > RECORD_LIMIT {
                return Err(JournalError::TooLong(record.payload.len()));
            }
            payloads += record.payload.len();
        }
        if payloads > BATCH_LIMIT {
            return Err(JournalError::BatchTooLong(payloads));
        }
        let need: u64 = records.iter().map(|record| frame::record_len(record) as u64).sum();
        if self.no_room_for(need) {
            self.rotate(need)?;
        }
        let mut buffer = std::mem::take(&mut self.buffer);
        buffer.clear();
        for (n, (i, record)) in (self.next..).zip(records.iter().enumerate()) {
            frame::encode_record(&mut buffer, self.current.index, n, record.keep, &record.payload, i < count);
        }
        let written = self.write(&buffer);
        self.keep_buffer(buffer);
        written?;
        for (i, record) in records.drain(..).enumerate() {
            let entry = Entry {
                position: self.position(self.next),
                keep: record.keep,
                payload: record.payload,
            };
            self.live.note(&entry, false);
            self.unfolded.push(entry, i < count);
            self.last = self.next;
            self.next += 1;
        }
        Ok(self.appended())
    }

    /// One long batch must not keep its memory for ever.
    fn keep_buffer(&mut self, mut buffer: Vec<u8>) {
        buffer.clear();
        buffer.shrink_to(64 << 10);
        self.buffer = buffer;
    }

    /// Writes frames at the end of the current segment, which has room for them.
    fn write(&mut self, frames: &[u8]) -> Result<(), JournalError> {
        let Some(file) = &self.current.file else {
            return Err(JournalError::Closed);
        };
        match file.write_at(self.current.end, frames) {
            Ok(()) => {
                self.current.end += frames.len() as u64;
                self.current.unsynced = true;
                Ok(())
            }
            Err(source) => {
                // Whatever part of it was written lies behind the end that the next segment will state.
                self.current.closed = true;
                Err(JournalError::io("be written", source))
            }
        }
    }

    /// Goes over to a new segment with room for `need` bytes. Everything before it is durable then, or was not known to be and
    /// is written again.
    fn rotate(&mut self, need: u64) -> Result<(), JournalError> {
        self.current.closed = true;
        if self.current.unsynced && !self.current.sync_failed {
            match self.current.file.as_ref().map_or(Ok(()), |file| file.sync_data()) {
                Ok(()) => self.mark_synced(self.current.end, self.last),
                Err(error) => self.sync_failed(&error),
            }
        }
        let again = self.current.sync_failed;
        let mut rewrite = Vec::new();
        if again {
            self.encode_unsynced(self.next_index, &mut rewrite);
        }
        // Not `end`: a mark that was written after the last sync is not durable.
        let previous_end = self.current.synced_end;
        let header = Header {
            index: self.next_index,
            previous: self.current.index,
            previous_end,
            generation: self.generation,
            previous_generation: self.current_header.map_or(self.previous_generation, |h| h.generation),
            before: if again { self.synced } else { self.last },
            dropped: self.dropped,
            examined: self.examined,
            bound: 0,
            capacity: 0,
        };
        // A number is used once, whatever becomes of the file.
        self.next_index += 1;
        let (file, header) = self.create(header, need, &rewrite)?;
        let end = SEGMENT_HEADER + rewrite.len() as u64;
        if let Some(old) = self.current_header.take() {
            self.old.push_back(Old {
                header: old,
                end: previous_end,
                last: if again { self.synced } else { self.last },
                file_len: self.current.capacity.max(previous_end),
            });
        }
        self.current_header = Some(header);
        self.current = Current {
            index: header.index,
            file: Some(file),
            capacity: header.capacity,
            end,
            synced_end: end,
            unsynced: false,
            closed: false,
            sync_failed: false,
        };
        if again {
            self.rewrites += 1;
        }
        if again {
            self.mark_synced(end, self.last);
        }
        Ok(())
    }

    /// The frames of all that is not known to be durable, for segment `index`.
    fn encode_unsynced(&self, index: u64, out: &mut Vec<u8>) {
        for entry in &self.carry {
            if let Some(key) = entry.keep.lives_under() {
                frame::encode_copy(out, index, entry, key);
            }
        }
        if !self.carry.is_empty() {
            frame::encode_mark(out, index, self.synced, SEGMENT_HEADER, self.dropped);
        }
        for waiting in self.unfolded.after(self.synced) {
            let entry = &waiting.entry;
            frame::encode_record(out, index, entry.position.n, entry.keep, &entry.payload, waiting.more);
        }
    }

    /// Makes a segment that begins with `rewrite` and has room for `need` bytes more. With its header it takes the place of
    /// everything behind the durable end of the one before, so `rewrite` is durable before the header is: what a sync that
    /// failed, or a start that came after one, is not sure of may be on the medium all the same, and somebody may have seen it.
    fn create(&self, mut header: Header, need: u64, rewrite: &[u8]) -> Result<(Arc<dyn DiskFile>, Header), JournalError> {
        let need = need + rewrite.len() as u64 + SEGMENT_HEADER + 2 * frame::MARK_LEN as u64;
        let whole = self.segment_bytes.max(need);
        let small = need + SMALL_SEGMENT;
        let name = segment::name(header.index);
        let mut attempt = |capacity: u64| {
            header.capacity = capacity;
            header.bound = self.next + capacity / frame::FRAME_HEADER as u64;
            let file = self.disk.create(&name)?;
            let made = file
                .preallocate(capacity)
                .and_then(|()| match rewrite {
                    [] => Ok(()),
                    frames => file.write_at(SEGMENT_HEADER, frames).and_then(|()| file.sync_data()),
                })
                .and_then(|()| file.write_at(0, &header.encode()))
                .and_then(|()| file.sync_data())
                .and_then(|()| self.disk.sync_dir());
            if let Err(error) = made {
                // What is left of it is outside the chain, and is swept up at the next start.
                if let Err(error) = self.disk.remove(&name) {
                    tracing::warn!(%error, name, "a segment that could not be made stays behind");
                }
                return Err(error);
            }
            Ok((file, header))
        };
        match attempt(whole) {
            Err(error) if error.kind() == io::ErrorKind::StorageFull && small < whole => attempt(small),
            other => other,
        }
        .map_err(|source| JournalError::io("begin a segment", source))
    }

    fn mark_synced(&mut self, end: u64, last: u64) {
        self.current.synced_end = self.current.synced_end.max(end);
        self.synced = self.synced.max(last);
        self.carry.clear();
        if self.current.end <= end {
            self.current.unsynced = false;
        }
    }

    fn sync_failed(&mut self, error: &io::Error) {
        tracing::error!(%error, segment = self.current.index, "fdatasync of the journal failed; what it should have synced goes to a new segment");
        self.current.sync_failed = true;
        self.current.unsynced = true;
    }

    /// Whether a record is still needed after it was folded.
    pub(crate) fn needs(&self, entry: &Entry) -> bool {
        self.live.needs(entry)
    }

    /// What has to be synced now; None where everything is.
    pub(crate) fn begin_sync(&mut self) -> Result<Option<Ticket>, JournalError> {
        if self.current.sync_failed {
            self.rotate(0)?;
        }
        match &self.current.file {
            Some(file) if self.current.unsynced => Ok(Some(Ticket {
                file: file.clone(),
                index: self.current.index,
                end: self.current.end,
                last: self.last,
            })),
            _ => Ok(None),
        }
    }

    /// Takes the result of a ticket's run; false where it has to be tried again.
    pub(crate) fn finish_sync(&mut self, ticket: &Ticket, result: io::Result<()>) -> bool {
        if ticket.index != self.current.index {
            // A rotation came between and synced it.
            return true;
        }
        match result {
            Ok(()) => {
                self.mark_synced(ticket.end, ticket.last);
                self.write_mark();
                true
            }
            Err(error) => {
                self.sync_failed(&error);
                false
            }
        }
    }

    /// Says in the segment how far it is durable, so that damage can be told from a torn tail. It gets durable with the next sync.
    fn write_mark(&mut self) {
        let unsynced = self.current.unsynced;
        if !self.no_room_for(frame::MARK_LEN as u64) {
            let mut mark = Vec::with_capacity(frame::MARK_LEN);
            frame::encode_mark(&mut mark, self.current.index, self.synced, self.current.synced_end, self.dropped);
            if let Err(error) = self.write(&mark) {
                tracing::warn!(%error, "a mark of the journal is not written");
            }
            self.current.unsynced = unsynced;
        }
    }

    /// Makes everything appended durable.
    pub(crate) fn sync(&mut self) -> Result<Position, JournalError> {
        for _ in 0..SYNC_TRIES {
            let Some(ticket) = self.begin_sync()? else {
                return Ok(self.synced());
            };
            let result = ticket.run();
            if self.finish_sync(&ticket, result) {
                return Ok(self.synced());
            }
        }
        Err(JournalError::Io {
            action: "be synced",
            source: io::Error::other(format!("fdatasync failed on {SYNC_TRIES} files in a row")),
        })
    }

    /// Syncs, and says that nothing is missing behind the last record.
    pub(crate) fn close(&mut self) -> Result<(), JournalError> {
        self.sync()?;
        if self.clean && self.current.file.is_none() {
            return Ok(());
        }
        if self.no_room_for(CLOSE_ROOM) {
            self.rotate(CLOSE_ROOM)?;
        }
        let mut frame = Vec::new();
        frame::encode_close(&mut frame, self.current.index, self.next - 1);
        self.write(&frame)?;
        self.current.closed = true;
        match self.current.file.as_ref().map_or(Ok(()), |file| file.sync_data()) {
            Ok(()) => {
                self.current.unsynced = false;
                Ok(())
            }
            Err(source) => Err(JournalError::io("be synced", source)),
        }
    }

    /// What the store lacks after record `after`, at most `count` records and about `bytes`.
    pub(crate) fn to_fold(&self, after: u64, count: usize, bytes: usize) -> ToFold {
        self.unfolded.to_fold(after, self.synced, count, bytes)
    }

    /// The store durably holds everything up to record `n`.
    pub(crate) fn folded(&mut self, n: u64) {
        self.unfolded.folded(n.min(self.synced));
    }
}

//! Dropping the oldest segment once the store holds its records: those that are still live are carried over first.

use super::frame;
use super::reader::Reader;
use super::segment;
use super::{Journal, JournalError};
use crate::disk::read_all;
use crate::record::Entry;

/// What is live is little where it is this part of a segment.
const LITTLE: u64 = 64;

/// A segment on its way out: its live records are appended again and wait to be synced.
#[derive(Debug)]
pub(crate) struct Trim {
    index: u64,
    rewrites: u64,
    /// Segment and offset that have to be durable before it goes.
    through: (u64, u64),
}

impl Journal {
    /// Whether the oldest segment can go: the store durably holds everything up to record `folded`, and either the journal is longer
    /// than `limit` bytes and twice what is live in it, or so little is live that carrying it over costs next to nothing.
    pub(crate) fn can_trim(&self, folded: u64, limit: u64) -> bool {
        let live = self.live.bytes();
        let is_folded = self.old.front().is_some_and(|old| old.last <= folded.min(self.synced));
        is_folded && (live <= self.segment_bytes / LITTLE || self.bytes() > limit + 2 * live)
    }

    /// Segments before the current one.
    pub(crate) fn old_segments(&self) -> usize {
        self.old.len()
    }

    /// Carries over what is live in the oldest segment. The caller syncs, then calls [`Journal::finish_trim`].
    pub(crate) fn begin_trim(&mut self) -> Result<Option<Trim>, JournalError> {
        let Some(old) = self.old.front() else {
            return Ok(None);
        };
        let index = old.header.index;
        let name = segment::name(index);
        let bytes = self
            .disk
            .open(&name)
            .and_then(|file| read_all(&*file))
            .map_err(|source| JournalError::io("read a segment that is to be dropped", source))?;
        let mut reader = Reader::new(&old.header, Some(old.end), false, 0);
        reader.read(&bytes);
        if index > self.examined && reader.damage.iter().any(|damage| damage.lost) {
            return Err(JournalError::Io {
                action: "drop a damaged segment before a restart has examined it",
                source: std::io::Error::new(std::io::ErrorKind::InvalidData, name),
            });
        }
        let live: Vec<Entry> = reader
            .items
            .into_iter()
            .map(|item| item.entry)
            .filter(|entry| self.live.needs(entry))
            .collect();
        let need = live.iter().map(frame::copy_len).sum::<usize>() + frame::MARK_LEN;
        if self.no_room_for(need as u64) {
            self.rotate(need as u64)?;
        }
        let mut frames = Vec::with_capacity(need);
        for entry in &live {
            if let Some(key) = entry.keep.lives_under() {
                frame::encode_copy(&mut frames, self.current.index, entry, key);
            }
        }
        frame::encode_mark(&mut frames, self.current.index, self.synced, self.current.synced_end, index);
        self.write(&frames)?;
        Ok(Some(Trim {
            index,
            rewrites: self.rewrites,
            through: (self.current.index, self.current.end),
        }))
    }

    /// Removes the segment's file, unless the sync failed in between and the copies with it.
    pub(crate) fn finish_trim(&mut self, trim: &Trim) -> Result<bool, JournalError> {
        let durable = (self.current.index, self.current.synced_end) >= trim.through;
        if trim.rewrites != self.rewrites || !durable || self.old.front().is_none_or(|old| old.header.index != trim.index) {
            return Ok(false);
        }
        self.dropped = trim.index;
        self.old.pop_front();
        self.disk
            .remove(&segment::name(trim.index))
            .map_err(|source| JournalError::io("remove a segment", source))?;
        Ok(true)
    }
}

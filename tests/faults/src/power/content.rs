//! A file's content: as the programs see it, and as the disk holds it.

use std::collections::{BTreeMap, BTreeSet};

/// What a disk writes whole or not at all, in bytes.
const PAGE: usize = 4096;

/// What a sync found that began: it is durable once it ends.
#[derive(Debug)]
pub(super) struct Found {
    /// Counts the syncs of the file.
    number: u64,
    length: usize,
    pages: Vec<(usize, Vec<u8>)>,
}

/// A file's content, whatever it is called.
#[derive(Clone, Debug, Default)]
pub(super) struct Content {
    now: Vec<u8>,
    synced: Vec<u8>,
    /// Pages in which the two may differ.
    dirty: BTreeSet<usize>,
    /// Syncs that have begun.
    begun: u64,
    /// Which sync made durable what is held of a page, and of the length: one that began earlier and ends later takes
    /// nothing back.
    page_by: BTreeMap<usize, u64>,
    length_by: u64,
    /// Where a write without an offset goes.
    cursor: usize,
}

impl Content {
    /// All of it is on the disk.
    pub(super) fn durable(bytes: Vec<u8>) -> Self {
        Self {
            now: bytes.clone(),
            synced: bytes,
            ..Self::default()
        }
    }

    /// As the programs see it.
    pub(super) fn now(&self) -> &Vec<u8> {
        &self.now
    }

    pub(super) fn seek(&mut self, to: usize) {
        self.cursor = to;
    }

    /// What a sync that begins now has to write.
    pub(super) fn begin_sync(&mut self) -> Found {
        self.begun += 1;
        let page = |page: &usize| {
            let from = (page * PAGE).min(self.now.len());
            let to = (from + PAGE).min(self.now.len());
            (*page, self.now[from..to].to_vec())
        };
        Found {
            number: self.begun,
            length: self.now.len(),
            pages: self.dirty.iter().map(page).collect(),
        }
    }

    /// A sync has ended that found this.
    pub(super) fn end_sync(&mut self, found: Found) {
        if found.number > self.length_by {
            self.synced.resize(found.length, 0);
            self.length_by = found.number;
        }
        let length = self.synced.len();
        for (page, bytes) in found.pages {
            let by = self.page_by.entry(page).or_default();
            if *by > found.number {
                continue;
            }
            *by = found.number;
            let from = (page * PAGE).min(length);
            let to = (from + bytes.len()).min(length);
            self.synced[from..to].copy_from_slice(&bytes[..to - from]);
            if self.now.len() == length && self.now[from..to] == self.synced[from..to] {
                self.dirty.remove(&page);
            }
        }
    }

    pub(super) fn write(&mut self, at: Option<usize>, bytes: &[u8]) {
        let from = at.unwrap_or(self.cursor);
        let to = from + bytes.len();
        if self.now.len() < to {
            self.resize(to);
        }
        self.now[from..to].copy_from_slice(bytes);
        self.dirty.extend(from / PAGE..to.div_ceil(PAGE));
        if at.is_none() {
            self.cursor = to;
        }
    }

    pub(super) fn resize(&mut self, length: usize) {
        let (less, more) = (self.now.len().min(length), self.now.len().max(length));
        self.now.resize(length, 0);
        self.dirty.extend(less / PAGE..more.div_ceil(PAGE));
    }

    /// What the disk may hold of it.
    pub(super) fn after_power_loss(&self, random: &mut fastrand::Rng) -> Vec<u8> {
        let mut content = self.synced.clone();
        let share = [0.0, 0.2, 0.8, 1.0][random.usize(..4)];
        for page in &self.dirty {
            let from = page * PAGE;
            let to = (from + PAGE).min(self.now.len());
            if from < to && random.f64() < share {
                if content.len() < to {
                    content.resize(to, 0);
                }
                content[from..to].copy_from_slice(&self.now[from..to]);
            }
        }
        let shorter = self.now.len() < content.len();
        if self.now.len() != self.synced.len() && random.bool() && (shorter || self.now.len() > content.len()) {
            content.resize(self.now.len(), 0);
        }
        content
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sync_that_began_earlier_and_ends_later_takes_nothing_back() {
        let mut content = Content::default();
        content.write(Some(0), b"one");
        let earlier = content.begin_sync();
        content.write(Some(0), b"two, and longer");
        let later = content.begin_sync();
        content.end_sync(later);
        content.end_sync(earlier);
        for seed in 0..20 {
            let left = content.after_power_loss(&mut fastrand::Rng::with_seed(seed));
            assert_eq!(left, b"two, and longer");
        }
    }
}

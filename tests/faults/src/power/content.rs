//! A file's content: as the programs see it, and as the disk holds it.

use std::collections::BTreeSet;

/// What a disk writes whole or not at all, in bytes.
const PAGE: usize = 4096;

/// Numbers of pages, and what is in them.
pub(super) type Pages = Vec<(usize, Vec<u8>)>;

/// A file's content, whatever it is called.
#[derive(Clone, Debug, Default)]
pub(super) struct Content {
    now: Vec<u8>,
    synced: Vec<u8>,
    /// Pages in which the two may differ.
    dirty: BTreeSet<usize>,
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

    /// The length, and the pages that a sync would have to write.
    pub(super) fn unsynced(&self) -> (usize, Pages) {
        let page = |page: &usize| {
            let from = (page * PAGE).min(self.now.len());
            let to = (from + PAGE).min(self.now.len());
            (*page, self.now[from..to].to_vec())
        };
        (self.now.len(), self.dirty.iter().map(page).collect())
    }

    /// A sync has ended that found these.
    pub(super) fn synced(&mut self, length: usize, pages: Pages) {
        self.synced.resize(length, 0);
        for (page, bytes) in pages {
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

//! What is over: records of a key that a later one has made void.

use crate::record::{Entry, LiveKey};
use std::collections::BTreeMap;

/// The last record of each key that makes those before it void, by ending it or by taking their place. What belongs to a key and comes before its end would be written to the store only to be deleted
/// again: most runs are over before they are folded, and cost the store nothing.
#[derive(Debug, Default)]
pub(crate) struct Ends(BTreeMap<LiveKey, u64>);

impl Ends {
    pub(crate) fn of<'a>(entries: impl IntoIterator<Item = &'a Entry>) -> Self {
        let mut ends = Self::default();
        entries.into_iter().for_each(|entry| ends.note(entry));
        ends
    }

    /// In the order of the journal.
    pub(crate) fn note(&mut self, entry: &Entry) {
        if let Some(key) = entry.keep.voids() {
            self.0.insert(key, entry.position.n);
        }
    }

    /// Whether the key of a record came to its end after it, and not beyond record `through`.
    pub(crate) fn is_over(&self, entry: &Entry, through: u64) -> bool {
        let end = entry.keep.lives_under().and_then(|key| self.0.get(&key));
        end.is_some_and(|end| entry.position.n < *end && *end <= through)
    }

    /// Ends up to record `n` are of no use any more.
    pub(crate) fn forget(&mut self, n: u64) {
        self.0.retain(|_, end| *end > n);
    }
}

//! Which keys have live records.

use super::frame;
use crate::record::{Entry, Keep, LiveKey};
use std::collections::BTreeMap;

#[derive(Clone, Copy, Debug)]
struct Life {
    /// Records of the key before this number are of an earlier life.
    since: u64,
    bytes: u64,
}

/// The keys that are alive, since when, and how much their records weigh.
#[derive(Debug, Default)]
pub(crate) struct LiveSet {
    keys: BTreeMap<LiveKey, Life>,
    bytes: u64,
}

impl LiveSet {
    /// Takes note of a record, in the order of the journal; `copy` marks one that was carried over from a dropped segment.
    pub(crate) fn note(&mut self, entry: &Entry, copy: bool) {
        let n = entry.position.n;
        if let Keep::Ends(key) | Keep::Renews(key) | Keep::Settles(key) = entry.keep
            && let Some(life) = self.keys.remove(&key)
        {
            self.bytes -= life.bytes;
        }
        if let Some(key) = entry.keep.lives_under() {
            let bytes = frame::copy_len(entry) as u64;
            let life = self.keys.entry(key).or_insert(Life { since: n, bytes: 0 });
            if copy {
                life.since = life.since.min(n);
            }
            life.bytes += bytes;
            self.bytes += bytes;
        }
    }

    /// Whether a record is still needed after it was folded.
    pub(crate) fn needs(&self, entry: &Entry) -> bool {
        let life = entry.keep.lives_under().and_then(|key| self.keys.get(&key));
        life.is_some_and(|life| life.since <= entry.position.n)
    }

    /// Bytes that copies of all live records would take.
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes
    }
}

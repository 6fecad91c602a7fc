//! Records that the store does not durably hold yet.

use crate::ends::Ends;
use crate::record::Entry;
use eyot_model::Position;
use std::collections::VecDeque;

/// Most records that are looked at in one go: appends wait meanwhile.
const LOOK: usize = 4_096;

#[derive(Debug)]
pub(super) struct Waiting {
    pub(super) entry: Entry,
    /// Its batch goes on after it.
    pub(super) more: bool,
}

/// In the order of the journal.
#[derive(Debug, Default)]
pub(super) struct Unfolded {
    records: VecDeque<Waiting>,
    /// Of their payloads.
    bytes: u64,
    /// Those that end a key.
    ends: Ends,
}

/// What goes into the store next.
#[derive(Debug, Default)]
pub(crate) struct ToFold {
    pub(crate) entries: Vec<Entry>,
    /// The store is up to this record with them; none where there is nothing to do.
    pub(crate) through: Option<Position>,
}

impl Unfolded {
    pub(super) fn push(&mut self, entry: Entry, more: bool) {
        self.ends.note(&entry);
        self.bytes += entry.payload.len() as u64;
        self.records.push_back(Waiting { entry, more });
    }

    pub(super) fn len(&self) -> usize {
        self.records.len()
    }

    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    pub(super) fn after(&self, n: u64) -> impl Iterator<Item = &Waiting> {
        let from = self.records.partition_point(|w| w.entry.position.n <= n);
        self.records.range(from..)
    }

    /// Durable records after number `after`, at most `count` of them and about `bytes`. What belongs to a key that has come to its
    /// durable end meanwhile is left out.
    pub(super) fn to_fold(&self, after: u64, synced: u64, count: usize, bytes: usize) -> ToFold {
        let mut found = ToFold::default();
        let mut total = 0;
        for waiting in self.after(after).take(LOOK).take_while(|w| w.entry.position.n <= synced) {
            let entry = &waiting.entry;
            if !self.ends.is_over(entry, synced) {
                let size = entry.payload.len();
                if found.entries.len() >= count || (total > 0 && total + size > bytes) {
                    break;
                }
                total += size;
                found.entries.push(entry.clone());
            }
            found.through = Some(entry.position);
        }
        found
    }

    /// The store durably holds everything up to record `n`.
    pub(super) fn folded(&mut self, n: u64) {
        while let Some(done) = self.records.pop_front_if(|w| w.entry.position.n <= n) {
            self.bytes -= done.entry.payload.len() as u64;
        }
        self.ends.forget(n);
        if self.records.is_empty() {
            self.records.shrink_to(64);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::{Keep, LiveKey};

    fn entry(n: u64, keep: Keep) -> Entry {
        Entry {
            position: Position { generation: 1, n },
            keep,
            payload: vec![0; 10],
        }
    }

    fn numbers(found: &ToFold) -> Vec<u64> {
        found.entries.iter().map(|entry| entry.position.n).collect()
    }

    #[test]
    fn what_is_over_durably_is_left_out_however_far_away_its_end_is() {
        let (run, other) = (LiveKey(1), LiveKey(2));
        let mut unfolded = Unfolded::default();
        for n in 1..=1_000 {
            unfolded.push(entry(n, Keep::WhileLive(if n % 100 == 0 { other } else { run })), false);
        }
        unfolded.push(entry(1_001, Keep::Ends(run)), false);
        unfolded.push(entry(1_002, Keep::WhileLive(run)), false);
        let all = |synced| unfolded.to_fold(0, synced, 5_000, 1 << 20);
        assert_eq!(all(1_000).entries.len(), 1_000, "an end that may be lost ends nothing");
        let found = all(1_002);
        assert_eq!(numbers(&found), [100, 200, 300, 400, 500, 600, 700, 800, 900, 1_000, 1_001, 1_002]);
        assert_eq!(found.through.map(|at| at.n), Some(1_002), "and a key may come to life again");
        unfolded.folded(1_001);
        assert_eq!((unfolded.len(), unfolded.bytes()), (1, 10));
        assert_eq!(numbers(&unfolded.to_fold(1_001, 1_002, 9, 99)), [1_002]);
    }

    #[test]
    fn it_comes_in_portions() {
        let mut unfolded = Unfolded::default();
        (1..=9).for_each(|n| unfolded.push(entry(n, Keep::UntilFolded), false));
        let portion = |after, count, bytes| numbers(&unfolded.to_fold(after, 8, count, bytes));
        assert_eq!(portion(0, 3, 1_000), [1, 2, 3]);
        assert_eq!(portion(3, 9, 25), [4, 5]);
        assert_eq!(portion(5, 9, 1), [6], "one at least");
        assert_eq!(portion(6, 9, 1_000), [7, 8], "what is not durable waits");
        assert_eq!(unfolded.to_fold(8, 8, 9, 1_000).through, None);
    }
}

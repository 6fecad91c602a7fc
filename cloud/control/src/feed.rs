//! What was committed last of each run, so that whoever follows a run is answered without reading the store.
//!
//! A feed holds the newest entries of its run within a bound; whoever wants older ones reads the store. The feeds of runs
//! that have just ended stay for a while, for those who come to see the end.

use crate::store::Entry;
use eyot_model::{Event, Outcome, RunId, Value, Workflow};
use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;

/// Most entries that are kept of one run, and about how many bytes of them.
const ENTRIES: usize = 256;
const BYTES: usize = 64 << 10;
/// Runs whose feed is kept after their end.
const ENDED: usize = 64;

/// An entry and its number in the run's history.
pub(crate) type Numbered = (u64, Arc<Entry>);

/// The feeds of all runs that are live or ended lately.
#[derive(Default)]
pub(crate) struct Feeds {
    runs: HashMap<RunId, Feed>,
    ended: VecDeque<RunId>,
}

struct Feed {
    workflow: Arc<Workflow>,
    entries: VecDeque<Numbered>,
    bytes: usize,
    /// Number of the last entry of the run.
    last: u64,
}

impl Feeds {
    /// A run of which `last` entries are in the store.
    pub(crate) fn begin(&mut self, run: RunId, workflow: Arc<Workflow>, last: u64) {
        let feed = Feed {
            workflow,
            entries: VecDeque::new(),
            bytes: 0,
            last,
        };
        self.runs.insert(run, feed);
    }

    /// Entries of a run that were committed, in order.
    pub(crate) fn push(&mut self, run: RunId, entries: Vec<Numbered>) {
        if let Some(feed) = self.runs.get_mut(&run) {
            entries.into_iter().for_each(|entry| feed.push(entry));
        }
    }

    pub(crate) fn end(&mut self, run: RunId) {
        if !self.runs.contains_key(&run) {
            return;
        }
        self.ended.push_back(run);
        if self.ended.len() > ENDED
            && let Some(oldest) = self.ended.pop_front()
        {
            self.runs.remove(&oldest);
        }
    }

    pub(crate) fn workflow(&self, run: RunId) -> Option<Arc<Workflow>> {
        self.runs.get(&run).map(|feed| Arc::clone(&feed.workflow))
    }

    /// Every committed entry after number `after`; None where the store has to be asked.
    pub(crate) fn after(&self, run: RunId, after: u64) -> Option<Vec<Numbered>> {
        let feed = self.runs.get(&run)?;
        if after >= feed.last {
            return Some(Vec::new());
        }
        let (first, _) = feed.entries.front()?;
        (*first <= after + 1).then(|| feed.entries.iter().filter(|(seq, _)| *seq > after).cloned().collect())
    }
}

impl Feed {
    fn push(&mut self, entry: Numbered) {
        self.last = entry.0;
        self.bytes += weight(&entry.1);
        self.entries.push_back(entry);
        while self.entries.len() > ENTRIES || self.bytes > BYTES {
            let Some((_, gone)) = self.entries.pop_front() else { return };
            self.bytes -= weight(&gone);
        }
    }
}

/// About how many bytes an entry takes.
fn weight(entry: &Entry) -> usize {
    let values = |values: &BTreeMap<String, Value>| values.iter().map(|(name, value)| name.len() + value.size_hint()).sum::<usize>();
    128 + match entry {
        Entry::Event {
            event: Event::Ended { outcome, .. },
            ..
        } => match outcome {
            Outcome::Succeeded(outputs) => values(outputs),
            Outcome::Failed(failure) => failure.message.len(),
            Outcome::Cancelled => 0,
        },
        Entry::Event {
            event: Event::RunEnded { outcome, .. },
            ..
        } => values(&outcome.outputs),
        Entry::Event {
            event: Event::Failed { failure, .. },
            ..
        } => failure.message.len(),
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use eyot_model::Timestamp;

    fn workflow() -> Arc<Workflow> {
        Arc::new(Workflow::new("default", "w", "1", vec![]))
    }

    fn entry(seq: u64) -> Numbered {
        let event = Event::CancelRequested {
            by: "x".into(),
            at: Timestamp(seq),
        };
        (
            seq,
            Arc::new(Entry::Event {
                event,
                agent: None,
                withheld: Vec::new(),
            }),
        )
    }

    fn numbers(entries: Option<Vec<Numbered>>) -> Option<Vec<u64>> {
        entries.map(|entries| entries.iter().map(|(seq, _)| *seq).collect())
    }

    #[test]
    fn a_reader_gets_all_that_it_has_not_seen_or_is_sent_to_the_store() {
        let mut feeds = Feeds::default();
        let run = RunId(1);
        assert_eq!(numbers(feeds.after(run, 0)), None, "a run that is not known");
        feeds.begin(run, workflow(), 2);
        assert_eq!(numbers(feeds.after(run, 0)), None, "two entries are in the store alone");
        assert_eq!(numbers(feeds.after(run, 2)), Some(vec![]));
        feeds.push(run, vec![entry(3), entry(4)]);
        assert_eq!(numbers(feeds.after(run, 2)), Some(vec![3, 4]));
        assert_eq!(numbers(feeds.after(run, 3)), Some(vec![4]));
        assert_eq!(numbers(feeds.after(run, 1)), None);
        feeds.push(run, (5..1_000).map(entry).collect());
        assert_eq!(numbers(feeds.after(run, 3)), None, "it was pushed out by newer ones");
        assert_eq!(numbers(feeds.after(run, 998)), Some(vec![999]));
    }

    #[test]
    fn the_feeds_of_ended_runs_go_in_the_end() {
        let mut feeds = Feeds::default();
        for n in 0..1_000 {
            feeds.begin(RunId(n), workflow(), 0);
            feeds.push(RunId(n), vec![entry(1)]);
            feeds.end(RunId(n));
        }
        assert_eq!(numbers(feeds.after(RunId(999), 0)), Some(vec![1]));
        assert_eq!(numbers(feeds.after(RunId(0), 0)), None);
        assert_eq!(feeds.runs.len(), ENDED);
    }
}

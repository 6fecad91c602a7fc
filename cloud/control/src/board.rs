//! What is known of each unfinished run at a glance, and who waits for news of it. Everything here is committed.

use crate::feed::{Feeds, Numbered};
use eyot_model::{AgentId, RunId, State, Workflow};
use parking_lot::RwLock;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use tokio::sync::watch;

/// Cheap to clone; clones share it.
#[derive(Clone, Default)]
pub(crate) struct Board {
    inner: Arc<RwLock<Inner>>,
}

#[derive(Default)]
struct Inner {
    counts: HashMap<RunId, BTreeMap<State, u32>>,
    owned: HashMap<AgentId, u32>,
    watchers: HashMap<RunId, watch::Sender<()>>,
    feeds: Feeds,
}

impl Board {
    /// A run begins, or is taken up with `last` entries in the store.
    pub(crate) fn begin(&self, run: RunId, workflow: Arc<Workflow>, last: u64) {
        self.inner.write().feeds.begin(run, workflow, last);
    }

    /// Something of the run was committed: these entries, among other things.
    pub(crate) fn news(&self, run: RunId, counts: BTreeMap<State, u32>, entries: Vec<Numbered>) {
        let mut inner = self.inner.write();
        inner.feeds.push(run, entries);
        inner.counts.insert(run, counts);
        Self::wake(&mut inner, run);
    }

    /// The run ended, and that is committed.
    pub(crate) fn ended(&self, run: RunId) {
        let mut inner = self.inner.write();
        inner.counts.remove(&run);
        Self::wake(&mut inner, run);
        inner.watchers.remove(&run);
        inner.feeds.end(run);
    }

    /// The workflow of a run that is live or ended lately.
    pub(crate) fn workflow(&self, run: RunId) -> Option<Arc<Workflow>> {
        self.inner.read().feeds.workflow(run)
    }

    /// The run's entries after number `after`; None where the store has to be asked.
    pub(crate) fn entries(&self, run: RunId, after: u64) -> Option<Vec<Numbered>> {
        self.inner.read().feeds.after(run, after)
    }

    fn wake(inner: &mut Inner, run: RunId) {
        if let Some(watcher) = inner.watchers.get(&run)
            && watcher.send(()).is_err()
        {
            inner.watchers.remove(&run);
        }
    }

    /// Changes with each commit about the run, and closes when it has ended. None for a run that has ended.
    pub(crate) fn watch(&self, run: RunId) -> Option<watch::Receiver<()>> {
        let mut inner = self.inner.write();
        inner
            .counts
            .contains_key(&run)
            .then(|| inner.watchers.entry(run).or_insert_with(|| watch::channel(()).0).subscribe())
    }

    /// Task instances by state; None for a run that has ended.
    pub(crate) fn counts(&self, run: RunId) -> Option<BTreeMap<State, u32>> {
        self.inner.read().counts.get(&run).cloned()
    }

    pub(crate) fn set_owned(&self, owned: HashMap<AgentId, u32>) {
        self.inner.write().owned = owned;
    }

    /// Unfinished fragments of an agent.
    pub(crate) fn owned(&self, agent: AgentId) -> u32 {
        self.inner.read().owned.get(&agent).copied().unwrap_or(0)
    }
}

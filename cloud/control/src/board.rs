//! What is known of each unfinished run at a glance, and who waits for news of it. Everything here is committed.

use eyot_model::{AgentId, RunId, State};
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
}

impl Board {
    /// Something of the run was committed.
    pub(crate) fn news(&self, run: RunId, counts: BTreeMap<State, u32>) {
        let mut inner = self.inner.write();
        inner.counts.insert(run, counts);
        Self::wake(&mut inner, run);
    }

    /// The run ended, and that is committed.
    pub(crate) fn ended(&self, run: RunId) {
        let mut inner = self.inner.write();
        inner.counts.remove(&run);
        Self::wake(&mut inner, run);
        inner.watchers.remove(&run);
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

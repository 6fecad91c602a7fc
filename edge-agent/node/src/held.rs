//! A run of which this agent holds a part.

use eyot_engine::Run;
use eyot_model::{Epoch, FragmentId, TaskIx};
use std::collections::{BTreeMap, BTreeSet};

pub(crate) struct Held {
    pub(crate) run: Run,
    /// The fragments owned here, with their epochs.
    pub(crate) fragments: BTreeMap<FragmentId, Epoch>,
    /// Fragment of each owned task.
    pub(crate) fragment_of: BTreeMap<TaskIx, FragmentId>,
    /// Tasks whose results others need: tasks of other fragments, or the run's outputs.
    pub(crate) exported: BTreeSet<TaskIx>,
    /// Fragments of which nothing goes on until the cloud has said that they are still this agent's.
    pub(crate) paused: BTreeSet<FragmentId>,
    /// This agent coordinates the run.
    pub(crate) local: bool,
}

impl Held {
    pub(crate) fn standing_of(&self, task: TaskIx) -> Option<(FragmentId, Epoch)> {
        let fragment = *self.fragment_of.get(&task)?;
        Some((fragment, *self.fragments.get(&fragment)?))
    }

    /// Marks what of the owned tasks is needed elsewhere.
    pub(crate) fn find_exports(&mut self) {
        let graph = self.run.graph();
        let outputs = graph.output_tasks();
        self.exported = self
            .fragment_of
            .keys()
            .filter(|task| outputs.contains(task) || graph.dependents(**task).iter().any(|d| !self.fragment_of.contains_key(d)))
            .copied()
            .collect();
    }
}

//! A run of which this agent holds a part.

use crate::outbox::result_blobs;
use eyot_engine::Run;
use eyot_model::{BlobRef, Epoch, Event, FragmentId, TaskIx};
use std::collections::{BTreeMap, BTreeSet};

pub(crate) struct Held {
    pub(crate) run: Run,
    /// The fragments owned here, with their epochs.
    pub(crate) fragments: BTreeMap<FragmentId, Epoch>,
    /// Fragment of each owned task.
    pub(crate) fragment_of: BTreeMap<TaskIx, FragmentId>,
    /// Tasks whose results others need: tasks of other fragments, or the run's outputs.
    pub(crate) exported: BTreeSet<TaskIx>,
    /// Fragments that are on their way to another agent: what their tasks need is needed elsewhere.
    pub(crate) leaving: BTreeSet<FragmentId>,
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
        let apart = |task: &TaskIx, of: &FragmentId| match self.fragment_of.get(task) {
            None => true,
            Some(fragment) => fragment != of && self.leaving.contains(fragment),
        };
        let exported = |(task, of): &(&TaskIx, &FragmentId)| {
            outputs.contains(task) || graph.dependents(**task).iter().any(|dependent| apart(dependent, of))
        };
        self.exported = self.fragment_of.iter().filter(exported).map(|(task, _)| *task).collect();
    }

    /// The fragment is to go elsewhere.
    pub(crate) fn leaves(&mut self, fragment: FragmentId) {
        self.leaving.insert(fragment);
        self.find_exports();
    }

    /// It stays after all.
    pub(crate) fn stays(&mut self, fragment: FragmentId) {
        if self.leaving.remove(&fragment) {
            self.find_exports();
        }
    }

    /// The fragment is not this agent's any more. Gives its tasks.
    pub(crate) fn drop_fragment(&mut self, fragment: FragmentId) -> Vec<TaskIx> {
        let tasks: Vec<TaskIx> = self.tasks_of(fragment).collect();
        self.fragments.remove(&fragment);
        self.paused.remove(&fragment);
        self.leaving.remove(&fragment);
        self.fragment_of.retain(|_, f| *f != fragment);
        self.run.disown(tasks.iter().copied());
        self.find_exports();
        tasks
    }

    /// What has to be in the cloud before this event may be told.
    pub(crate) fn blobs_to_bring(&self, event: &Event) -> Vec<BlobRef> {
        let exported = event.task().is_some_and(|task| self.exported.contains(&task));
        if exported { result_blobs(event) } else { Vec::new() }
    }

    /// Blobs in what a task and its items have given so far.
    pub(crate) fn blobs_of(&self, task: TaskIx) -> Vec<BlobRef> {
        let entry = &self.run.tasks()[task.index()];
        let items = entry.items.iter().flat_map(|items| &items.instances);
        let mut blobs = Vec::new();
        for outputs in std::iter::once(&entry.own).chain(items).filter_map(|i| i.outputs.as_ref()) {
            outputs.for_each_blob(&mut |blob| blobs.push(*blob));
        }
        blobs
    }
}

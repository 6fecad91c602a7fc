//! A run in the cloud's hands.

use eyot_engine::Run;
use eyot_model::{AgentId, Epoch, Event, FragmentId, Inputs, Path, Plan, TaskIx, Workflow};
use eyot_wire::SavedState;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// An unfinished run, and who owns which part of it.
pub struct Entry {
    pub run: Run,
    pub workflow: Arc<Workflow>,
    pub inputs: Arc<Inputs>,
    pub plan: Option<Plan>,
    pub fragments: BTreeMap<FragmentId, FragmentEntry>,
    /// Why it is not placed.
    pub waiting_for: Option<String>,
    pub(crate) owner: BTreeMap<TaskIx, FragmentId>,
    /// All events so far, in the order of their sequence numbers: what a new owner has to know.
    pub(crate) events: Vec<Event>,
    /// What instances that have not ended saved for themselves: the latest of each.
    pub(crate) saved: BTreeMap<Path, SavedState>,
}

/// A fragment and its present assignment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FragmentEntry {
    pub agent: AgentId,
    pub epoch: Epoch,
    pub tasks: Vec<TaskIx>,
    /// The agent said that it has it on disk.
    pub accepted: bool,
}

impl Entry {
    /// Tasks that a fragment waits for and does not own.
    pub(crate) fn awaits(&self, tasks: &[TaskIx]) -> Vec<TaskIx> {
        let own: BTreeSet<TaskIx> = tasks.iter().copied().collect();
        let needed: BTreeSet<TaskIx> = tasks
            .iter()
            .flat_map(|task| self.workflow.task(*task).needs.iter().copied())
            .collect();
        needed.difference(&own).copied().collect()
    }

    /// What an owner of `tasks` has to know of what has happened.
    pub(crate) fn facts_for(&self, tasks: &[TaskIx], awaits: &[TaskIx]) -> Vec<Event> {
        let known: BTreeSet<TaskIx> = tasks.iter().chain(awaits).copied().collect();
        let concerns = |event: &Event| {
            event
                .task()
                .map_or(matches!(event, Event::CancelRequested { .. }), |task| known.contains(&task))
        };
        self.events.iter().filter(|event| concerns(event)).cloned().collect()
    }

    /// The fragment that owns `task` now.
    #[must_use]
    pub fn owner(&self, task: TaskIx) -> Option<(FragmentId, &FragmentEntry)> {
        let fragment = *self.owner.get(&task)?;
        Some((fragment, self.fragments.get(&fragment)?))
    }

    /// Agents that own a part of the run.
    #[must_use]
    pub fn agents(&self) -> BTreeSet<AgentId> {
        self.fragments.values().map(|f| f.agent).collect()
    }

    /// Number of events so far.
    #[must_use]
    pub fn last_seq(&self) -> u64 {
        self.events.len() as u64
    }

    /// Whether every task of the fragment has ended.
    #[must_use]
    pub fn fragment_ended(&self, fragment: &FragmentEntry) -> bool {
        fragment
            .tasks
            .iter()
            .all(|task| self.run.tasks()[task.index()].own.state.is_terminal())
    }
}

//! A run in the cloud's hands.

use crate::reassign::Search;
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
    /// Why it, or a part of it, is not placed.
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
    /// None while it is fenced: under this epoch nobody was given it.
    pub agent: Option<AgentId>,
    pub epoch: Epoch,
    pub tasks: Vec<TaskIx>,
    /// The agent said that it has it on disk.
    pub accepted: bool,
    /// Something of it was committed under this epoch, or may have been before a restart.
    pub(crate) progressed: bool,
    /// From whom it was taken for being out of contact, and under which epoch.
    pub(crate) taken_from: Option<(AgentId, Epoch)>,
    /// Its owner had it under this epoch too, and nobody in between that committed anything: what it holds is still good.
    pub(crate) renewed_from: Option<(AgentId, Epoch)>,
    /// Who owned it under earlier epochs.
    pub(crate) former: BTreeMap<Epoch, AgentId>,
    /// It looks for another agent.
    pub(crate) search: Option<Search>,
    /// Its owner said something that cannot be, and was told to begin again.
    pub(crate) contradicted: bool,
}

impl FragmentEntry {
    pub(crate) fn new(agent: Option<AgentId>, epoch: Epoch, tasks: Vec<TaskIx>) -> Self {
        Self {
            agent,
            epoch,
            tasks,
            accepted: false,
            progressed: false,
            taken_from: None,
            renewed_from: None,
            former: BTreeMap::new(),
            search: None,
            contradicted: false,
        }
    }

    /// The same fragment under the next epoch, with another owner.
    pub(crate) fn next(&self, agent: Option<AgentId>) -> Self {
        let mut former = self.former.clone();
        former.extend(self.agent.map(|agent| (self.epoch, agent)));
        Self {
            former,
            ..Self::new(agent, Epoch(self.epoch.0 + 1), self.tasks.clone())
        }
    }

    /// Whether `agent` owns it under `epoch`.
    #[must_use]
    pub fn is_held_by(&self, agent: AgentId, epoch: Epoch) -> bool {
        self.agent == Some(agent) && self.epoch == epoch
    }
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
        self.fragments.values().filter_map(|f| f.agent).collect()
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

    /// The tasks of a fragment that have not ended, and those of the whole run that a plan for them may take as settled.
    #[must_use]
    pub fn rest_of(&self, fragment: FragmentId) -> Option<(Vec<TaskIx>, BTreeSet<TaskIx>)> {
        let owned = self.fragments.get(&fragment)?;
        let open = |task: &&TaskIx| !self.run.tasks()[task.index()].own.state.is_terminal();
        let rest: Vec<TaskIx> = owned.tasks.iter().filter(open).copied().collect();
        let settled = crate::coordinator::tasks_of(&self.workflow)
            .into_iter()
            .filter(|task| !rest.contains(task))
            .collect();
        Some((rest, settled))
    }
}

//! What the loop keeps of an unfinished run beside the coordinator: its place in the stored history, and counts.

use crate::store::{NewRun, RunRecord};
use eyot_coordinator::Submission;
use eyot_engine::Run;
use eyot_model::{AgentId, Epoch, Event, FailureKind, FragmentId, Outcome, RunState, State, TaskIx, Timestamp, Workflow};
use std::collections::BTreeMap;
use std::sync::Arc;

pub(super) struct Live {
    pub(super) workflow: Arc<Workflow>,
    /// Number of the last stored entry.
    pub(super) last_entry: u64,
    pub(super) state: RunState,
    pub(super) waiting_for: Option<String>,
    pub(super) ended_at: Option<Timestamp>,
    pub(super) fragments: BTreeMap<FragmentId, (Option<AgentId>, Epoch)>,
    pub(super) owner: BTreeMap<TaskIx, FragmentId>,
    counts: Counts,
    /// The counts cannot be had from the events one by one: they are to be taken from the run anew.
    pub(super) recount: bool,
}

/// Task instances by state, from the events alone.
struct Counts {
    by_state: BTreeMap<State, u32>,
    /// All instances that are known of.
    total: u32,
}

impl Live {
    pub(super) fn new(submission: &Submission) -> Self {
        Self {
            workflow: Arc::clone(&submission.workflow),
            last_entry: 0,
            state: RunState::Pending,
            waiting_for: None,
            ended_at: None,
            fragments: BTreeMap::new(),
            owner: BTreeMap::new(),
            counts: Counts {
                by_state: BTreeMap::new(),
                total: u32::try_from(submission.workflow.tasks.len()).unwrap_or(u32::MAX),
            },
            recount: false,
        }
    }

    pub(super) fn record(&self, submission: &Submission) -> NewRun {
        NewRun {
            id: submission.run,
            namespace: self.workflow.namespace.clone(),
            workflow: self.workflow.name.clone(),
            version: self.workflow.version.clone(),
            created_at: submission.created_at,
            inputs: Arc::clone(&submission.inputs),
            coordinator: None,
        }
    }

    /// The run as it stands in the store once what was decided is committed.
    pub(super) fn stored(&self, new: &NewRun) -> RunRecord {
        RunRecord {
            id: new.id,
            namespace: new.namespace.clone(),
            workflow: new.workflow.clone(),
            version: new.version.clone(),
            state: self.state,
            created_at: new.created_at,
            ended_at: None,
            waiting_for: self.waiting_for.clone(),
            counts: BTreeMap::new(),
            outcome: None,
            coordinator: new.coordinator,
        }
    }

    /// Counts an event that was not known before.
    pub(super) fn count(&mut self, event: &Event) {
        let counts = &mut self.counts;
        match event {
            Event::Started { .. } => counts.enter(State::Running),
            Event::Ended { outcome, retry_at, .. } => {
                counts.leave(State::Running);
                match (outcome, retry_at) {
                    (_, Some(_)) => {}
                    (Outcome::Succeeded(_), None) => counts.enter(State::Succeeded),
                    (Outcome::Cancelled, None) => counts.enter(State::Cancelled),
                    (Outcome::Failed(f), None) if f.kind == FailureKind::Timeout => counts.enter(State::TimedOut),
                    (Outcome::Failed(f), None) if f.kind == FailureKind::OutcomeUnknown => self.recount = true,
                    (Outcome::Failed(_), None) => counts.enter(State::Failed),
                }
            }
            Event::Failed { .. } => counts.enter(State::Failed),
            Event::Skipped { .. } => counts.enter(State::Skipped),
            Event::UpstreamFailed { .. } => counts.enter(State::UpstreamFailed),
            Event::Cancelled { .. } => counts.enter(State::Cancelled),
            // The items count, the task itself does not.
            Event::Expanded { count, .. } => counts.total = counts.total.saturating_sub(1).saturating_add(*count),
            Event::Yielded { .. } => counts.leave(State::Running),
            Event::Resolved { .. } | Event::Rewound { .. } => self.recount = true,
            Event::CancelRequested { .. } | Event::RunEnded { .. } => {}
        }
    }

    /// Counts what is there. The run knows every event that was counted, and no other.
    pub(super) fn recount(&mut self, run: &Run) {
        self.recount = false;
        let mut counts = Counts {
            by_state: BTreeMap::new(),
            total: 0,
        };
        for entry in run.tasks() {
            let items = entry.items.as_ref().map(|items| items.instances.as_slice());
            for instance in items.unwrap_or(std::slice::from_ref(&entry.own)) {
                counts.total = counts.total.saturating_add(1);
                match instance.state {
                    State::Pending | State::Queued | State::Retrying => {}
                    state => counts.enter(state),
                }
            }
        }
        self.counts = counts;
    }

    /// Task instances by state. Queued and Retrying ones count as Pending: what they are is the agent's to know.
    pub(super) fn counts(&self) -> BTreeMap<State, u32> {
        let mut counts: BTreeMap<State, u32> = self
            .counts
            .by_state
            .iter()
            .filter(|(_, n)| **n > 0)
            .map(|(s, n)| (*s, *n))
            .collect();
        let known: u32 = counts.values().sum();
        if let Some(pending) = self.counts.total.checked_sub(known).filter(|n| *n > 0) {
            counts.insert(State::Pending, pending);
        }
        counts
    }

    /// The fragment that owns `task`, and its epoch.
    pub(super) fn epoch_of(&self, task: TaskIx) -> Option<(FragmentId, Epoch)> {
        let fragment = *self.owner.get(&task)?;
        Some((fragment, self.fragments.get(&fragment)?.1))
    }
}

impl Counts {
    fn enter(&mut self, state: State) {
        *self.by_state.entry(state).or_default() += 1;
    }

    fn leave(&mut self, state: State) {
        if let Some(n) = self.by_state.get_mut(&state) {
            *n = n.saturating_sub(1);
        }
    }
}

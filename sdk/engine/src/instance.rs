//! What is known of a task and of each of its instances.

use crate::rule::Upstream;
use eyot_model::{Epoch, Failure, SkipReason, State, Timestamp, Usage, Value};
use std::collections::VecDeque;
use std::sync::Arc;

/// A task instance: a plain task, or one item of a `forEach`.
#[derive(Clone, Debug, Default)]
pub struct Instance {
    pub state: State,
    /// Attempts begun so far: the number of the latest one.
    pub attempts: u32,
    /// How many of them were stopped on purpose and do not count against the task's policy.
    pub yielded: u32,
    pub epoch: Epoch,
    /// When it became ready, where this engine saw that.
    pub queued_at: Option<Timestamp>,
    /// Start of the latest attempt.
    pub started_at: Option<Timestamp>,
    pub ended_at: Option<Timestamp>,
    pub usage: Usage,
    /// When the next attempt is due, while Retrying.
    pub due: Option<Timestamp>,
    /// Always a map.
    pub outputs: Option<Arc<Value>>,
    /// Of the latest attempt that failed.
    pub failure: Option<Failure>,
    pub skipped: Option<SkipReason>,
    /// Handed out as ready (or running), so it counts against the limits of parallel work.
    pub(crate) issued: bool,
    /// The running attempt was asked to stop and to give its place back.
    pub(crate) yielding: bool,
    /// The latest attempt whose end nobody knew, and of which an operator has said what became of it.
    pub(crate) resolved: Option<u32>,
}

impl Instance {
    /// Attempts that count against the task's policy.
    #[must_use]
    pub fn tries(&self) -> u32 {
        self.attempts.saturating_sub(self.yielded)
    }

    /// The attempt whose end nobody knows, while an operator has to say what became of it.
    #[must_use]
    pub fn unknown_attempt(&self) -> Option<u32> {
        let unknown = self
            .failure
            .as_ref()
            .is_some_and(|f| f.kind == eyot_model::FailureKind::OutcomeUnknown);
        (self.state == State::Waiting && unknown).then_some(self.attempts)
    }
}

/// A task of the graph.
#[derive(Clone, Debug, Default)]
pub struct TaskEntry {
    /// For a `forEach`: its state is Waiting while items run, and its outputs are a list aligned by index.
    pub own: Instance,
    pub items: Option<Box<Items>>,
    /// How often the task was begun anew because what it gave was lost.
    pub generation: u32,
    pub(crate) upstream: Upstream,
    /// Nothing of it is handed out by its owner's wish.
    pub(crate) held: bool,
    /// Nothing is decided about it either: what was told of it last is to stay the last.
    pub(crate) at_rest: bool,
    /// It had begun, and a task before it runs anew: nothing of it is handed out until that has ended.
    pub(crate) stale: bool,
    /// The first task before it that failed.
    pub(crate) culprit: Option<eyot_model::TaskIx>,
}

/// The items of an expanded `forEach`.
#[derive(Clone, Debug, Default)]
pub struct Items {
    pub instances: Vec<Instance>,
    pub(crate) ended: u32,
    /// The list that it runs over: known where the task is owned.
    pub(crate) values: Option<Arc<Vec<Value>>>,
    /// Ready items that wait for the task's `maxParallel`.
    pub(crate) backlog: VecDeque<u32>,
    pub(crate) issued: u32,
}

impl TaskEntry {
    /// The instance of item `item`, or of the task itself.
    #[must_use]
    pub fn instance(&self, item: Option<u32>) -> Option<&Instance> {
        match (item, &self.items) {
            (None, _) => Some(&self.own),
            (Some(i), Some(items)) => items.instances.get(i as usize),
            (Some(_), None) => None,
        }
    }

    pub(crate) fn instance_mut(&mut self, item: Option<u32>) -> Option<&mut Instance> {
        match (item, &mut self.items) {
            (None, _) => Some(&mut self.own),
            (Some(i), Some(items)) => items.instances.get_mut(i as usize),
            (Some(_), None) => None,
        }
    }
}

//! What is known of a task and of each of its instances.

use crate::rule::Upstream;
use eyot_model::{Epoch, Failure, SkipReason, State, Timestamp, Usage, Value};
use std::collections::VecDeque;
use std::sync::Arc;

/// A task instance: a plain task, or one item of a `forEach`.
#[derive(Clone, Debug, Default)]
pub struct Instance {
    pub state: State,
    /// Attempts begun so far.
    pub attempts: u32,
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
}

/// A task of the graph.
#[derive(Clone, Debug, Default)]
pub struct TaskEntry {
    /// For a `forEach`: its state is Waiting while items run, and its outputs are a list aligned by index.
    pub own: Instance,
    pub items: Option<Box<Items>>,
    pub(crate) upstream: Upstream,
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

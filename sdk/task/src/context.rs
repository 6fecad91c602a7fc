//! Which attempt this is.

use crate::sys;
use std::time::Duration;

/// The attempt that runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Context {
    pub run: String,
    pub namespace: String,
    pub task: String,
    /// Index of the item, where the task runs once for each item of a list.
    pub item: Option<u32>,
    /// Counts from 1.
    pub attempt: u32,
    pub epoch: u64,
    /// The same over all attempts: give it to outside systems so that they drop repeats.
    pub idempotency_key: String,
    /// What was left of this attempt when it was asked, where it has a limit.
    pub remaining: Option<Duration>,
}

impl Context {
    #[must_use]
    pub fn current() -> Self {
        sys::context()
    }
}

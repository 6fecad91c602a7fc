//! What happened in a run. The state of a run is the fold of its events, on the cloud and on every agent alike.

use crate::{Epoch, Failure, Millis, Outputs, Path, RunState, TaskIx, Timestamp};
use serde::{Deserialize, Serialize};

/// A fact about a run, decided by the owner of what it is about. Others apply it and never decide it again.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Event {
    /// An attempt was admitted and starts. Also the count of attempts: a start without an end, after an unclean stop,
    /// is an attempt.
    Started {
        path: Path,
        attempt: u32,
        epoch: Epoch,
        at: Timestamp,
    },
    /// An attempt ended. With `retry_at` the owner will try again then; without it the instance has ended too.
    Ended {
        path: Path,
        attempt: u32,
        epoch: Epoch,
        at: Timestamp,
        outcome: Outcome,
        usage: Usage,
        retry_at: Option<Timestamp>,
    },
    /// The instance failed for good without an attempt of its own to blame (an expression, a deadline, no place).
    Failed { path: Path, failure: Failure, at: Timestamp },
    /// The instance never runs.
    Skipped { path: Path, reason: SkipReason, at: Timestamp },
    /// The instance never runs because `cause` failed.
    UpstreamFailed { path: Path, cause: TaskIx, at: Timestamp },
    /// A `forEach` has `count` items; they are the instances `item 0 .. count` of this generation.
    Expanded {
        task: TaskIx,
        generation: u32,
        count: u32,
        at: Timestamp,
    },
    /// The instance was cancelled before or while it ran.
    Cancelled { path: Path, at: Timestamp },
    /// Somebody asked for the whole run to stop.
    CancelRequested { by: String, at: Timestamp },
    /// The coordinator closed the run.
    RunEnded { outcome: RunOutcome, at: Timestamp },
    /// A running attempt was stopped on purpose (a pause, a move, an agent that is shut down): the instance is queued
    /// again, and the attempt does not count against its policy.
    Yielded {
        path: Path,
        attempt: u32,
        epoch: Epoch,
        at: Timestamp,
    },
    /// An operator ended the wait of an instance whose `attempt` had an end that nobody knows.
    Resolved {
        path: Path,
        attempt: u32,
        resolution: Resolution,
        by: String,
        at: Timestamp,
    },
    /// What a task gave was lost with the only device that held it: the task, with all its items, is Pending again under
    /// a new generation. Decided by the coordinator, when the fragment goes to another agent.
    Rewound { task: TaskIx, generation: u32, at: Timestamp },
}

impl Event {
    /// The task that the event is about; None for events of the whole run.
    #[must_use]
    pub fn task(&self) -> Option<TaskIx> {
        match self {
            Self::Started { path, .. }
            | Self::Ended { path, .. }
            | Self::Failed { path, .. }
            | Self::Skipped { path, .. }
            | Self::UpstreamFailed { path, .. }
            | Self::Cancelled { path, .. }
            | Self::Yielded { path, .. }
            | Self::Resolved { path, .. } => Some(path.task),
            Self::Expanded { task, .. } | Self::Rewound { task, .. } => Some(*task),
            Self::CancelRequested { .. } | Self::RunEnded { .. } => None,
        }
    }

    /// The instance that the event may have ended for good: not where it is tried again, which the run itself knows.
    #[must_use]
    pub fn may_end(&self) -> Option<Path> {
        match self {
            Self::Ended { path, .. }
            | Self::Failed { path, .. }
            | Self::Skipped { path, .. }
            | Self::UpstreamFailed { path, .. }
            | Self::Cancelled { path, .. }
            | Self::Resolved { path, .. } => Some(*path),
            Self::Started { .. }
            | Self::Expanded { .. }
            | Self::CancelRequested { .. }
            | Self::RunEnded { .. }
            | Self::Yielded { .. }
            | Self::Rewound { .. } => None,
        }
    }

    #[must_use]
    pub fn at(&self) -> Timestamp {
        match self {
            Self::Started { at, .. }
            | Self::Ended { at, .. }
            | Self::Failed { at, .. }
            | Self::Skipped { at, .. }
            | Self::UpstreamFailed { at, .. }
            | Self::Expanded { at, .. }
            | Self::Cancelled { at, .. }
            | Self::CancelRequested { at, .. }
            | Self::RunEnded { at, .. }
            | Self::Yielded { at, .. }
            | Self::Resolved { at, .. }
            | Self::Rewound { at, .. } => *at,
        }
    }
}

/// How an attempt ended.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Outcome {
    Succeeded(Outputs),
    Failed(Failure),
    Cancelled,
}

/// What an operator found out about an attempt whose end nobody knew.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Resolution {
    /// The effect happened, and this is what the task gave.
    Succeeded(Outputs),
    /// It did not happen, and is not wanted any more.
    Failed,
    /// It did not happen: try again, or doing it twice does no harm.
    Retry,
}

/// What an attempt took.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Usage {
    /// From start to end, in microseconds.
    pub wall_micros: u64,
    /// Most memory of the component, in bytes.
    pub peak_memory_bytes: u64,
    /// Wait between ready and start.
    pub queued: Millis,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum SkipReason {
    /// `when` was false.
    Condition,
    /// The trigger rule cannot be met any more, without a failure.
    TriggerRule,
    /// The planner saw from the inputs alone that it never runs.
    Pruned(String),
    /// The run had already failed under `onFailure: terminate`.
    RunFailed,
}

impl std::fmt::Display for SkipReason {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Condition => f.write_str("its condition is false"),
            Self::TriggerRule => f.write_str("its trigger rule cannot be met"),
            Self::Pruned(why) => f.write_str(why),
            Self::RunFailed => f.write_str("the run failed before it began"),
        }
    }
}

/// How a run ended.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RunOutcome {
    pub state: RunState,
    pub outputs: Outputs,
    pub failure: Option<Failure>,
}

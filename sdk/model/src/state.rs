//! States of task instances and runs, and the one table of legal transitions.

use serde::{Deserialize, Serialize};

/// State of a task instance.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum State {
    /// Upstream tasks have not ended.
    #[default]
    Pending,
    /// Ready; waits for admission.
    Queued,
    Running,
    /// Failed, and waits for its next attempt.
    Retrying,
    /// Waits for something outside (an operator, a signal), or, for a `forEach`, for its items.
    Waiting,
    Paused,
    /// Its agent is out of contact: the true state is not known here.
    Disconnected,
    Succeeded,
    Failed,
    /// Never ran, because a task before it failed.
    UpstreamFailed,
    TimedOut,
    /// Never ran, by its condition, by its trigger rule, or because the plan pruned it.
    Skipped,
    Cancelled,
}

impl State {
    pub const ALL: [Self; 13] = [
        Self::Pending,
        Self::Queued,
        Self::Running,
        Self::Retrying,
        Self::Waiting,
        Self::Paused,
        Self::Disconnected,
        Self::Succeeded,
        Self::Failed,
        Self::UpstreamFailed,
        Self::TimedOut,
        Self::Skipped,
        Self::Cancelled,
    ];

    /// Whether nothing more happens to the instance in its present generation.
    #[must_use]
    pub fn is_terminal(self) -> bool {
        match self {
            Self::Succeeded | Self::Failed | Self::UpstreamFailed | Self::TimedOut | Self::Skipped | Self::Cancelled => true,
            Self::Pending | Self::Queued | Self::Running | Self::Retrying | Self::Waiting | Self::Paused | Self::Disconnected => false,
        }
    }

    /// Whether downstream tasks see this state as a failure.
    #[must_use]
    pub fn is_failure(self) -> bool {
        matches!(self, Self::Failed | Self::UpstreamFailed | Self::TimedOut | Self::Cancelled)
    }

    /// The table of legal transitions of a task instance.
    ///
    /// | from | to |
    /// |---|---|
    /// | Pending | Queued, Waiting, Paused, Disconnected, and every terminal state but TimedOut (expansion to nothing succeeds at once) |
    /// | Queued | Running, Paused, Disconnected, Failed (not admissible), TimedOut, Cancelled |
    /// | Running | Succeeded, Failed, TimedOut, Cancelled, Retrying, Waiting, Paused, Disconnected, Queued (a move) |
    /// | Retrying | Queued, Running, Paused, Disconnected, Failed, TimedOut, Cancelled |
    /// | Waiting | Queued, Running, Paused, Disconnected, Succeeded, Failed, TimedOut, Cancelled |
    /// | Paused | what it was before, Disconnected, Cancelled |
    /// | Disconnected | any other: the news decides |
    /// | terminal | none; running anew is a new generation |
    #[must_use]
    pub fn can_become(self, next: Self) -> bool {
        use State::{
            Cancelled, Disconnected, Failed, Paused, Pending, Queued, Retrying, Running, Skipped, Succeeded, TimedOut, UpstreamFailed,
            Waiting,
        };
        match self {
            Pending => matches!(
                next,
                Queued | Waiting | Paused | Disconnected | Succeeded | Failed | UpstreamFailed | Skipped | Cancelled
            ),
            Queued => matches!(next, Running | Paused | Disconnected | Failed | TimedOut | Cancelled),
            Running => matches!(
                next,
                Succeeded | Failed | TimedOut | Cancelled | Retrying | Waiting | Paused | Disconnected | Queued
            ),
            Retrying => matches!(next, Queued | Running | Paused | Disconnected | Failed | TimedOut | Cancelled),
            Waiting => matches!(
                next,
                Queued | Running | Paused | Disconnected | Succeeded | Failed | TimedOut | Cancelled
            ),
            Paused => matches!(next, Pending | Queued | Running | Retrying | Waiting | Disconnected | Cancelled),
            Disconnected => next != Disconnected,
            Succeeded | Failed | UpstreamFailed | TimedOut | Skipped | Cancelled => false,
        }
    }

    /// The word that the CLI and the API show.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Queued => "queued",
            Self::Running => "running",
            Self::Retrying => "retrying",
            Self::Waiting => "waiting",
            Self::Paused => "paused",
            Self::Disconnected => "disconnected",
            Self::Succeeded => "succeeded",
            Self::Failed => "failed",
            Self::UpstreamFailed => "upstream-failed",
            Self::TimedOut => "timed-out",
            Self::Skipped => "skipped",
            Self::Cancelled => "cancelled",
        }
    }
}

impl std::fmt::Display for State {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(self.as_str())
    }
}

/// State of a whole run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum RunState {
    /// Accepted, not yet placed (no agent meets its needs, or the planner has not come to it).
    Pending,
    Running,
    /// Cancel asked for, not yet confirmed by every agent.
    Cancelling,
    Succeeded,
    Failed,
    Cancelled,
}

impl RunState {
    #[must_use]
    pub fn is_terminal(self) -> bool {
        matches!(self, Self::Succeeded | Self::Failed | Self::Cancelled)
    }

    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Running => "running",
            Self::Cancelling => "cancelling",
            Self::Succeeded => "succeeded",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
        }
    }
}

impl std::fmt::Display for RunState {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_leaves_a_terminal_state_and_everything_else_reaches_one() {
        for from in State::ALL {
            let leaves = State::ALL.iter().filter(|to| from.can_become(**to)).count();
            assert_eq!(leaves == 0, from.is_terminal(), "{from}");
            assert!(
                from.is_terminal() || from.can_become(State::Cancelled),
                "{from} cannot be cancelled"
            );
        }
    }
}

//! Why an attempt or a run failed.

use serde::{Deserialize, Serialize};

/// What kind of failure it was. Each kind has a stable code, and a page in `docs/errors.md`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum FailureKind {
    /// The task says that its inputs are wrong.
    InvalidInput,
    /// The task says that trying again may help.
    Retryable,
    /// The task says that trying again is no use.
    Permanent,
    /// The component trapped (panic, out-of-bounds access, unreachable code).
    Trap,
    /// The component asked for more memory than its limit.
    MemoryLimit,
    /// The component used more CPU time than its limit.
    CpuLimit,
    /// The attempt took longer than `timeout`.
    Timeout,
    /// An output or a number of handles was over its limit.
    OutputLimit,
    /// The component could not be fetched, verified, compiled or linked.
    Component,
    /// An expression of the workflow failed.
    Expression,
    /// A blob that the task needs could not be had.
    BlobUnavailable,
    /// The agent itself failed (its disk, its runtime).
    Agent,
    /// The agent stopped or died while the attempt ran.
    AgentLost,
    /// A task with outside effects was cut off: nobody knows whether the effect happened.
    OutcomeUnknown,
    /// Saved state that the task may not do without is gone.
    StateLost,
    /// No agent meets the needs of the task.
    Unplaceable,
    /// The attempt waited longer than `queueTimeout`, or the run passed its `deadline`.
    Deadline,
    /// The agent's disk had no room for what the attempt wrote.
    DiskFull,
}

/// What an operator or a retry can do about a failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Recovery {
    /// Trying again may help.
    Retryable,
    /// It will fail again until something is changed.
    Terminal,
    /// Eyot's own mistake.
    Bug,
}

impl FailureKind {
    /// The stable code that operators search for.
    #[must_use]
    pub fn code(self) -> &'static str {
        match self {
            Self::InvalidInput => "task.invalid-input",
            Self::Retryable => "task.retryable",
            Self::Permanent => "task.permanent",
            Self::Trap => "task.trap",
            Self::MemoryLimit => "limit.memory",
            Self::CpuLimit => "limit.cpu",
            Self::Timeout => "limit.timeout",
            Self::OutputLimit => "limit.output",
            Self::Component => "component.unusable",
            Self::Expression => "expression.failed",
            Self::BlobUnavailable => "blob.unavailable",
            Self::Agent => "agent.failed",
            Self::AgentLost => "agent.lost",
            Self::OutcomeUnknown => "outcome.unknown",
            Self::StateLost => "state.lost",
            Self::Unplaceable => "plan.unplaceable",
            Self::Deadline => "limit.deadline",
            Self::DiskFull => "agent.disk-full",
        }
    }

    /// Whether trying again may help, unless the workflow's `retry.when` says otherwise.
    #[must_use]
    pub fn recovery(self) -> Recovery {
        match self {
            Self::Retryable
            | Self::CpuLimit
            | Self::Timeout
            | Self::BlobUnavailable
            | Self::Agent
            | Self::AgentLost
            | Self::Trap
            | Self::DiskFull => Recovery::Retryable,
            Self::InvalidInput
            | Self::Permanent
            | Self::MemoryLimit
            | Self::OutputLimit
            | Self::Component
            | Self::Expression
            | Self::OutcomeUnknown
            | Self::StateLost
            | Self::Unplaceable
            | Self::Deadline => Recovery::Terminal,
        }
    }
}

/// Why an attempt or a task instance failed. `message` is a lower-case fragment for people.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Failure {
    pub kind: FailureKind,
    pub message: String,
    pub details: Option<String>,
}

impl Failure {
    #[must_use]
    pub fn new(kind: FailureKind, message: impl Into<String>) -> Self {
        Self {
            kind,
            message: message.into(),
            details: None,
        }
    }

    #[must_use]
    pub fn is_retryable(&self) -> bool {
        self.kind.recovery() == Recovery::Retryable
    }
}

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}", self.kind.code(), self.message)
    }
}

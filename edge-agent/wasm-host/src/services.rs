//! What the agent's shell gives to an attempt: the other end of the capabilities.

use eyot_model::Digest;
use serde::{Deserialize, Serialize};

/// How loud a line of a task's log is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogLevel {
    Error,
    Warn,
    Info,
    Debug,
    Trace,
}

impl LogLevel {
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warn => "warn",
            Self::Info => "info",
            Self::Debug => "debug",
            Self::Trace => "trace",
        }
    }
}

/// Why the agent could not do what a task asked of it. The text reaches the task.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct ServiceError(pub String);

/// Saved state that the task may not do without is gone.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct StateLost(pub String);

/// The agent as one attempt sees it; the shell makes one for each attempt. Calls come from the thread that runs the
/// attempt and may block it: neither the limits of the attempt nor its cancellation stop a call.
pub trait Services: Send + Sync + 'static {
    fn blobs(&self) -> &dyn BlobAccess;

    /// A line that the task logged or printed, without the line's end; bounded in length and number by the host.
    fn log(&self, level: LogLevel, message: &str);

    /// `done` of `total` units; at most ten times a second, and at the end.
    fn progress(&self, done: u64, total: u64, message: &str);

    /// Keeps the task's own state in place of what it saved before; durable on return.
    ///
    /// # Errors
    /// When it cannot be kept; the earlier state stays.
    fn save_checkpoint(&self, state: &[u8]) -> Result<(), ServiceError>;

    /// What this task instance saved last, if the same component saved it for the same inputs: comparing the two is the
    /// shell's part.
    ///
    /// # Errors
    /// When there was a state, it cannot be read any more, and the task must not begin again without it. The attempt fails.
    fn load_checkpoint(&self) -> Result<Option<Vec<u8>>, StateLost>;

    /// The models of the agent; asked for only under the grant `inference`. None where the agent runs no models.
    fn inference(&self) -> Option<&eyot_infer::Runtime>;
}

/// Why a blob could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum BlobError {
    #[error("blob {0} is not on this agent")]
    Missing(Digest),
    #[error("blob {0} was damaged on this agent's disk")]
    Damaged(Digest),
    #[error("no room for blobs is left on this agent's disk")]
    Full,
    #[error("blob store failed")]
    Store(#[source] Box<dyn std::error::Error + Send + Sync>),
}

/// The agent's blobs. Which of them an attempt may open is decided by the host.
pub trait BlobAccess: Send + Sync {
    /// # Errors
    /// [`BlobError::Missing`] where the agent does not have it, [`BlobError::Damaged`] where its bytes are wrong; otherwise
    /// as the store fails.
    fn open(&self, digest: &Digest) -> Result<Box<dyn BlobRead>, BlobError>;

    /// # Errors
    /// As the store fails.
    fn writer(&self) -> Result<Box<dyn BlobWrite>, BlobError>;
}

/// An open blob.
pub trait BlobRead: Send {
    /// Length in bytes.
    fn size(&self) -> u64;

    /// Fills `buffer` from `offset` on and says how many bytes it got: fewer than asked only at the end.
    ///
    /// # Errors
    /// As the store fails.
    fn read_at(&mut self, offset: u64, buffer: &mut [u8]) -> Result<usize, BlobError>;
}

/// A blob in the making. Dropped before [`Self::finish`], nothing remains of it.
pub trait BlobWrite: Send {
    /// # Errors
    /// As the store fails.
    fn write(&mut self, bytes: &[u8]) -> Result<(), BlobError>;

    /// Makes the blob: its digest and its length in bytes.
    ///
    /// # Errors
    /// As the store fails.
    fn finish(self: Box<Self>) -> Result<(Digest, u64), BlobError>;
}

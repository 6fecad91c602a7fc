//! What the node wants done.

use crate::Record;
use eyot_model::{AttemptId, BlobRef, ComponentRef, Digest, Grant, Inputs, Millis, Position, Resources, RunId, RunOutcome};
use eyot_wire::ToCloud;
use std::collections::BTreeSet;

/// In the order in which they come: a `Start` after an `Append` may rely on it being appended.
#[derive(Clone, Debug, PartialEq)]
pub enum Command {
    /// Append to the journal. The blobs that the record names are synced before it.
    Append { position: Position, record: Record },
    /// Run an attempt. With `after`, only once the journal is synced up to there (a task with outside effects).
    Start { start: Box<Start>, after: Option<Position> },
    /// Stop a running attempt; it still ends by [`crate::Node::attempt_ended`].
    Stop { id: AttemptId },
    /// Sync the journal: something waits for it. Urgent ones wait for nothing; others may be put together.
    Sync { urgent: bool },
    /// Send to the cloud. What it tells is synced already.
    Send(ToCloud),
    /// Others need this blob: bring it to the cloud, then call [`crate::Node::uploaded`].
    Upload(BlobRef),
    /// A run that this agent coordinates is over and durable.
    RunFinished { run: RunId, outcome: RunOutcome },
    /// The end of a run that this agent coordinates was told: call [`crate::Node::archive`]. Nobody waits for that.
    Archive { run: RunId },
    /// Nothing of the run is needed any more: blobs and saved state of it may go.
    Forget { run: RunId },
}

impl Command {
    /// Whether it is the first word over a new link. What was to be sent or brought over an earlier one is of no use any more:
    /// this, and what follows the answer to it, say it again.
    #[must_use]
    pub fn greets(&self) -> bool {
        matches!(self, Self::Send(ToCloud::Inventory(_)))
    }

    /// Whether it is meant for the link that is up, and no later one.
    #[must_use]
    pub fn needs_link(&self) -> bool {
        matches!(self, Self::Send(_) | Self::Upload(_))
    }
}

/// An attempt to run.
#[derive(Clone, Debug, PartialEq)]
pub struct Start {
    pub id: AttemptId,
    pub namespace: String,
    pub task: String,
    pub component: ComponentRef,
    pub digest: Digest,
    pub inputs: Inputs,
    pub resources: Resources,
    pub timeout: Option<Millis>,
    pub cpu_limit: Option<Millis>,
    pub grants: BTreeSet<Grant>,
    /// Whether it may begin a second time.
    pub idempotent: bool,
}

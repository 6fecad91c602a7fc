//! What an agent writes into its journal.

use crate::firing::{MarkPlace, TriggerKey};
use crate::own_registry::{OwnComponent, OwnWorkflow};
use eyot_model::{Epoch, Event, FragmentId, Mark, Path, Position, RunId};
use eyot_wire::{Assignment, SavedState, Submission};
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// A record of the journal. Variants are only ever appended.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Record {
    /// A fragment given to this agent.
    Assigned(Box<Assignment>),
    /// A run that this agent coordinates by itself: it owns every task.
    Submitted(Arc<Submission>),
    /// Something that this agent decided, to be reported.
    Own {
        run: RunId,
        fragment: FragmentId,
        epoch: Epoch,
        event: Event,
    },
    /// Something that another owner decided.
    Fact { run: RunId, event: Event },
    /// The cloud holds everything up to this position.
    Committed { through: Position },
    /// The fragment is not this agent's any more (superseded), and its unreported results are void.
    Dropped { run: RunId, fragment: FragmentId, epoch: Epoch },
    /// The run is not held any more: what was written of it is void. What is kept of a run of this agent's own is in its archive.
    Released { run: RunId },
    /// State that a task saved for itself. A blob that it names is synced before.
    Saved { run: RunId, state: SavedState },
    /// The instance has ended: what it saved is of no use any more.
    Unsaved { run: RunId, path: Path },
    /// The fragment is at rest: the cloud was told, or is about to be, that another agent may have it.
    AtRest { run: RunId, fragment: FragmentId, epoch: Epoch },
    /// It was not given away after all.
    WentOn { run: RunId, fragment: FragmentId },
    /// A piece of the history of a run of this agent's own that is over, counted from 0; its end is in `Archived`.
    History { run: RunId, n: u32, events: Vec<Event> },
    /// A run of this agent's own is over: everything that is kept of it, after `pieces` pieces of its history.
    Archived {
        submission: Arc<Submission>,
        pieces: u32,
        events: Vec<Event>,
    },
    /// The cloud has the run of this agent's own up to this event; `whole`: the run is over and the cloud has all of it.
    Told { run: RunId, through: u64, whole: bool },
    /// A run of this agent's own need not be known any more.
    Forgotten { run: RunId },
    /// A component under its name.
    Component(OwnComponent),
    /// A workflow that this agent owns from now on.
    Owned(Box<OwnWorkflow>),
    /// And no more.
    Disowned { namespace: String, name: String },
    /// A trigger has fired for this, or need not.
    Fired { key: TriggerKey, mark: Mark },
    /// What a trigger has fired for is of no account any more: a file is gone, or the workflow is.
    Unmarked { key: TriggerKey, place: MarkPlace },
    /// From here on the cloud is told from this store of its own. What was told before went to another one, and counts as not told.
    ToldTo { store: u64 },
}

#[derive(Debug, thiserror::Error)]
pub enum RecordError {
    #[error("record cannot be encoded")]
    Encode(#[source] postcard::Error),
    #[error("record is not one of this version")]
    Decode(#[source] postcard::Error),
}

impl Record {
    /// # Errors
    /// Only if the allocation fails half-way.
    pub fn encode(&self) -> Result<Vec<u8>, RecordError> {
        // Most take less than this, and grow there from nothing in several steps otherwise.
        postcard::to_extend(self, Vec::with_capacity(64)).map_err(RecordError::Encode)
    }

    /// # Errors
    /// When the bytes are not a record of this version.
    pub fn decode(bytes: &[u8]) -> Result<Self, RecordError> {
        postcard::from_bytes(bytes).map_err(RecordError::Decode)
    }
}

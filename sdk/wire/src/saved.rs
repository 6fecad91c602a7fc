//! What tasks saved for themselves, on its way to the cloud and from there to the next agent.

use eyot_model::{BlobRef, Digest, Epoch, Path};
use serde::{Deserialize, Serialize};

/// Longest state that travels, and is journalled, as it is; longer ones are blobs. In bytes: what the agent's store keeps
/// in one place.
pub const INLINE_STATE: usize = 3 << 10;

/// The latest state that a task instance saved for itself. It is of use only to the same component with the same inputs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SavedState {
    pub path: Path,
    /// Under which the agent that saved it owned the fragment.
    pub epoch: Epoch,
    /// Counts the states that were saved for the instance, over agents and epochs.
    pub serial: u64,
    pub component: Digest,
    /// Digest of the instance's inputs.
    pub inputs: Digest,
    pub body: SavedBody,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum SavedBody {
    /// At most [`INLINE_STATE`] bytes.
    Inline(Vec<u8>),
    Blob(BlobRef),
}

impl SavedState {
    /// Whether it replaces `other`, a state of the same instance.
    #[must_use]
    pub fn is_newer_than(&self, other: &Self) -> bool {
        (self.epoch, self.serial) > (other.epoch, other.serial)
    }

    /// Whether it is within the bounds of what may travel.
    #[must_use]
    pub fn is_bounded(&self) -> bool {
        match &self.body {
            SavedBody::Inline(bytes) => bytes.len() <= INLINE_STATE,
            SavedBody::Blob(_) => true,
        }
    }

    /// The blob that holds it, where it is not inline.
    #[must_use]
    pub fn blob(&self) -> Option<BlobRef> {
        match &self.body {
            SavedBody::Inline(_) => None,
            SavedBody::Blob(blob) => Some(*blob),
        }
    }
}

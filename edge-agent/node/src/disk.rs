//! What the agent does when its disk runs full, and when there is room again.
//!
//! At the high-water mark it takes no work that is not here yet; at the critical one it starts no attempts of the work
//! that is. What runs already goes on, and its results wait in the outbox as ever: nothing is acknowledged that is not
//! durable, and nothing that was not acknowledged is dropped.

use crate::node::Node;
use eyot_engine::GraphError;
use eyot_model::{DiskState, FragmentId, RunId, Timestamp};

/// Why an agent does not take a run of its own.
#[derive(Debug, thiserror::Error)]
pub enum SubmitError {
    #[error("workflow cannot run on this agent")]
    Workflow(#[from] GraphError),
    /// It is worth trying again once there is room.
    #[error("the agent's disk has no room for new work (its state is `{}`): free some, see docs/disk.md", .0.as_str())]
    NoRoom(DiskState),
}

impl Node {
    /// How much room the disk has now. Goes on by itself once there is enough.
    pub fn disk_changed(&mut self, state: DiskState, now: Timestamp) {
        let started = self.disk.starts_attempts();
        self.disk = state;
        if !started && state.starts_attempts() {
            self.admit(now);
        }
    }

    /// As [`Node::disk_changed`] told it last.
    #[must_use]
    pub fn disk(&self) -> DiskState {
        self.disk
    }

    /// Whether a fragment is not taken for want of room. One that is held already is: a new epoch of it costs next to
    /// nothing, and refusing it would not make room.
    pub(crate) fn has_no_room_for(&self, run: RunId, fragment: FragmentId) -> bool {
        let held = self.runs.get(&run).is_some_and(|held| held.fragments.contains_key(&fragment));
        !held && !self.disk.takes_work()
    }
}

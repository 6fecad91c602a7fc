//! The disk's marks: told to the node, and to whoever reads the log.

use super::Runtime;
use eyot_model::DiskState;
use std::sync::Arc;

impl Runtime {
    /// The room on the disk is another than before, or was looked at for the first time.
    pub(super) fn disk_turned(self: &Arc<Self>, state: DiskState) {
        let before = self.look(eyot_node::Node::disk);
        match state {
            DiskState::Normal if before == DiskState::Normal => {}
            DiskState::Normal => tracing::info!("the disk has room again: work is taken and started as usual"),
            DiskState::High => tracing::warn!("the disk is nearly full: no new work is taken; see docs/disk.md for how to free some"),
            DiskState::Critical => {
                tracing::error!(
                    "the disk is all but full: no attempts are started until there is room; see docs/disk.md for how to free some"
                );
            }
            DiskState::Full => {
                tracing::error!("the disk is full: nothing is acknowledged until there is room; see docs/disk.md for how to free some");
            }
        }
        self.turn(|node, now| node.disk_changed(state, now));
    }
}

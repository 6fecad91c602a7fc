//! Which blobs must stay on this agent.

use crate::node::Node;
use eyot_model::Digest;
use std::collections::BTreeSet;

impl Node {
    /// Every blob and component that a run held here names, and every one that a result names which the cloud has not
    /// acknowledged. What is not among them may go.
    #[must_use]
    pub fn pinned_blobs(&self) -> BTreeSet<Digest> {
        let mut pinned = BTreeSet::new();
        for held in self.runs.values() {
            held.run.for_each_blob(&mut |digest| {
                pinned.insert(digest);
            });
        }
        pinned.extend(self.own_blobs());
        pinned.extend(self.outbox.blobs());
        pinned.extend(self.saved_blobs().map(|blob| blob.digest));
        pinned
    }

    /// A blob that was to be uploaded is damaged or gone, and the cloud does not have it: whoever waits for it is told.
    pub fn blob_lost(&mut self, digest: Digest) {
        if self.outbox.lost(digest) {
            self.flush();
        }
        // A fragment that is on its way to another agent goes without it; the cloud sees what it does not have.
        self.yields.uploaded(digest);
        self.press_on();
        self.own.lost(digest);
        self.tell_own();
    }
}

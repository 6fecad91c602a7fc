//! What waits for the cloud.

use crate::node::Node;
use eyot_model::Timestamp;

/// Results that the cloud has not acknowledged, the blobs that go with them, and runs of the agent's own.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Waiting {
    pub results: usize,
    /// About.
    pub result_bytes: usize,
    /// Blobs that are not in the cloud yet.
    pub blobs: usize,
    pub blob_bytes: u64,
    /// When the oldest result came to be.
    pub oldest: Option<Timestamp>,
    /// Runs of the agent's own that the cloud does not have all of.
    pub own_runs: usize,
    /// Their events that it does not have.
    pub own_events: usize,
}

impl Node {
    #[must_use]
    pub fn waiting(&self) -> Waiting {
        let (results, result_bytes, blobs) = self.outbox.waiting();
        let (own_runs, own_events) = self.own.waiting();
        Waiting {
            own_runs,
            own_events,
            results,
            result_bytes,
            blobs: blobs.len(),
            blob_bytes: blobs.iter().map(|blob| blob.size).sum(),
            oldest: self.outbox.oldest().map(eyot_model::Event::at),
        }
    }
}

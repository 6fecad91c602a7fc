//! What waits for the cloud.

use crate::node::Node;
use eyot_model::Timestamp;

/// Results that the cloud has not acknowledged, and the blobs that go with them.
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
}

impl Node {
    #[must_use]
    pub fn waiting(&self) -> Waiting {
        let (results, result_bytes, blobs) = self.outbox.waiting();
        Waiting {
            results,
            result_bytes,
            blobs: blobs.len(),
            blob_bytes: blobs.iter().map(|blob| blob.size).sum(),
            oldest: self.outbox.oldest().map(eyot_model::Event::at),
        }
    }
}

//! A device's blobs: what was written, and what of it a power cut leaves.

use eyot_model::{BlobRef, Digest, Value};
use std::collections::BTreeSet;

#[derive(Clone, Debug, Default)]
pub struct Blobs {
    written: BTreeSet<Digest>,
    synced: BTreeSet<Digest>,
}

impl Blobs {
    pub fn write(&mut self, digest: Digest) {
        self.written.insert(digest);
    }

    /// Everything written is durable from now on.
    pub fn sync(&mut self) {
        self.synced.clone_from(&self.written);
    }

    pub fn cut_power(&mut self) {
        self.written.clone_from(&self.synced);
    }

    #[must_use]
    pub fn has_unsynced(&self) -> bool {
        self.written != self.synced
    }

    #[must_use]
    pub fn holds(&self, digest: &Digest) -> bool {
        self.written.contains(digest)
    }
}

/// The blobs that values name.
#[must_use]
pub fn named<'a>(values: impl IntoIterator<Item = &'a Value>) -> Vec<BlobRef> {
    let mut found = Vec::new();
    values
        .into_iter()
        .for_each(|value| value.for_each_blob(&mut |blob| found.push(*blob)));
    found
}

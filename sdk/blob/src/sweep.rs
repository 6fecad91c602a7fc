//! Removing what nobody needs any more.

use crate::eviction::Rule;
use crate::{Error, Store};
use eyot_model::Digest;
use std::collections::BTreeSet;
use std::time::Duration;

/// What a sweep removed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Swept {
    /// Blobs, whole and partial.
    pub removed: u64,
    pub bytes: u64,
}

impl Store {
    /// Removes every blob, whole or partial, that is not in `live` and was last put in, or found here by whoever wanted to put it
    /// in, at least `older_than` ago, which spares what is not named anywhere yet. What arrives at the moment stays. That
    /// somebody reads it keeps no blob.
    ///
    /// # Errors
    /// What the disk reports.
    pub fn sweep(&self, live: &BTreeSet<Digest>, older_than: Duration) -> Result<Swept, Error> {
        let rule = Rule {
            keep_bytes: 0,
            free_bytes: u64::MAX,
            spare: older_than,
            spare_fresh: older_than,
            readings_count: false,
        };
        self.remove_unnamed(live, &rule)
    }
}

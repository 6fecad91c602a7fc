//! Removing what nobody needs any more.

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
    /// Removes every blob, whole or partial, that is not in `live` and was last written or used at least `older_than` ago,
    /// which spares what was just put in, or found here, and is not named anywhere yet. What arrives at the moment stays.
    ///
    /// # Errors
    /// What the disk reports.
    pub fn sweep(&self, live: &BTreeSet<Digest>, older_than: Duration) -> Result<Swept, Error> {
        self.remove_unnamed(live, 0, u64::MAX, (older_than, older_than))
    }
}

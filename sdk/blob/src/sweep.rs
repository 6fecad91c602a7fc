//! Removing what nobody needs any more.

use crate::{Error, Store, layout};
use eyot_model::Digest;
use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::time::{Duration, SystemTime};

/// What a sweep removed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Swept {
    /// Blobs, whole and partial.
    pub removed: u64,
    pub bytes: u64,
}

impl Store {
    /// Removes every blob, whole or partial, that is not in `live` and was last written at least `older_than` ago, which
    /// spares what was just put in and is not named anywhere yet. What arrives at the moment stays.
    ///
    /// # Errors
    /// What the disk reports.
    pub fn sweep(&self, live: &BTreeSet<Digest>, older_than: Duration) -> Result<Swept, Error> {
        let mut swept = Swept::default();
        self.write_uses_down();
        let now = SystemTime::now();
        let old = |path: &Path| {
            fs::metadata(path)
                .and_then(|m| m.modified())
                .is_ok_and(|at| now.duration_since(at).unwrap_or_default() >= older_than)
        };
        for (digest, size) in self.list()? {
            let path = self.path(&self.inner.state.lock(), &digest);
            if !live.contains(&digest) && old(&path) && self.delete(&digest)? {
                swept.removed += 1;
                swept.bytes += size;
            }
        }
        for path in layout::files_in(&self.inner.layout.root.join("partial"))? {
            let Some(digest) = layout::digest_of_name(layout::name_of(&path)) else {
                continue;
            };
            if live.contains(&digest) || !old(&path) {
                continue;
            }
            let mut state = self.inner.state.lock();
            if state.arriving.contains_key(&digest) {
                continue;
            }
            let size = fs::metadata(&path).map_or(0, |m| m.len());
            fs::remove_file(&path).map_err(Error::io("remove", &path))?;
            let _ = fs::remove_file(self.inner.layout.partial_outline(&digest));
            state.verified.remove(&digest);
            swept.removed += 1;
            swept.bytes += size;
        }
        Ok(swept)
    }
}

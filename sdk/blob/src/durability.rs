//! Making blobs durable, many at once.

use crate::{Error, Store, layout};
use eyot_model::Digest;
use std::collections::BTreeSet;
use std::fs::{self, File};
use std::path::PathBuf;

/// Files that are synced one after the other before threads are worth their cost.
const ALONE: usize = 2;
/// Threads that sync files side by side: the file system commits their journal entries together.
const THREADS: usize = 8;
/// From here on one `syncfs` is cheaper than a sync for each file.
const SYNCFS_FROM: usize = 48;

impl Store {
    /// Returns when all these blobs are on disk, names included; they count as used. Those that are already cost nothing; the others are
    /// synced together.
    ///
    /// # Errors
    /// [`Error::Missing`] if one is not here. What the disk reports: the blobs concerned are dropped then, because a
    /// file is never known to be durable once a sync of it has failed, and must be put in again.
    pub fn sync(&self, digests: &[Digest]) -> Result<(), Error> {
        let _one = self.inner.syncing.lock();
        let mut fresh = Vec::new();
        {
            let mut state = self.inner.state.lock();
            let wanted: BTreeSet<_> = digests.iter().collect();
            for digest in wanted {
                // Whoever asks is about to name it, and until then nothing does.
                state.note_claim(digest);
                if state.fresh.contains_key(digest) {
                    fresh.push(*digest);
                } else if !self.inner.layout.blob(digest).exists() {
                    return Err(Error::Missing { digest: *digest });
                }
            }
        }
        if fresh.is_empty() {
            return Ok(());
        }
        self.sync_files(&fresh)?;
        let mut dirs = BTreeSet::new();
        {
            let mut state = self.inner.state.lock();
            for digest in &fresh {
                // Deleted since: nothing is left to be made durable.
                if state.fresh.contains_key(digest) {
                    self.name_durable(&self.inner.layout.fresh(digest), digest, &mut dirs)?;
                    state.fresh.remove(digest);
                }
            }
        }
        dirs.iter().try_for_each(|dir| layout::sync_dir(dir))
    }

    /// Gives a synced file its final name; `dirs` collects the folders to sync for the name to be durable.
    pub(crate) fn name_durable(&self, from: &std::path::Path, digest: &Digest, dirs: &mut BTreeSet<PathBuf>) -> Result<(), Error> {
        let dir = self.inner.layout.blob_dir(digest);
        if layout::ensure_dir(&dir)? {
            dirs.insert(self.inner.layout.root.join("blobs"));
        }
        let to = self.inner.layout.blob(digest);
        fs::rename(from, &to).map_err(Error::io("rename to", &to))?;
        dirs.insert(dir);
        Ok(())
    }

    fn sync_files(&self, digests: &[Digest]) -> Result<(), Error> {
        if digests.len() >= SYNCFS_FROM {
            let root = &self.inner.layout.root;
            let synced = File::open(root).and_then(|dir| rustix::fs::syncfs(&dir).map_err(Into::into));
            return synced.map_err(|e| {
                digests.iter().for_each(|digest| self.drop_unsynced(digest));
                Error::io("sync", root)(e)
            });
        }
        if digests.len() <= ALONE {
            return digests.iter().try_for_each(|digest| self.sync_file(digest));
        }
        let share = digests.len().div_ceil(THREADS);
        std::thread::scope(|scope| {
            let threads: Vec<_> = digests
                .chunks(share)
                .map(|some| scope.spawn(move || some.iter().try_for_each(|digest| self.sync_file(digest))))
                .collect();
            threads
                .into_iter()
                .map(|thread| thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
                .collect::<Result<Vec<()>, Error>>()
                .map(|_| ())
        })
    }

    fn sync_file(&self, digest: &Digest) -> Result<(), Error> {
        let path = self.inner.layout.fresh(digest);
        match File::open(&path).and_then(|file| file.sync_data()) {
            Ok(()) => Ok(()),
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(()),
            Err(e) => {
                self.drop_unsynced(digest);
                Err(Error::io("sync", &path)(e))
            }
        }
    }

    fn drop_unsynced(&self, digest: &Digest) {
        tracing::error!(%digest, "a blob cannot be synced: dropped");
        if let Err(error) = self.delete(digest) {
            tracing::error!(%digest, %error, "and cannot be removed");
        }
    }
}

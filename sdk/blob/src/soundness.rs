//! Whether a blob's bytes are still those of its digest, asked before they are relied on.
//!
//! A disk changes bits in silence. So a blob is hashed again before it is used, unless this process wrote or hashed it
//! within the last hour: what the memory of the system holds of it is right then.

use crate::store::State;
use crate::{Blob, Error, Store, layout};
use eyot_model::Digest;
use std::fs;
use std::time::{Duration, Instant, SystemTime};

/// How long a blob is trusted after its bytes were seen to be right.
const TRUSTED: Duration = Duration::from_secs(3_600);

impl Store {
    /// Opens a blob whose bytes are right. Hashes all of them now and then, so it may take as long as that.
    ///
    /// # Errors
    /// [`Error::Corrupt`] if they are not: the file is in quarantine then. [`Error::Missing`]; what the disk reports.
    pub fn open_sound(&self, digest: &Digest) -> Result<Blob, Error> {
        let blob = self.open_blob(digest)?;
        if !self.is_trusted(digest) {
            self.compute_outline(&blob)?;
            self.trust(digest);
        }
        Ok(blob)
    }

    /// Whether a blob is here and its bytes are right. One that is wrong goes to quarantine.
    ///
    /// # Errors
    /// What the disk reports.
    pub fn is_sound(&self, digest: &Digest) -> Result<bool, Error> {
        match self.open_sound(digest) {
            Ok(_) => {
                self.inner.state.lock().note_claim(digest);
                Ok(true)
            }
            Err(Error::Missing { .. } | Error::Corrupt { .. }) => Ok(false),
            Err(other) => Err(other),
        }
    }

    /// Removes all but the `newest` blobs that were found damaged and set aside.
    ///
    /// # Errors
    /// What the disk reports.
    pub fn keep_quarantined(&self, newest: usize) -> Result<(), Error> {
        let mut files: Vec<_> = layout::files_in(&self.inner.layout.root.join("quarantine"))?
            .into_iter()
            .map(|path| (fs::metadata(&path).and_then(|m| m.modified()).ok(), path))
            .collect();
        files.sort();
        files.truncate(files.len().saturating_sub(newest));
        for (_, path) in files {
            fs::remove_file(&path).map_err(Error::io("remove", &path))?;
        }
        Ok(())
    }

    fn is_trusted(&self, digest: &Digest) -> bool {
        let state = self.inner.state.lock();
        state.sound.get(digest).is_some_and(|at| at.elapsed() < TRUSTED)
    }

    fn trust(&self, digest: &Digest) {
        self.inner.state.lock().note_sound(digest);
    }
}

impl State {
    /// This process has seen all of the blob's bytes, and they are right.
    pub(crate) fn note_sound(&mut self, digest: &Digest) {
        self.sound.insert(*digest, Instant::now());
    }

    /// Somebody reads the blob.
    pub(crate) fn note_use(&mut self, digest: &Digest) {
        self.used.insert(*digest, SystemTime::now());
    }

    /// Somebody put the blob in, or relies on its being here because they were told so.
    pub(crate) fn note_claim(&mut self, digest: &Digest) {
        let now = SystemTime::now();
        self.used.insert(*digest, now);
        self.claimed.insert(*digest, now);
    }

    /// The blob is not here any more.
    pub(crate) fn note_gone(&mut self, digest: &Digest) {
        self.sound.remove(digest);
        self.used.remove(digest);
        self.claimed.remove(digest);
        self.left_behind.remove(digest);
    }
}

//! The store: blobs by digest.

use crate::arrival::Arriving;
use crate::blob::read_full;
use crate::layout::{self, Layout};
use crate::outline::{RANGE_LEN, range_value};
use crate::{Blob, Error, Outline, Stored, Writer};
use eyot_model::Digest;
use parking_lot::Mutex;
use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::Path;
use std::sync::Arc;
use std::time::{Instant, SystemTime};
use tokio::sync::watch;

/// Content-addressed blobs in a folder. Cheap to clone; all clones are the same store.
#[derive(Clone)]
pub struct Store {
    pub(crate) inner: Arc<Inner>,
}

pub(crate) struct Inner {
    pub(crate) layout: Layout,
    pub(crate) state: Mutex<State>,
    /// One caller syncs at a time; the others' files are usually part of the same journal commit of the file system.
    pub(crate) syncing: Mutex<()>,
    /// Counts changes: a blob is here, or begins to arrive.
    pub(crate) changes: watch::Sender<u64>,
}

#[derive(Default)]
pub(crate) struct State {
    /// Whole, not known to be on disk; by size.
    pub(crate) fresh: BTreeMap<Digest, u64>,
    pub(crate) arriving: BTreeMap<Digest, Arc<Arriving>>,
    /// Bytes of partial blobs that this process verified itself.
    pub(crate) verified: BTreeMap<Digest, u64>,
    /// When this process saw last that a blob's bytes are right.
    pub(crate) sound: BTreeMap<Digest, Instant>,
    /// Last uses that are not written down yet.
    pub(crate) used: BTreeMap<Digest, SystemTime>,
    /// Those of them that are more than a reading: somebody put the blob in, or was told that it is here.
    pub(crate) claimed: BTreeMap<Digest, SystemTime>,
    /// Of `fresh`: what an earlier process put in and never made durable, so that nothing names it.
    pub(crate) left_behind: BTreeSet<Digest>,
    pub(crate) usage: Usage,
}

/// What a store holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    pub blobs: u64,
    /// Of whole blobs.
    pub bytes: u64,
}

impl Store {
    /// Opens the store in `dir`, making it if it is not there. What an earlier process put in without syncing it is
    /// hashed again: what is right stays, the rest is dropped.
    ///
    /// # Errors
    /// What the disk reports.
    pub fn open(dir: impl AsRef<Path>) -> Result<Self, Error> {
        let layout = Layout::new(dir.as_ref());
        layout.create()?;
        let mut state = State::default();
        for path in layout::files_in(&layout.root.join("fresh"))? {
            let right = layout::digest_of_name(layout::name_of(&path))
                .map(|digest| hash_file(&path).map(|(found, size)| (found == digest).then_some((digest, size))))
                .transpose()
                .map_err(Error::io("read", &path))?
                .flatten();
            if let Some((digest, size)) = right {
                state.fresh.insert(digest, size);
                state.left_behind.insert(digest);
                state.usage.add(size);
            } else {
                tracing::warn!(file = %path.display(), "dropped a blob that an unclean stop left half written");
                fs::remove_file(&path).map_err(Error::io("remove", &path))?;
            }
        }
        let store = Self {
            inner: Arc::new(Inner {
                layout,
                state: Mutex::new(state),
                syncing: Mutex::new(()),
                changes: watch::Sender::new(0),
            }),
        };
        let mut durable = Usage::default();
        store.for_each_durable(|_, size, _| durable.add(size))?;
        let mut state = store.inner.state.lock();
        state.usage.blobs += durable.blobs;
        state.usage.bytes += durable.bytes;
        drop(state);
        Ok(store)
    }

    /// Puts bytes in. Whole when this returns; durable after [`Store::sync`].
    ///
    /// # Errors
    /// What the disk reports.
    pub fn put(&self, bytes: &[u8]) -> Result<Stored, Error> {
        if bytes.len() as u64 > RANGE_LEN {
            let mut writer = self.writer(u64::MAX);
            writer.append(bytes)?;
            return writer.finish();
        }
        let outline = Outline::small(Digest::of(bytes), bytes.len() as u64);
        if self.is_sound(&outline.digest())? {
            return Ok(Stored {
                digest: outline.digest(),
                size: outline.size(),
                known: true,
            });
        }
        let path = self.inner.layout.tmp();
        let written = File::create_new(&path).and_then(|mut file| file.write_all(bytes));
        let stored = written
            .map_err(Error::io("write", &path))
            .and_then(|()| self.adopt(&path, &outline));
        if stored.is_err() {
            let _ = fs::remove_file(&path);
        }
        stored
    }

    /// Puts bytes in, on disk when this returns.
    ///
    /// # Errors
    /// What the disk reports.
    pub fn put_durable(&self, bytes: &[u8]) -> Result<Stored, Error> {
        let stored = self.put(bytes)?;
        self.sync(&[stored.digest])?;
        Ok(stored)
    }

    /// A writer for a blob that comes piece by piece, of at most `limit` bytes.
    #[must_use]
    pub fn writer(&self, limit: u64) -> Writer {
        Writer::new(self.clone(), self.inner.layout.tmp(), limit)
    }

    /// # Errors
    /// [`Error::Missing`]; what the disk reports.
    pub fn open_blob(&self, digest: &Digest) -> Result<Blob, Error> {
        // Under the lock, because `sync` gives a fresh blob its final name under the lock.
        let mut state = self.inner.state.lock();
        let path = self.path(&state, digest);
        let file = File::open(&path).map_err(|e| match e.kind() {
            io::ErrorKind::NotFound => Error::Missing { digest: *digest },
            _ => Error::io("open", &path)(e),
        })?;
        state.note_use(digest);
        drop(state);
        let size = file.metadata().map_err(Error::io("read", &path))?.len();
        Ok(Blob {
            digest: *digest,
            size,
            file: Arc::new(file),
        })
    }

    /// All bytes of a blob, verified.
    ///
    /// # Errors
    /// [`Error::TooLarge`] if it is longer than `limit` bytes, [`Error::Missing`], [`Error::Corrupt`]; what the disk reports.
    pub fn read(&self, digest: &Digest, limit: u64) -> Result<Vec<u8>, Error> {
        let blob = self.open_blob(digest)?;
        if blob.size > limit {
            return Err(Error::TooLarge { size: blob.size, limit });
        }
        let len = usize::try_from(blob.size).map_err(|_| Error::TooLarge { size: blob.size, limit })?;
        let mut bytes = vec![0; len];
        let read = blob
            .read_at(0, &mut bytes)
            .map_err(Error::io("read", &self.inner.layout.blob(digest)))?;
        if read < len || Digest::of(&bytes) != *digest {
            return Err(self.quarantine(digest));
        }
        Ok(bytes)
    }

    /// Where the bytes of a blob lie now, for a program that has to be given a file. It may move when it is made durable and
    /// go when it is swept.
    #[must_use]
    pub fn path_of(&self, digest: &Digest) -> Option<std::path::PathBuf> {
        let mut state = self.inner.state.lock();
        let path = self.path(&state, digest);
        let here = path.exists();
        if here {
            state.note_claim(digest);
        }
        here.then_some(path)
    }

    /// Whether the blob is here; it counts as used then.
    #[must_use]
    pub fn contains(&self, digest: &Digest) -> bool {
        self.path_of(digest).is_some()
    }

    pub(crate) fn is_here(&self, digest: &Digest) -> bool {
        let state = self.inner.state.lock();
        self.path(&state, digest).exists()
    }

    /// Length of a blob in bytes; None if it is not here.
    #[must_use]
    pub fn size(&self, digest: &Digest) -> Option<u64> {
        let state = self.inner.state.lock();
        match state.fresh.get(digest) {
            Some(size) => Some(*size),
            None => fs::metadata(self.inner.layout.blob(digest)).ok().map(|m| m.len()),
        }
    }

    /// Hashes a blob again.
    ///
    /// # Errors
    /// [`Error::Corrupt`] if the bytes are not those of the digest: the file is in quarantine then. [`Error::Missing`].
    pub fn verify(&self, digest: &Digest) -> Result<(), Error> {
        self.compute_outline(&self.open_blob(digest)?).map(|_| ())
    }

    /// The outline of a blob: the one kept, or computed from the bytes.
    ///
    /// # Errors
    /// As [`Store::verify`].
    pub fn outline(&self, digest: &Digest) -> Result<Outline, Error> {
        let blob = self.open_blob(digest)?;
        if blob.size <= RANGE_LEN {
            return Ok(Outline::small(*digest, blob.size));
        }
        if let Ok(bytes) = fs::read(self.inner.layout.outline(digest))
            && let Ok(outline) = Outline::decode(*digest, blob.size, &bytes)
        {
            return Ok(outline);
        }
        let outline = self.compute_outline(&blob)?;
        self.keep_outline(&outline);
        Ok(outline)
    }

    /// Removes a blob; false if it was not here. Who has it open reads on.
    ///
    /// # Errors
    /// What the disk reports.
    pub fn delete(&self, digest: &Digest) -> Result<bool, Error> {
        let mut state = self.inner.state.lock();
        let path = self.path(&state, digest);
        let size = match fs::metadata(&path) {
            Ok(meta) => meta.len(),
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(false),
            Err(e) => return Err(Error::io("read", &path)(e)),
        };
        fs::remove_file(&path).map_err(Error::io("remove", &path))?;
        state.fresh.remove(digest);
        state.usage.remove(size);
        state.note_gone(digest);
        drop(state);
        let _ = fs::remove_file(self.inner.layout.outline(digest));
        Ok(true)
    }

    /// Digest and size in bytes of every whole blob, in no order.
    ///
    /// # Errors
    /// What the disk reports.
    pub fn list(&self) -> Result<Vec<(Digest, u64)>, Error> {
        let mut all: Vec<_> = self.inner.state.lock().fresh.iter().map(|(d, size)| (*d, *size)).collect();
        self.for_each_durable(|digest, size, _| all.push((digest, size)))?;
        all.sort_unstable();
        all.dedup();
        Ok(all)
    }

    #[must_use]
    pub fn usage(&self) -> Usage {
        self.inner.state.lock().usage
    }

    /// Moves a corrupt file out of the way.
    pub(crate) fn quarantine(&self, digest: &Digest) -> Error {
        let to = self.inner.layout.quarantined(digest);
        let mut state = self.inner.state.lock();
        let path = self.path(&state, digest);
        let size = fs::metadata(&path).map_or(0, |m| m.len());
        match fs::rename(&path, &to) {
            Ok(()) => {
                state.fresh.remove(digest);
                state.usage.remove(size);
                state.note_gone(digest);
                tracing::error!(%digest, moved_to = %to.display(), "blob is corrupt on disk: quarantined");
            }
            Err(error) => tracing::error!(%digest, %error, "blob is corrupt on disk and cannot be quarantined"),
        }
        drop(state);
        let _ = fs::remove_file(self.inner.layout.outline(digest));
        Error::Corrupt { digest: *digest }
    }

    /// Takes over a finished temporary file.
    pub(crate) fn adopt(&self, path: &Path, outline: &Outline) -> Result<Stored, Error> {
        let digest = outline.digest();
        let mut state = self.inner.state.lock();
        let known = self.path(&state, &digest).exists();
        if known {
            fs::remove_file(path).map_err(Error::io("remove", path))?;
        } else {
            let to = self.inner.layout.fresh(&digest);
            fs::rename(path, &to).map_err(Error::io("rename to", &to))?;
            state.fresh.insert(digest, outline.size());
            state.usage.add(outline.size());
            state.note_sound(&digest);
        }
        state.left_behind.remove(&digest);
        state.note_claim(&digest);
        drop(state);
        if !known {
            self.keep_outline(outline);
        }
        self.changed();
        Ok(Stored {
            digest,
            size: outline.size(),
            known,
        })
    }

    /// Keeps an outline beside its blob. Only a cache: a lost or torn one is computed again.
    pub(crate) fn keep_outline(&self, outline: &Outline) {
        if outline.ranges() > 1 {
            let path = self.inner.layout.outline(&outline.digest());
            if let Err(error) = fs::write(&path, outline.encode()) {
                tracing::debug!(%error, file = %path.display(), "outline not kept");
            }
        }
    }

    pub(crate) fn path(&self, state: &State, digest: &Digest) -> std::path::PathBuf {
        if state.fresh.contains_key(digest) {
            self.inner.layout.fresh(digest)
        } else {
            self.inner.layout.blob(digest)
        }
    }

    pub(crate) fn changed(&self) {
        self.inner.changes.send_modify(|n| *n = n.wrapping_add(1));
    }

    /// Calls `each` with digest, size and path of every durable blob.
    pub(crate) fn for_each_durable(&self, mut each: impl FnMut(Digest, u64, &Path)) -> Result<(), Error> {
        let blobs = self.inner.layout.root.join("blobs");
        for dir in fs::read_dir(&blobs).map_err(Error::io("list", &blobs))? {
            let dir = dir.map_err(Error::io("list", &blobs))?.path();
            for path in layout::files_in(&dir)? {
                let name = format!("{}{}", layout::name_of(&dir), layout::name_of(&path));
                // A file may go while this lists: then it is not here.
                if let Some(digest) = layout::digest_of_name(&name)
                    && let Ok(meta) = fs::metadata(&path)
                {
                    each(digest, meta.len(), &path);
                }
            }
        }
        Ok(())
    }

    pub(crate) fn compute_outline(&self, blob: &Blob) -> Result<Outline, Error> {
        let path = self.inner.layout.blob(&blob.digest);
        let mut buf = vec![0; usize::try_from(blob.size.min(RANGE_LEN)).unwrap_or_default()];
        let mut values = Vec::new();
        let outline = if blob.size <= RANGE_LEN {
            let read = blob.read_at(0, &mut buf).map_err(Error::io("read", &path))?;
            Outline::small(Digest::of(&buf[..read]), blob.size)
        } else {
            let mut at = 0;
            while at < blob.size {
                let read = read_full(&blob.file, at, &mut buf).map_err(Error::io("read", &path))?;
                if read == 0 {
                    break;
                }
                values.push(range_value(at / RANGE_LEN, &buf[..read]));
                at += read as u64;
            }
            match Outline::from_values(blob.size, values) {
                Some(outline) if at == blob.size => outline,
                _ => return Err(self.quarantine(&blob.digest)),
            }
        };
        if outline.digest() == blob.digest {
            Ok(outline)
        } else {
            Err(self.quarantine(&blob.digest))
        }
    }
}

impl Usage {
    pub(crate) fn add(&mut self, bytes: u64) {
        self.blobs += 1;
        self.bytes += bytes;
    }

    pub(crate) fn remove(&mut self, bytes: u64) {
        self.blobs = self.blobs.saturating_sub(1);
        self.bytes = self.bytes.saturating_sub(bytes);
    }
}

fn hash_file(path: &Path) -> io::Result<(Digest, u64)> {
    let mut hasher = blake3::Hasher::new();
    let size = io::copy(&mut File::open(path)?, &mut hasher)?;
    Ok((Digest(*hasher.finalize().as_bytes()), size))
}

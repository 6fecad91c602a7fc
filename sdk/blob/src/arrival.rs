//! A blob that comes from elsewhere, range by range, and goes on after a cut.

use crate::blob::read_full;
use crate::outline::RANGE_LEN;
use crate::{Error, Outline, Store, layout};
use eyot_model::Digest;
use std::collections::BTreeSet;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::sync::Arc;
use std::thread::JoinHandle;
use tokio::sync::watch;

/// Bytes between two syncs in the background, so that the one at the end has little left to do.
const SYNC_EVERY: u64 = 32 << 20;

/// What [`Store::begin`] found.
pub enum Begin {
    /// The blob is here already.
    Here,
    /// Somebody else brings it at the moment: follow it with [`Store::source`].
    Arriving,
    /// Bring it.
    Arrival(Arrival),
}

/// How far a blob has come; shared with who reads it meanwhile.
pub(crate) struct Arriving {
    pub(crate) outline: Arc<Outline>,
    pub(crate) file: Arc<File>,
    pub(crate) progress: watch::Sender<Progress>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Progress {
    /// So many bytes are verified and written.
    Verified(u64),
    /// Whoever brought it stopped here.
    Stopped(u64),
}

/// The right to bring one blob. Dropped before [`Arrival::finish`], it keeps what was verified for the next time.
pub struct Arrival {
    store: Store,
    shared: Arc<Arriving>,
    verified: u64,
    unsynced: u64,
    syncer: Option<JoinHandle<io::Result<()>>>,
}

impl Store {
    /// Goes on with a partial blob if there is one whose outline is known; None means that [`Store::begin`] needs the
    /// outline. What is on disk is verified again unless this process wrote it. A partial blob that does not have the
    /// `size` that is known from elsewhere does not count.
    ///
    /// # Errors
    /// What the disk reports.
    pub fn resume(&self, digest: &Digest, size: Option<u64>) -> Result<Option<Begin>, Error> {
        if let Some(begin) = self.begun(digest) {
            return Ok(Some(begin));
        }
        let Ok(bytes) = fs::read(self.inner.layout.partial_outline(digest)) else {
            return Ok(None);
        };
        let Some((found, values)) = bytes.split_first_chunk::<8>() else {
            return Ok(None);
        };
        let found = u64::from_le_bytes(*found);
        match Outline::decode(*digest, found, values) {
            Ok(outline) if size.is_none_or(|size| size == found) => self.begin(outline).map(Some),
            _ => Ok(None),
        }
    }

    /// Begins to receive a blob, or goes on where it was cut ([`Arrival::verified`]).
    ///
    /// # Errors
    /// What the disk reports; among it that there is no room for all of the blob.
    pub fn begin(&self, outline: Outline) -> Result<Begin, Error> {
        let digest = outline.digest();
        if let Some(begin) = self.begun(&digest) {
            return Ok(begin);
        }
        let path = self.inner.layout.partial(&digest);
        let outline_path = self.inner.layout.partial_outline(&digest);
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(&path)
            .map_err(Error::io("open", &path))?;
        let shared = Arc::new(Arriving {
            outline: Arc::new(outline),
            file: Arc::new(file),
            progress: watch::Sender::new(Progress::Verified(0)),
        });
        let known = {
            let mut state = self.inner.state.lock();
            if state.arriving.contains_key(&digest) {
                return Ok(Begin::Arriving);
            }
            if self.path(&state, &digest).exists() {
                return Ok(Begin::Here);
            }
            state.arriving.insert(digest, shared.clone());
            state.verified.get(&digest).copied()
        };
        // From here on a failure drops the arrival, which takes it off the list again.
        let mut arrival = Arrival {
            store: self.clone(),
            shared,
            verified: 0,
            unsynced: 0,
            syncer: None,
        };
        let outline = &arrival.shared.outline;
        arrival.verified = match known {
            Some(verified) => verified.min(outline.size()),
            None => verified_prefix(&arrival.shared.file, outline).map_err(Error::io("read", &path))?,
        };
        arrival.unsynced = arrival.verified;
        if outline.ranges() > 1 {
            let file = [&outline.size().to_le_bytes()[..], &outline.encode()].concat();
            fs::write(&outline_path, file).map_err(Error::io("write", &outline_path))?;
        }
        let size = outline.size();
        arrival
            .shared
            .file
            .set_len(arrival.verified)
            .and_then(|()| reserve(&arrival.shared.file, size))
            .map_err(Error::io("reserve", &path))?;
        arrival.shared.progress.send_replace(Progress::Verified(arrival.verified));
        self.changed();
        Ok(Begin::Arrival(arrival))
    }

    fn begun(&self, digest: &Digest) -> Option<Begin> {
        // A damaged one goes to quarantine here, so that the right bytes are taken in its place. One that cannot be read
        // is somebody else's trouble.
        let _ = self.is_sound(digest);
        let state = self.inner.state.lock();
        if state.arriving.contains_key(digest) {
            Some(Begin::Arriving)
        } else if self.path(&state, digest).exists() {
            Some(Begin::Here)
        } else {
            None
        }
    }
}

impl Arrival {
    #[must_use]
    pub fn outline(&self) -> &Outline {
        &self.shared.outline
    }

    /// Bytes from the beginning that are verified and written; a multiple of [`RANGE_LEN`], or the size.
    #[must_use]
    pub fn verified(&self) -> u64 {
        self.verified
    }

    /// Verifies the next range and writes it. `bytes` is the whole range.
    ///
    /// # Errors
    /// [`Error::WrongRange`]: nothing was written, and the right bytes may still be given. What the disk reports.
    pub fn write(&mut self, bytes: &[u8]) -> Result<(), Error> {
        let range = self.verified / RANGE_LEN;
        if self.verified >= self.shared.outline.size() {
            let digest = self.shared.outline.digest();
            return Err(Error::WrongRange { digest, range });
        }
        self.shared.outline.verify(range, bytes)?;
        let path = self.store.inner.layout.partial(&self.shared.outline.digest());
        self.shared
            .file
            .write_all_at(bytes, self.verified)
            .map_err(Error::io("write", &path))?;
        self.verified += bytes.len() as u64;
        self.unsynced += bytes.len() as u64;
        self.shared.progress.send_replace(Progress::Verified(self.verified));
        if self.unsynced >= SYNC_EVERY && self.syncer.as_ref().is_none_or(JoinHandle::is_finished) {
            self.join_syncer().map_err(Error::io("sync", &path))?;
            self.unsynced = 0;
            let file = self.shared.file.clone();
            self.syncer = std::thread::Builder::new()
                .name("blob-sync".into())
                .spawn(move || file.sync_data())
                .ok();
        }
        Ok(())
    }

    /// Makes the blob durable under its digest.
    ///
    /// # Errors
    /// [`Error::Incomplete`]; what the disk reports: then nothing of the blob is kept, because it is not known what of
    /// it is on disk.
    pub fn finish(mut self) -> Result<(), Error> {
        let outline = self.shared.outline.clone();
        let (digest, size) = (outline.digest(), outline.size());
        if self.verified != size {
            return Err(Error::Incomplete {
                digest,
                verified: self.verified,
                size,
            });
        }
        let path = self.store.inner.layout.partial(&digest);
        if let Err(e) = self.join_syncer().and_then(|()| self.shared.file.sync_data()) {
            self.verified = 0;
            let _ = fs::remove_file(&path);
            return Err(Error::io("sync", &path)(e));
        }
        let mut dirs = BTreeSet::new();
        {
            let mut state = self.store.inner.state.lock();
            if state.fresh.remove(&digest).is_some() {
                // Put in locally meanwhile: the durable copy takes its place.
                let _ = fs::remove_file(self.store.inner.layout.fresh(&digest));
                state.usage.remove(size);
            }
            let known = self.store.inner.layout.blob(&digest).exists();
            self.store.name_durable(&path, &digest, &mut dirs)?;
            if !known {
                state.usage.add(size);
            }
            state.note_sound(&digest);
            state.note_claim(&digest);
        }
        self.store.keep_outline(&outline);
        let _ = fs::remove_file(self.store.inner.layout.partial_outline(&digest));
        dirs.iter().try_for_each(|dir| layout::sync_dir(dir))
        // Dropped now: off the list, and the store says that something changed.
    }

    fn join_syncer(&mut self) -> io::Result<()> {
        match self.syncer.take().map(JoinHandle::join) {
            None => Ok(()),
            Some(Ok(result)) => result,
            Some(Err(panic)) => std::panic::resume_unwind(panic),
        }
    }
}

impl Drop for Arrival {
    fn drop(&mut self) {
        let digest = self.shared.outline.digest();
        {
            let mut state = self.store.inner.state.lock();
            state.arriving.remove(&digest);
            if self.store.path(&state, &digest).exists() {
                state.verified.remove(&digest);
            } else {
                state.verified.insert(digest, self.verified);
            }
        }
        self.shared.progress.send_replace(Progress::Stopped(self.verified));
        self.store.changed();
    }
}

/// How many bytes at the beginning of a file are those of the outline, in whole ranges.
fn verified_prefix(file: &File, outline: &Outline) -> io::Result<u64> {
    let mut buf = vec![0; usize::try_from(outline.size().min(RANGE_LEN)).unwrap_or_default()];
    let mut verified = 0;
    for range in 0..outline.ranges() {
        let want = usize::try_from(outline.range_len(range)).unwrap_or_default();
        let read = read_full(file, verified, &mut buf[..want])?;
        if outline.verify(range, &buf[..read]).is_err() {
            break;
        }
        verified += read as u64;
    }
    Ok(verified)
}

/// Takes the room that the whole blob needs, so that a full disk shows at the beginning.
fn reserve(file: &File, size: u64) -> io::Result<()> {
    if size == 0 {
        return Ok(());
    }
    match rustix::fs::fallocate(file, rustix::fs::FallocateFlags::KEEP_SIZE, 0, size) {
        Ok(()) | Err(rustix::io::Errno::OPNOTSUPP | rustix::io::Errno::NOSYS | rustix::io::Errno::INVAL) => Ok(()),
        Err(e) => Err(e.into()),
    }
}

//! Where the database lies: opening it, writing it anew when most of it is waste, setting it aside when it is damaged.

use super::sled::{SledStore, db_error, guarded, io_error, sync_dir};
use super::{CheckpointStore, StoreError, StoreSource, snapshot};
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// Below this length of its file, in bytes, a database is not written anew for its size, unless told otherwise.
const REWRITE_FROM: u64 = 64 << 20;
/// A disk with less room than this, in bytes, is full: whatever goes wrong then goes wrong for that.
const NO_ROOM: u64 = 256 << 10;
/// A database is written anew when its file is longer than its content by this factor.
const REWRITE_FACTOR: u64 = 4;
/// Pairs per batch while writing anew.
const REWRITE_BATCH: usize = 64;

/// Where a database lies, and how it is opened.
#[derive(Debug)]
pub struct SledSource {
    path: PathBuf,
    cache_bytes: u64,
    rewrite_from: u64,
    /// A flush failed: what the file shows may not be on disk.
    suspect: Arc<AtomicBool>,
}

impl SledSource {
    /// `cache_bytes` bounds sled's cache of pages.
    #[must_use]
    pub fn new(path: PathBuf, cache_bytes: u64) -> Self {
        Self {
            path,
            cache_bytes,
            rewrite_from: REWRITE_FROM,
            suspect: Arc::default(),
        }
    }

    /// The length of its file from which a database is written anew when most of it is waste.
    #[must_use]
    pub fn rewrite_from(mut self, bytes: u64) -> Self {
        self.rewrite_from = bytes;
        self
    }

    /// Opens the store as its own type.
    ///
    /// # Errors
    /// [`StoreError`]
    pub fn open_sled(&self) -> Result<SledStore, StoreError> {
        let fresh = self.fresh_path();
        if fresh.exists() {
            fs::remove_dir_all(&fresh).map_err(|source| io_error("remove a half-written copy", source))?;
        }
        let store = self.open_at(&self.path)?;
        let length = store.length();
        let too_long =
            length > self.rewrite_from && guarded("measure its content", || Ok(length / REWRITE_FACTOR > store.content_bytes()?))?;
        if !too_long && !self.suspect.load(Ordering::Acquire) {
            return Ok(store);
        }
        match self.rewrite(store, &fresh) {
            // What is there is sound, only long.
            Err(error) if error.is_full() && !self.suspect.load(Ordering::Acquire) => {
                tracing::warn!("no room to write the checkpoint store anew; it stays as long as it is");
                fs::remove_dir_all(&fresh).map_err(|source| io_error("remove a half-written copy", source))?;
            }
            done => done?,
        }
        self.suspect.store(false, Ordering::Release);
        self.open_at(&self.path)
    }

    fn fresh_path(&self) -> PathBuf {
        beside(&self.path, "rewrite")
    }

    fn open_at(&self, path: &Path) -> Result<SledStore, StoreError> {
        use std::os::unix::fs::DirBuilderExt;
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(path)
            .map_err(|source| io_error("make its folder", source))?;
        let config = ::sled::Config::new()
            .path(path)
            .mode(::sled::Mode::LowSpace)
            .cache_capacity(self.cache_bytes)
            .flush_every_ms(None);
        snapshot::remove_unfinished(path).map_err(|source| io_error("remove a snapshot that was not finished", source))?;
        let db = match open_db(&config) {
            // A snapshot is only a short cut: without it the database is read from its beginning.
            Err(error)
                if !error.is_full()
                    && snapshot::remove_damaged(path).map_err(|source| io_error("remove a damaged snapshot", source))? =>
            {
                open_db(&config)?
            }
            opened => opened?,
        };
        let file = File::open(path.join("db")).map_err(|source| io_error("open its file to sync it", source))?;
        sync_dir(path)?;
        if let Some(parent) = path.parent() {
            sync_dir(parent)?;
        }
        let length = file.metadata().map_or(0, |m| m.len());
        Ok(SledStore {
            db,
            file,
            path: path.to_path_buf(),
            look_again_at: self.rewrite_from.max(2 * length),
            writing: parking_lot::RwLock::new(()),
            suspect: self.suspect.clone(),
        })
    }

    /// Writes the content of `store` into a fresh database and puts that in its place, in one step.
    fn rewrite(&self, store: SledStore, fresh: &Path) -> Result<(), StoreError> {
        let copy = self.open_at(fresh)?;
        guarded("be written anew", || {
            let mut batch = ::sled::Batch::default();
            let mut count = 0;
            for pair in store.db.iter() {
                let (key, value) = pair.map_err(|source| db_error("be read", source))?;
                batch.insert(key, value);
                count += 1;
                if count % REWRITE_BATCH == 0 {
                    copy.db
                        .apply_batch(std::mem::take(&mut batch))
                        .map_err(|source| db_error("be written anew", source))?;
                }
            }
            copy.db.apply_batch(batch).map_err(|source| db_error("be written anew", source))
        })?;
        copy.flush()?;
        drop(copy);
        drop(store);
        rustix::fs::renameat_with(
            rustix::fs::CWD,
            fresh,
            rustix::fs::CWD,
            &self.path,
            rustix::fs::RenameFlags::EXCHANGE,
        )
        .map_err(|error| io_error("take the place of its old form", error.into()))?;
        if let Some(parent) = self.path.parent() {
            sync_dir(parent)?;
        }
        fs::remove_dir_all(fresh).map_err(|source| io_error("remove its old form", source))
    }
}

fn open_db(config: &::sled::Config) -> Result<::sled::Db, StoreError> {
    let mut tries = 0;
    loop {
        match guarded("be opened", || config.open().map_err(|source| db_error("be opened", source))) {
            // A handle that was just dropped lets go of its lock a moment later, in a thread of sled's.
            Err(StoreError::Database {
                source: ::sled::Error::Io(error),
                ..
            }) if tries < 50 && error.to_string().contains("lock") => {
                tries += 1;
                std::thread::sleep(Duration::from_millis(20));
            }
            other => return other,
        }
    }
}

/// Whether the disk below `path` is full.
fn no_room(path: &Path) -> bool {
    rustix::fs::statvfs(path.parent().unwrap_or(path)).is_ok_and(|stat| stat.f_bavail.saturating_mul(stat.f_frsize) < NO_ROOM)
}

impl StoreSource for SledSource {
    fn open(&self) -> Result<Arc<dyn CheckpointStore>, StoreError> {
        match self.open_sled() {
            Ok(store) => Ok(Arc::new(store)),
            Err(error) if !error.is_full() && no_room(&self.path) => {
                tracing::warn!(
                    error = crate::fold::chain_of(&error),
                    "the checkpoint store cannot be opened while the disk is full"
                );
                Err(io_error("be opened while the disk is full", io::ErrorKind::StorageFull.into()))
            }
            Err(error) => Err(error),
        }
    }

    fn quarantine(&self, label: &str) -> Result<String, StoreError> {
        let mut aside = beside(&self.path, label);
        let mut n = 1;
        while aside.exists() {
            n += 1;
            aside = beside(&self.path, &format!("{label}-{n}"));
        }
        match fs::rename(&self.path, &aside) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(source) => return Err(io_error("be set aside", source)),
        }
        if let Some(parent) = self.path.parent() {
            sync_dir(parent)?;
        }
        self.suspect.store(false, Ordering::Release);
        Ok(aside
            .file_name()
            .map(|name| name.to_string_lossy().into_owned())
            .unwrap_or_default())
    }
}

fn beside(path: &Path, label: &str) -> PathBuf {
    let mut name = path.file_name().unwrap_or_default().to_os_string();
    name.push(".");
    name.push(label);
    path.with_file_name(name)
}

//! The store on disk.
//!
//! What has to be known of sled 0.34: its `flush` does not fsync, so the file is synced here through a descriptor of our own;
//! a write error latches until it is opened again; a damaged file may make it panic; a page over a quarter of a segment goes to a side
//! file that nobody syncs (see `chunk`); and its file grows. So every call runs under `catch_unwind`, a failed flush
//! makes the next open write the content anew into a fresh database, and so does a file that has grown far beyond its content.

use super::chunk::{self, Head};
use super::{Batch, CheckpointStore, Pair, StoreError, Write, check_key};
use eyot_model::Position;
use parking_lot::RwLock;
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

pub(super) fn sync_dir(path: &Path) -> Result<(), StoreError> {
    let path = if path.as_os_str().is_empty() { Path::new(".") } else { path };
    File::open(path)
        .and_then(|dir| dir.sync_all())
        .map_err(|source| io_error("sync its folder", source))
}

pub(super) fn io_error(action: &'static str, source: io::Error) -> StoreError {
    StoreError::Io { action, source }
}

pub(super) fn db_error(action: &'static str, source: ::sled::Error) -> StoreError {
    StoreError::Database { action, source }
}

/// Runs a call of the database; a panic in it is an error like any other.
pub(super) fn guarded<T>(action: &'static str, call: impl FnOnce() -> Result<T, StoreError>) -> Result<T, StoreError> {
    // What the closure touches is dropped or opened again after an error, so a broken invariant does not get out.
    catch_unwind(AssertUnwindSafe(call)).unwrap_or_else(|panic| {
        let why = panic
            .downcast_ref::<String>()
            .map(String::as_str)
            .or_else(|| panic.downcast_ref::<&str>().copied())
            .unwrap_or("it panicked");
        Err(StoreError::Damaged(format!(
            "it could not {action}: {}",
            why.chars().take(200).collect::<String>()
        )))
    })
}

/// A store in a sled database.
#[derive(Debug)]
pub struct SledStore {
    pub(super) db: ::sled::Db,
    /// The database's file, opened a second time: an fsync works on the file whichever descriptor it comes through.
    pub(super) file: File,
    pub(super) path: PathBuf,
    /// Length of the file from which it is worth opening the database again.
    pub(super) look_again_at: u64,
    /// Held for writing while a batch is applied, so that a reader never meets a value with half of its pieces.
    pub(super) writing: RwLock<()>,
    pub(super) suspect: Arc<AtomicBool>,
}

/// What a batch will have changed: the database's key to its new value, None where it goes.
type Changes = BTreeMap<Vec<u8>, Option<Vec<u8>>>;

impl SledStore {
    /// Side files of the database, which it never syncs: there must be none.
    ///
    /// # Errors
    /// What the system says.
    pub fn side_files(&self) -> io::Result<usize> {
        Ok(fs::read_dir(self.path.join("blobs"))?.count())
    }

    /// Of its file, in bytes.
    pub(super) fn length(&self) -> u64 {
        self.file.metadata().map_or(0, |m| m.len())
    }

    pub(super) fn content_bytes(&self) -> Result<u64, StoreError> {
        let mut bytes = 0;
        for pair in self.db.iter() {
            let (key, value) = pair.map_err(|source| db_error("be read", source))?;
            bytes += (key.len() + value.len()) as u64;
        }
        Ok(bytes)
    }

    fn stored(&self, changes: &Changes, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        if let Some(change) = changes.get(key) {
            return Ok(change.clone());
        }
        let found = self.db.get(key).map_err(|source| db_error("be read", source))?;
        Ok(found.map(|value| value.to_vec()))
    }

    /// Takes out a pair with all its pieces.
    fn forget(&self, changes: &mut Changes, head: Vec<u8>) -> Result<(), StoreError> {
        let Some(stored) = self.stored(changes, &head)? else {
            return Ok(());
        };
        if let Head::Cut { len } = chunk::decode(&stored)? {
            for n in 0..chunk::pieces(len) {
                changes.insert(chunk::piece_key(&head, n), None);
            }
        }
        changes.insert(head, None);
        Ok(())
    }

    fn change(&self, changes: &mut Changes, write: &Write) -> Result<(), StoreError> {
        match write {
            Write::Put { tree, key, value } => {
                let head = chunk::head_key(tree, key);
                self.forget(changes, head.clone())?;
                if value.len() <= chunk::INLINE_LIMIT {
                    changes.insert(head, Some(chunk::encode_inline(value)));
                } else {
                    for (n, piece) in (0..).zip(value.chunks(chunk::INLINE_LIMIT)) {
                        changes.insert(chunk::piece_key(&head, n), Some(piece.to_vec()));
                    }
                    changes.insert(head, Some(chunk::encode_cut(value.len())));
                }
            }
            Write::Delete { tree, key } => self.forget(changes, chunk::head_key(tree, key))?,
            Write::DeletePrefix { tree, prefix } => {
                let prefix = chunk::head_key(tree, prefix);
                let mut heads: Vec<Vec<u8>> = changes
                    .range(prefix.clone()..)
                    .map(|(key, _)| key)
                    .take_while(|key| key.starts_with(&prefix))
                    .cloned()
                    .collect();
                for key in self.db.scan_prefix(&prefix).keys() {
                    heads.push(key.map_err(|source| db_error("be read", source))?.to_vec());
                }
                for head in heads {
                    self.forget(changes, head)?;
                }
            }
        }
        Ok(())
    }

    fn whole(&self, head: &[u8], stored: &[u8]) -> Result<Vec<u8>, StoreError> {
        match chunk::decode(stored)? {
            Head::Inline(value) => Ok(value.to_vec()),
            Head::Cut { len } => {
                let mut value = Vec::with_capacity(len);
                for n in 0..chunk::pieces(len) {
                    let piece = self
                        .db
                        .get(chunk::piece_key(head, n))
                        .map_err(|source| db_error("be read", source))?
                        .ok_or_else(|| StoreError::Damaged(format!("piece {n} of a long value is missing")))?;
                    value.extend_from_slice(&piece);
                }
                if value.len() == len {
                    Ok(value)
                } else {
                    Err(StoreError::Damaged(format!(
                        "a long value has {} bytes instead of {len}",
                        value.len()
                    )))
                }
            }
        }
    }
}

impl CheckpointStore for SledStore {
    fn get(&self, tree: &str, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        check_key(tree, key)?;
        let _reading = self.writing.read();
        guarded("be read", || {
            let head = chunk::head_key(tree, key);
            let stored = self.db.get(&head).map_err(|source| db_error("be read", source))?;
            stored.map(|stored| self.whole(&head, &stored)).transpose()
        })
    }

    fn scan(&self, tree: &str, prefix: &[u8], after: Option<&[u8]>, limit: usize) -> Result<Vec<Pair>, StoreError> {
        check_key(tree, prefix)?;
        let _reading = self.writing.read();
        guarded("be read", || {
            let begin = chunk::head_key(tree, prefix);
            let from = after.map_or_else(|| begin.clone(), |after| chunk::head_key(tree, after.max(prefix)));
            let mut pairs = Vec::new();
            for pair in self.db.range(from..) {
                let (head, stored) = pair.map_err(|source| db_error("be read", source))?;
                if !head.starts_with(&begin) || pairs.len() >= limit {
                    break;
                }
                let key = chunk::bare_key(tree, &head);
                if after.is_none_or(|after| key > after) {
                    pairs.push((key.to_vec(), self.whole(&head, &stored)?));
                }
            }
            Ok(pairs)
        })
    }

    fn apply(&self, batch: &Batch, folded: Option<Position>) -> Result<(), StoreError> {
        batch.check()?;
        let _writing = self.writing.write();
        guarded("apply a batch", || {
            let mut changes = Changes::new();
            for write in &batch.writes {
                self.change(&mut changes, write)?;
            }
            if let Some(position) = folded {
                let mut value = position.generation.to_le_bytes().to_vec();
                value.extend_from_slice(&position.n.to_le_bytes());
                changes.insert(chunk::FOLDED_KEY.to_vec(), Some(value));
            }
            let mut batch = ::sled::Batch::default();
            for (key, value) in changes {
                match value {
                    Some(value) => batch.insert(key, value),
                    None => batch.remove(key),
                }
            }
            self.db.apply_batch(batch).map_err(|source| db_error("apply a batch", source))
        })
    }

    fn folded(&self) -> Result<Option<Position>, StoreError> {
        guarded("be read", || {
            let Some(stored) = self.db.get(chunk::FOLDED_KEY).map_err(|source| db_error("be read", source))? else {
                return Ok(None);
            };
            let wrong = || StoreError::Damaged("its journal position is not one".into());
            let (generation, n) = stored.split_at_checked(8).ok_or_else(wrong)?;
            Ok(Some(Position {
                generation: u64::from_le_bytes(generation.try_into().map_err(|_| wrong())?),
                n: u64::from_le_bytes(n.try_into().map_err(|_| wrong())?),
            }))
        })
    }

    fn flush(&self) -> Result<(), StoreError> {
        let flushed = guarded("be flushed", || {
            self.db.flush().map_err(|source| db_error("be flushed", source))?;
            self.file.sync_all().map_err(|source| io_error("be synced", source))
        });
        if flushed.is_err() {
            self.suspect.store(true, Ordering::Release);
        }
        flushed
    }

    fn has_grown(&self) -> bool {
        self.length() > self.look_again_at
    }
}

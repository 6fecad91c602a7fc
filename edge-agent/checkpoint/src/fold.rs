//! Bringing the store up to the journal, and starting it anew when it fails.

use crate::ends::Ends;
use crate::journal::{Journal, JournalError, Scan};
use crate::record::Entry;
use crate::store::{Batch, CheckpointStore, Fold, MemoryStore, Pair, StoreError, StoreSource};
use eyot_model::Position;
use parking_lot::RwLock;
use std::collections::BTreeMap;
use std::sync::Arc;

/// Records and payload bytes that go into one batch of the store.
const BATCH_RECORDS: usize = 256;
const BATCH_BYTES: usize = 1 << 20;

/// The store, for reading. It lags behind the journal by what was not folded yet. A clone is another view of the same store.
#[derive(Clone, Debug)]
pub struct StoreView(Arc<RwLock<Option<Arc<dyn CheckpointStore>>>>);

impl StoreView {
    fn with<T>(&self, read: impl FnOnce(&dyn CheckpointStore) -> Result<T, StoreError>) -> Result<T, StoreError> {
        match &*self.0.read() {
            Some(store) => read(&**store),
            None => Err(StoreError::Damaged("it is being opened again".into())),
        }
    }

    /// # Errors
    /// [`StoreError`]
    pub fn get(&self, tree: &str, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        self.with(|store| store.get(tree, key))
    }

    /// See [`CheckpointStore::scan`].
    ///
    /// # Errors
    /// [`StoreError`]
    pub fn scan(&self, tree: &str, prefix: &[u8], after: Option<&[u8]>, limit: usize) -> Result<Vec<Pair>, StoreError> {
        self.with(|store| store.scan(tree, prefix, after, limit))
    }

    /// The position up to which records are in the store.
    ///
    /// # Errors
    /// [`StoreError`]
    pub fn folded(&self) -> Result<Option<Position>, StoreError> {
        self.with(|store| store.folded())
    }
}

/// What became of the store when it was opened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StoreOpening {
    /// It was there, and it fits the journal.
    Opened,
    /// There was none; it was built from what the journal has.
    Created,
    /// It was set aside under `name` and built anew from what the journal has.
    Rebuilt { name: String, why: String },
    /// None could be opened: it lives in memory, and the journal keeps everything.
    InMemory { why: String },
}

pub(crate) struct Folder {
    source: Arc<dyn StoreSource>,
    fold: Arc<dyn Fold>,
    view: StoreView,
    label: String,
    /// Applied to the store, maybe not durable.
    applied: u64,
    /// Durable in the store.
    durable: u64,
    /// The store in use is the fallback in memory, so nothing in it is durable.
    in_memory: bool,
    /// It is so for want of room on the disk: what is there may be as good as ever.
    cramped: bool,
    /// The last call failed; open the store again before the next.
    broken: bool,
}

impl std::fmt::Debug for Folder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Folder")
            .field("applied", &self.applied)
            .field("durable", &self.durable)
            .finish_non_exhaustive()
    }
}

impl Folder {
    /// Opens the store, or sets it aside and makes a new one.
    pub(crate) fn open(source: Arc<dyn StoreSource>, fold: Arc<dyn Fold>, label: &str) -> (Self, StoreOpening) {
        let mut folder = Self {
            source,
            fold,
            view: StoreView(Arc::default()),
            label: label.to_owned(),
            applied: 0,
            durable: 0,
            in_memory: false,
            cramped: false,
            broken: false,
        };
        let opening = match folder.source.open() {
            Ok(store) => {
                folder.use_store(store);
                StoreOpening::Opened
            }
            Err(error) if error.is_full() => {
                folder.cramped = true;
                folder.use_memory(&chain_of(&error))
            }
            Err(error) => folder.replace(&chain_of(&error)),
        };
        (folder, opening)
    }

    fn use_store(&mut self, store: Arc<dyn CheckpointStore>) {
        *self.view.0.write() = Some(store);
        self.in_memory = false;
        self.broken = false;
    }

    /// Sets the store aside and opens an empty one.
    pub(crate) fn replace(&mut self, why: &str) -> StoreOpening {
        tracing::error!(why, "the checkpoint store is set aside and built anew");
        *self.view.0.write() = None;
        self.applied = 0;
        self.durable = 0;
        let replaced = self.source.quarantine(&self.label).and_then(|name| Ok((name, self.source.open()?)));
        match replaced {
            Ok((name, store)) => {
                self.use_store(store);
                StoreOpening::Rebuilt { name, why: why.to_owned() }
            }
            Err(error) => self.use_memory(&chain_of(&error)),
        }
    }

    /// Goes on without a store on disk, to the next start: see [`Folder::may_leave_memory`].
    fn use_memory(&mut self, why: &str) -> StoreOpening {
        tracing::error!(
            why,
            "no checkpoint store can be opened; it is kept in memory and the journal keeps everything"
        );
        self.use_store(Arc::new(MemoryStore::default()));
        self.in_memory = true;
        StoreOpening::InMemory { why: why.to_owned() }
    }

    /// Whether the next start would find a store on disk, or make one. Not in the middle of a life: nobody has read what the store
    /// on disk holds.
    pub(crate) fn may_leave_memory(&self) -> bool {
        self.in_memory
            && match self.source.open() {
                Ok(_) => true,
                Err(error) => {
                    tracing::debug!(error = chain_of(&error), "the checkpoint store stays in memory");
                    self.cramped && !error.is_full()
                }
            }
    }

    pub(crate) fn view(&self) -> StoreView {
        self.view.clone()
    }

    /// Everything up to this record is durable outside the journal.
    pub(crate) fn durable(&self) -> u64 {
        if self.in_memory { 0 } else { self.durable }
    }

    pub(crate) fn applied(&self) -> u64 {
        self.applied
    }

    /// The store holds everything up to `n`, as its own position says.
    pub(crate) fn assume(&mut self, n: u64) {
        self.applied = n;
        self.durable = n;
    }

    /// Applies records in order, and `position` with the last of them: before, the store says that it is where it was.
    pub(crate) fn apply<'a>(&mut self, entries: impl IntoIterator<Item = &'a Entry>, position: Option<Position>) -> Result<(), StoreError> {
        let entries: Vec<&Entry> = entries.into_iter().collect();
        let ends = Ends::of(entries.iter().copied());
        let mut batch = Batch::default();
        let (mut count, mut bytes) = (0, 0);
        for entry in entries.into_iter().filter(|entry| !ends.is_over(entry, u64::MAX)) {
            self.fold.fold(entry.position, &entry.payload, &mut batch);
            count += 1;
            bytes += entry.payload.len();
            if count >= BATCH_RECORDS || bytes >= BATCH_BYTES {
                self.apply_batch(&std::mem::take(&mut batch), None)?;
                (count, bytes) = (0, 0);
            }
        }
        if !batch.is_empty() || position.is_some() {
            self.apply_batch(&batch, position)?;
        }
        Ok(())
    }

    fn apply_batch(&mut self, batch: &Batch, position: Option<Position>) -> Result<(), StoreError> {
        let applied = self.view.with(|store| store.apply(batch, position));
        self.broken |= applied.is_err();
        applied?;
        self.applied = self.applied.max(position.map_or(0, |p| p.n));
        Ok(())
    }

    pub(crate) fn flush(&mut self) -> Result<(), StoreError> {
        let flushed = self.view.with(|store| store.flush());
        self.broken |= flushed.is_err();
        flushed?;
        self.durable = self.applied;
        // The next round opens it again, and writes it anew where that frees room.
        self.broken |= self.view.with(|store| Ok(store.has_grown())).unwrap_or(false);
        Ok(())
    }

    /// Opens the store again after an error. True where it is empty now and needs everything that the journal has.
    fn reopen(&mut self) -> Result<bool, StoreError> {
        // The old handle has to be gone before the same files are opened again.
        *self.view.0.write() = None;
        match self.source.open() {
            Ok(store) => {
                let folded = store.folded()?;
                self.use_store(store);
                self.applied = folded.map_or(0, |p| p.n);
                self.durable = self.durable.min(self.applied);
                Ok(false)
            }
            Err(error) if error.is_full() => Err(error),
            Err(error) => {
                self.replace(&chain_of(&error));
                Ok(true)
            }
        }
    }
}

/// An error with its causes, for a report.
pub(crate) fn chain_of(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}

#[derive(Debug, thiserror::Error)]
pub enum FoldError {
    #[error("journal cannot be folded into the checkpoint store")]
    Store(#[from] StoreError),
    #[error("journal cannot be made durable before it is folded")]
    Journal(#[from] JournalError),
    #[error("journal cannot be read to build the checkpoint store anew")]
    Read(#[source] std::io::Error),
}

/// How a round of folding reaches the journal: directly, or through the lock that it shares with others.
pub(crate) trait JournalAccess {
    fn with<T>(&mut self, call: impl FnOnce(&mut Journal) -> T) -> T;
    /// Makes everything appended durable.
    fn sync(&mut self) -> Result<(), JournalError>;
    /// Appends what trimming needs, with the reserve where the disk is full.
    fn begin_trim(&mut self) -> Result<Option<crate::journal::Trim>, JournalError>;
    fn scan(&mut self) -> std::io::Result<Scan>;
}

/// Folds everything appended, makes it durable in the store, and drops segments that are not needed any more.
pub(crate) fn round(journal: &mut impl JournalAccess, folder: &mut Folder, journal_bytes: u64) -> Result<(), FoldError> {
    journal.sync()?;
    if folder.broken {
        let empty = folder.reopen()?;
        if empty {
            rebuild(journal, folder)?;
        }
    }
    let mut through = None;
    loop {
        let after = through.map_or(folder.applied, |at: Position| at.n);
        let found = journal.with(|j| j.to_fold(after, BATCH_RECORDS, BATCH_BYTES));
        if found.through.is_none() {
            break;
        }
        folder.apply(&found.entries, None)?;
        through = found.through;
    }
    // Only now: of what is over nothing was written, and before its end is folded too the store is at no position of the journal.
    if through.is_some() {
        folder.apply([], through)?;
    }
    if folder.durable < folder.applied {
        folder.flush()?;
    }
    let durable = folder.durable();
    if !folder.in_memory {
        journal.with(|j| j.folded(durable));
    } else {
        let applied = folder.applied;
        journal.with(|j| j.folded(applied));
    }
    // Carrying over may begin new segments: they are not for this round, or it might never end.
    for _ in 0..journal.with(|j| j.old_segments()) {
        if !journal.with(|j| j.can_trim(durable, journal_bytes)) {
            break;
        }
        let Some(trim) = journal.begin_trim()? else { break };
        journal.sync()?;
        if !journal.with(|j| j.finish_trim(&trim))? {
            break;
        }
    }
    Ok(())
}

/// Folds all that the journal still has into an empty store.
pub(crate) fn rebuild(journal: &mut impl JournalAccess, folder: &mut Folder) -> Result<(), FoldError> {
    let scan = journal.scan().map_err(FoldError::Read)?;
    let synced = journal.with(|j| j.synced());
    let entries: BTreeMap<u64, Entry> = scan.entries;
    folder.apply(entries.range(..=synced.n).map(|(_, entry)| entry), Some(synced))?;
    Ok(())
}

//! A store in memory: for tests, for the simulation, and for devices without a place to keep one.

use super::{Batch, CheckpointStore, Pair, StoreError, StoreSource, Write, check_key};
use eyot_model::Position;
use parking_lot::Mutex;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

type Key = (String, Vec<u8>);

#[derive(Clone, Debug, Default)]
struct State {
    pairs: BTreeMap<Key, Vec<u8>>,
    folded: Option<Position>,
    durable: BTreeMap<Key, Vec<u8>>,
    durable_folded: Option<Position>,
    /// Keys that differ from `durable`.
    dirty: BTreeSet<Key>,
    failed_applies: u32,
    failed_flushes: u32,
    failed_opens: u32,
}

/// A store that knows which of its content was flushed. A clone is another view of the same store.
#[derive(Clone, Debug, Default)]
pub struct MemoryStore(Arc<Mutex<State>>);

impl CheckpointStore for MemoryStore {
    fn get(&self, tree: &str, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        check_key(tree, key)?;
        Ok(self.0.lock().pairs.get(&(tree.to_owned(), key.to_vec())).cloned())
    }

    fn scan(&self, tree: &str, prefix: &[u8], after: Option<&[u8]>, limit: usize) -> Result<Vec<Pair>, StoreError> {
        check_key(tree, prefix)?;
        let from = (tree.to_owned(), after.map_or(prefix, |after| after.max(prefix)).to_vec());
        let state = self.0.lock();
        Ok(state
            .pairs
            .range(from..)
            .take_while(|((t, key), _)| t == tree && key.starts_with(prefix))
            .filter(|((_, key), _)| after.is_none_or(|after| key.as_slice() > after))
            .take(limit)
            .map(|((_, key), value)| (key.clone(), value.clone()))
            .collect())
    }

    fn apply(&self, batch: &Batch, folded: Option<Position>) -> Result<(), StoreError> {
        batch.check()?;
        let state = &mut *self.0.lock();
        if state.failed_applies > 0 {
            state.failed_applies -= 1;
            return Err(injected("apply a batch"));
        }
        for write in &batch.writes {
            state.write(write);
        }
        if folded.is_some() {
            state.folded = folded;
        }
        Ok(())
    }

    fn folded(&self) -> Result<Option<Position>, StoreError> {
        Ok(self.0.lock().folded)
    }

    fn flush(&self) -> Result<(), StoreError> {
        let state = &mut *self.0.lock();
        if state.failed_flushes > 0 {
            state.failed_flushes -= 1;
            return Err(injected("be flushed"));
        }
        for key in std::mem::take(&mut state.dirty) {
            match state.pairs.get(&key) {
                Some(value) => state.durable.insert(key, value.clone()),
                None => state.durable.remove(&key),
            };
        }
        state.durable_folded = state.folded;
        Ok(())
    }
}

fn injected(action: &'static str) -> StoreError {
    StoreError::Io {
        action,
        source: std::io::Error::other("injected failure"),
    }
}

impl State {
    fn write(&mut self, write: &Write) {
        match write {
            Write::Put { tree, key, value } => {
                let key = (tree.clone(), key.clone());
                self.dirty.insert(key.clone());
                self.pairs.insert(key, value.clone());
            }
            Write::Delete { tree, key } => self.delete((tree.clone(), key.clone())),
            Write::DeletePrefix { tree, prefix } => {
                let gone: Vec<Key> = self
                    .pairs
                    .range((tree.clone(), prefix.clone())..)
                    .map(|(key, _)| key)
                    .take_while(|(t, key)| t == tree && key.starts_with(prefix))
                    .cloned()
                    .collect();
                gone.into_iter().for_each(|key| self.delete(key));
            }
        }
    }

    fn delete(&mut self, key: Key) {
        if self.pairs.remove(&key).is_some() {
            self.dirty.insert(key);
        }
    }

    fn reset_to_durable(&mut self) {
        self.pairs.clone_from(&self.durable);
        self.folded = self.durable_folded;
        self.dirty.clear();
    }
}

/// Opens the same [`MemoryStore`] again and again. A clone opens the same one.
#[derive(Clone, Debug, Default)]
pub struct MemorySource(MemoryStore);

impl MemorySource {
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The source of another store that holds the same now.
    #[must_use]
    pub fn copy(&self) -> Self {
        Self(MemoryStore(Arc::new(Mutex::new(self.0.0.lock().clone()))))
    }

    /// Cuts the power: what was not flushed is lost.
    pub fn crash(&self) {
        self.0.0.lock().reset_to_durable();
    }

    /// The next `count` batches fail.
    pub fn fail_applies(&self, count: u32) {
        self.0.0.lock().failed_applies = count;
    }

    /// The next `count` flushes fail.
    pub fn fail_flushes(&self, count: u32) {
        self.0.0.lock().failed_flushes = count;
    }

    /// The next `count` opens fail, as those of a damaged database do.
    pub fn fail_opens(&self, count: u32) {
        self.0.0.lock().failed_opens = count;
    }
}

impl StoreSource for MemorySource {
    fn open(&self) -> Result<Arc<dyn CheckpointStore>, StoreError> {
        let mut state = self.0.0.lock();
        if state.failed_opens > 0 {
            state.failed_opens -= 1;
            return Err(StoreError::Damaged("injected failure".into()));
        }
        drop(state);
        Ok(Arc::new(self.0.clone()))
    }

    fn quarantine(&self, label: &str) -> Result<String, StoreError> {
        let mut state = self.0.0.lock();
        let failed_opens = state.failed_opens;
        *state = State {
            failed_opens,
            ..State::default()
        };
        Ok(format!("memory.{label}"))
    }
}

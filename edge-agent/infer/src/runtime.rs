//! The models that an agent has loaded.

use crate::{Error, Model};
use eyot_model::Digest;
use parking_lot::Mutex;
use std::sync::{Arc, OnceLock};

type Slot = Arc<OnceLock<Result<Arc<Model>, Error>>>;

/// Loaded models by digest, the least recently used dropped first when they take more memory than allowed. Models in
/// use live on until their last user is done.
pub struct Runtime {
    max_bytes: u64,
    /// The most recently used is last.
    models: Mutex<Vec<(Digest, Slot)>>,
}

impl Runtime {
    /// A runtime that keeps about `max_bytes` of models; at least the last one is always kept.
    #[must_use]
    pub fn new(max_bytes: u64) -> Self {
        Self {
            max_bytes,
            models: Mutex::default(),
        }
    }

    /// The model with this digest, if it is loaded.
    #[must_use]
    pub fn get(&self, digest: &Digest) -> Option<Arc<Model>> {
        let mut models = self.models.lock();
        let at = models.iter().position(|(known, _)| known == digest)?;
        let entry = models.remove(at);
        let model = entry.1.get().and_then(|loaded| loaded.as_ref().ok()).map(Arc::clone);
        models.push(entry);
        model
    }

    /// The model with this digest, read from what `bytes` gives if it is not loaded yet. Callers that want the same
    /// model at the same time wait for one reading. The caller answers for the bytes being those of the digest.
    ///
    /// # Errors
    /// What `bytes` says, [`Error::BadModel`], [`Error::TooLarge`]. A failure is not kept: the next call tries again.
    pub fn load(&self, digest: Digest, bytes: impl FnOnce() -> Result<Vec<u8>, Error>) -> Result<Arc<Model>, Error> {
        let slot = self.slot(digest);
        let loaded = slot
            .get_or_init(|| bytes().and_then(|bytes| Model::read(&bytes)).map(Arc::new))
            .clone();
        let mut models = self.models.lock();
        if loaded.is_err() {
            models.retain(|(_, known)| !Arc::ptr_eq(known, &slot));
        } else {
            self.evict(&mut models);
        }
        loaded
    }

    fn slot(&self, digest: Digest) -> Slot {
        let mut models = self.models.lock();
        let entry = match models.iter().position(|(known, _)| *known == digest) {
            Some(at) => models.remove(at),
            None => (digest, Slot::default()),
        };
        let slot = Arc::clone(&entry.1);
        models.push(entry);
        slot
    }

    fn evict(&self, models: &mut Vec<(Digest, Slot)>) {
        let size = |slot: &Slot| slot.get().and_then(|m| m.as_ref().ok()).map_or(0, |m| m.memory_bytes());
        let mut total: u64 = models.iter().map(|(_, slot)| size(slot)).sum();
        while total > self.max_bytes && models.len() > 1 {
            let (digest, slot) = models.remove(0);
            total -= size(&slot).min(total);
            tracing::debug!(%digest, "model dropped to stay within the memory for models");
        }
    }

    /// Digests of the models that are loaded, least recently used first.
    #[must_use]
    pub fn loaded(&self) -> Vec<Digest> {
        self.models
            .lock()
            .iter()
            .filter(|(_, slot)| slot.get().is_some())
            .map(|(digest, _)| *digest)
            .collect()
    }
}

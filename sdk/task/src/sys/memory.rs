//! The stand-in for the agent outside a component: the host of [`crate::testing`] that is in force on this thread.

use crate::inference::{InferenceError, Tensor};
use crate::log::Level;
use crate::testing::{self, LogLine, ProgressReport};
use crate::{BlobError, Context};
use std::sync::Arc;

pub(crate) struct Blob(Arc<[u8]>);

impl Blob {
    pub(crate) fn open(digest: &str) -> Result<Self, BlobError> {
        testing::with_state(|state| {
            state
                .blobs
                .get(digest)
                .map(|bytes| Self(Arc::clone(bytes)))
                .ok_or(BlobError::Denied)
        })
    }

    pub(crate) fn read(&self, offset: u64, len: u32) -> Result<Vec<u8>, BlobError> {
        let rest = usize::try_from(offset).ok().and_then(|at| self.0.get(at..)).unwrap_or_default();
        Ok(rest[..rest.len().min(len as usize)].to_vec())
    }
}

pub(crate) struct Writer(Vec<u8>);

impl Writer {
    pub(crate) fn new() -> Self {
        Self(Vec::new())
    }

    #[allow(clippy::unnecessary_wraps)] // inside a component it can fail
    pub(crate) fn write(&mut self, bytes: &[u8]) -> Result<(), BlobError> {
        self.0.extend_from_slice(bytes);
        Ok(())
    }

    #[allow(clippy::unnecessary_wraps)]
    pub(crate) fn finish(self) -> Result<(String, u64), BlobError> {
        let digest = format!("b3:{}", blake3::hash(&self.0).to_hex());
        let size = self.0.len() as u64;
        testing::with_state(|state| drop(state.blobs.insert(digest.clone(), self.0.into())));
        Ok((digest, size))
    }
}

pub(crate) fn log(level: Level, message: &str) {
    eprintln!("{level:?}: {message}");
    testing::with_state(|state| {
        state.logs.push(LogLine {
            level,
            message: message.to_owned(),
        });
    });
}

pub(crate) fn context() -> Context {
    testing::with_state(|state| state.context.clone())
}

#[allow(clippy::unnecessary_wraps)]
pub(crate) fn checkpoint_save(saved: &[u8]) -> Result<(), String> {
    testing::with_state(|state| state.checkpoint = Some(saved.to_vec()));
    Ok(())
}

pub(crate) fn checkpoint_load() -> Option<Vec<u8>> {
    testing::with_state(|state| state.checkpoint.clone())
}

pub(crate) fn progress(done: u64, total: u64, message: &str) {
    testing::with_state(|state| {
        state.progress.push(ProgressReport {
            done,
            total,
            message: message.to_owned(),
        });
    });
}

pub(crate) struct Model(Arc<dyn testing::Model>);

impl Model {
    pub(crate) fn load(digest: &str) -> Result<Self, InferenceError> {
        let (models, bytes) = testing::with_state(|state| (state.models.clone(), state.blobs.get(digest).cloned()));
        let models = models.ok_or_else(|| InferenceError::Failed("no models: give the testing host some with `with_models`".to_owned()))?;
        let bytes = bytes.ok_or_else(|| InferenceError::BadModel("its blob is not among the inputs".to_owned()))?;
        models.load(digest, &bytes).map(Self)
    }

    pub(crate) fn compute(&self, inputs: Vec<Tensor>) -> Result<Vec<Tensor>, InferenceError> {
        self.0.compute(inputs)
    }

    pub(crate) fn metadata(&self, key: &str) -> Option<String> {
        self.0.metadata(key)
    }
}

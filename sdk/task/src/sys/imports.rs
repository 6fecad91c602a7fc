//! The imports of the component.

use crate::component::bindings::eyot::task as agent;
use crate::inference::{Element, InferenceError, Tensor};
use crate::log::Level;
use crate::{BlobError, Context};
use agent::blobs::BlobError as AgentBlobError;
use agent::inference as models;
use std::time::Duration;

impl From<AgentBlobError> for BlobError {
    fn from(error: AgentBlobError) -> Self {
        match error {
            AgentBlobError::Denied => Self::Denied,
            AgentBlobError::Unavailable(reason) => Self::Unavailable(reason),
            AgentBlobError::Limit(reason) => Self::Limit(reason),
        }
    }
}

pub(crate) struct Blob(agent::blobs::Blob);

impl Blob {
    pub(crate) fn open(digest: &str) -> Result<Self, BlobError> {
        Ok(Self(agent::blobs::open(digest)?))
    }

    pub(crate) fn read(&self, offset: u64, len: u32) -> Result<Vec<u8>, BlobError> {
        Ok(self.0.read(offset, len)?)
    }
}

pub(crate) struct Writer(agent::blobs::Writer);

impl Writer {
    pub(crate) fn new() -> Self {
        Self(agent::blobs::Writer::new())
    }

    pub(crate) fn write(&mut self, bytes: &[u8]) -> Result<(), BlobError> {
        Ok(self.0.write(bytes)?)
    }

    /// Digest and size.
    pub(crate) fn finish(self) -> Result<(String, u64), BlobError> {
        let blob = self.0.finish()?;
        Ok((blob.digest(), blob.size()))
    }
}

pub(crate) fn log(level: Level, message: &str) {
    let level = match level {
        Level::Error => agent::log::Level::Error,
        Level::Warn => agent::log::Level::Warn,
        Level::Info => agent::log::Level::Info,
        Level::Debug => agent::log::Level::Debug,
        Level::Trace => agent::log::Level::Trace,
    };
    agent::log::log(level, message);
}

pub(crate) fn context() -> Context {
    let attempt = agent::context::current();
    Context {
        run: attempt.run,
        namespace: attempt.namespace,
        task: attempt.task,
        item: attempt.item,
        attempt: attempt.attempt,
        epoch: attempt.epoch,
        idempotency_key: attempt.idempotency_key,
        remaining: attempt.remaining_ms.map(Duration::from_millis),
    }
}

pub(crate) fn checkpoint_save(state: &[u8]) -> Result<(), String> {
    agent::checkpoint::save(state)
}

pub(crate) fn checkpoint_load() -> Option<Vec<u8>> {
    agent::checkpoint::load()
}

pub(crate) fn progress(done: u64, total: u64, message: &str) {
    agent::progress::report(done, total, message);
}

impl From<models::InferenceError> for InferenceError {
    fn from(error: models::InferenceError) -> Self {
        match error {
            models::InferenceError::BadModel(reason) => Self::BadModel(reason),
            models::InferenceError::BadInput(reason) => Self::BadInput(reason),
            models::InferenceError::Failed(reason) => Self::Failed(reason),
        }
    }
}

pub(crate) struct Model(models::Model);

impl Model {
    pub(crate) fn load(digest: &str) -> Result<Self, InferenceError> {
        Ok(Self(models::load(digest)?))
    }

    pub(crate) fn compute(&self, inputs: Vec<Tensor>) -> Result<Vec<Tensor>, InferenceError> {
        let inputs: Vec<models::Tensor> = inputs
            .into_iter()
            .map(|tensor| models::Tensor {
                shape: tensor.shape,
                element: match tensor.element {
                    Element::F32 => models::Element::F32,
                    Element::I32 => models::Element::I32,
                    Element::I64 => models::Element::I64,
                    Element::U8 => models::Element::U8,
                },
                data: tensor.data,
            })
            .collect();
        let outputs = self.0.compute(&inputs)?;
        Ok(outputs
            .into_iter()
            .map(|tensor| Tensor {
                shape: tensor.shape,
                element: match tensor.element {
                    models::Element::F32 => Element::F32,
                    models::Element::I32 => Element::I32,
                    models::Element::I64 => Element::I64,
                    models::Element::U8 => Element::U8,
                },
                data: tensor.data,
            })
            .collect())
    }

    pub(crate) fn metadata(&self, key: &str) -> Option<String> {
        self.0.metadata(key)
    }
}

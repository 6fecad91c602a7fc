//! The agent as one attempt sees it.

use super::Runtime;
use eyot_model::{AttemptId, Digest, Inputs};
use eyot_wasm_host::{BlobAccess, LogLevel, ServiceError, Services};
use eyot_wire::LogRecord;
use std::sync::{Arc, OnceLock};

pub(super) struct AttemptServices {
    pub(super) runtime: Arc<Runtime>,
    pub(super) id: AttemptId,
    pub(super) component: Digest,
    pub(super) inputs: OnceLock<Digest>,
    pub(super) given: Inputs,
}

impl AttemptServices {
    fn inputs_digest(&self) -> Digest {
        *self
            .inputs
            .get_or_init(|| Digest::of(&postcard::to_stdvec(&self.given).unwrap_or_default()))
    }
}

/// Largest state that a task may save, in bytes.
const STATE_LIMIT: usize = 8 << 20;

impl Services for AttemptServices {
    fn blobs(&self) -> &dyn BlobAccess {
        &*self.runtime.blobs
    }

    fn log(&self, level: LogLevel, message: &str) {
        let level = match level {
            LogLevel::Error => 1,
            LogLevel::Warn => 2,
            LogLevel::Info => 3,
            LogLevel::Debug => 4,
            LogLevel::Trace => 5,
        };
        self.runtime.logs.push(LogRecord {
            run: self.id.run,
            path: self.id.path,
            attempt: self.id.attempt,
            at: self.runtime.clock.now(),
            level,
            message: message.to_owned(),
        });
    }

    fn progress(&self, done: u64, total: u64, message: &str) {
        self.log(LogLevel::Debug, &format!("{done} of {total} {message}"));
    }

    fn save_checkpoint(&self, state: &[u8]) -> Result<(), ServiceError> {
        if state.len() > STATE_LIMIT {
            return Err(ServiceError(format!(
                "state of {} bytes is over the limit of {STATE_LIMIT} bytes",
                state.len()
            )));
        }
        let inputs = self.inputs_digest();
        let mut position = None;
        self.runtime
            .turn(|node, _| position = node.save_checkpoint(&self.id, self.component, inputs, state.to_vec()));
        let Some(position) = position else {
            return Err(ServiceError("the run is not this agent's any more".to_owned()));
        };
        self.runtime
            .journal
            .wait_synced(position)
            .map_err(|error| ServiceError(format!("state was not made durable: {error}")))?;
        self.runtime
            .saved
            .put(self.id.run, self.id.path, self.component, inputs, state.to_vec());
        Ok(())
    }

    fn load_checkpoint(&self) -> Option<Vec<u8>> {
        self.runtime
            .saved
            .get(self.id.run, self.id.path, self.component, self.inputs_digest())
    }

    fn inference(&self) -> Option<&eyot_infer::Runtime> {
        Some(&self.runtime.models)
    }
}

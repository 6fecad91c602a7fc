//! The agent as one attempt sees it.

use super::Runtime;
use super::saved::Pace;
use eyot_model::{AttemptId, Digest, Inputs};
use eyot_wasm_host::{BlobAccess, LogLevel, ServiceError, Services, StateLost};
use eyot_wire::LogRecord;
use parking_lot::Mutex;
use std::sync::{Arc, OnceLock};

pub(super) struct AttemptServices {
    pub(super) runtime: Arc<Runtime>,
    pub(super) id: AttemptId,
    pub(super) component: Digest,
    pub(super) inputs: OnceLock<Digest>,
    pub(super) given: Inputs,
    /// Whether it may begin anew.
    pub(super) idempotent: bool,
    pub(super) pace: Mutex<Pace>,
}

impl AttemptServices {
    pub(super) fn inputs_digest(&self) -> Digest {
        *self
            .inputs
            .get_or_init(|| Digest::of(&postcard::to_stdvec(&self.given).unwrap_or_default()))
    }
}

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
        let line = LogRecord {
            run: self.id.run,
            path: self.id.path,
            attempt: self.id.attempt,
            at: self.runtime.clock.now(),
            level,
            message: message.to_owned(),
        };
        self.runtime.own_logs.push(line.clone());
        self.runtime.logs.push(line);
    }

    fn progress(&self, done: u64, total: u64, message: &str) {
        self.log(LogLevel::Debug, &format!("{done} of {total} {message}"));
    }

    fn save_checkpoint(&self, state: &[u8]) -> Result<(), ServiceError> {
        self.save(state)
    }

    fn load_checkpoint(&self) -> Result<Option<Vec<u8>>, StateLost> {
        self.load()
    }

    fn inference(&self) -> Option<&eyot_infer::Runtime> {
        Some(&self.runtime.models)
    }
}

//! A task's own saved state: made durable when it is saved, read back when it is asked for.

use super::Runtime;
use super::services::AttemptServices;
use eyot_model::{BlobForm, BlobRef, Digest};
use eyot_wasm_host::{ServiceError, StateLost};
use eyot_wire::{INLINE_STATE, SavedBody};
use std::time::{Duration, Instant};

/// Largest state that a task may save, in bytes.
pub(super) const STATE_LIMIT: usize = 8 << 20;
/// The least time between two states of one attempt, whatever their size: each one costs a sync of the disk.
const LEAST_PAUSE: Duration = Duration::from_millis(50);
/// Bytes that one attempt may save in a second.
const BYTES_PER_SEC: u64 = 4 << 20;
/// How long a state that is only in the cloud is waited for.
const PATIENCE: Duration = Duration::from_secs(20);

/// When an attempt may save again.
#[derive(Default)]
pub(super) struct Pace(Option<Instant>);

impl Pace {
    /// Waits until `len` more bytes may be saved.
    fn wait(&mut self, len: usize) {
        if let Some(at) = self.0 {
            std::thread::sleep(at.saturating_duration_since(Instant::now()));
        }
        let cost = Duration::from_millis((len as u64).saturating_mul(1_000) / BYTES_PER_SEC);
        self.0 = Some(Instant::now() + cost.max(LEAST_PAUSE));
    }
}

impl AttemptServices {
    /// Durable on return; the state before it stays until then.
    pub(super) fn save(&self, state: &[u8]) -> Result<(), ServiceError> {
        if state.len() > STATE_LIMIT {
            return Err(ServiceError(format!(
                "state of {} bytes is over the limit of {STATE_LIMIT} bytes",
                state.len()
            )));
        }
        self.pace.lock().wait(state.len());
        let failed = |error: &dyn std::fmt::Display| ServiceError(format!("state was not made durable: {error}"));
        let body = if state.len() <= INLINE_STATE {
            SavedBody::Inline(state.to_vec())
        } else {
            // The record that names it comes after it.
            let stored = self.runtime.blobs.put_durable(state).map_err(|error| failed(&error))?;
            SavedBody::Blob(stored.reference(BlobForm::Raw))
        };
        let inputs = self.inputs_digest();
        let mut position = None;
        self.runtime
            .turn(|node, _| position = node.save(&self.id, self.component, inputs, body));
        let Some(position) = position else {
            return Err(ServiceError("the task is not this agent's any more".to_owned()));
        };
        self.runtime.journal.wait_synced(position).map_err(|error| failed(&error))?;
        Ok(())
    }

    /// The latest state that can be read. Where there were some and none can be, the task begins anew, unless that could
    /// do harm.
    pub(super) fn load(&self) -> Result<Option<Vec<u8>>, StateLost> {
        let inputs = self.inputs_digest();
        let states = self
            .runtime
            .look(|node| node.saved_for(self.id.run, self.id.path, self.component, inputs));
        let known = states.len();
        for body in states {
            match body {
                SavedBody::Inline(bytes) => return Ok(Some(bytes)),
                SavedBody::Blob(blob) => match self.runtime.state_blob(&blob) {
                    Ok(bytes) => return Ok(Some(bytes)),
                    Err(error) => {
                        tracing::error!(run = %self.id.run, task = self.id.path.task.0, digest = %blob.digest, error, "a saved state cannot be read");
                    }
                },
            }
        }
        if known == 0 {
            return Ok(None);
        }
        if self.idempotent {
            tracing::error!(run = %self.id.run, task = self.id.path.task.0, "no saved state of the task can be read: it begins anew");
            return Ok(None);
        }
        Err(StateLost(
            "the state that the task saved cannot be read any more, and it must not begin anew".to_owned(),
        ))
    }
}

impl Runtime {
    fn state_blob(&self, blob: &BlobRef) -> Result<Vec<u8>, String> {
        let read = || self.blobs.read(&blob.digest, STATE_LIMIT as u64);
        // The store verifies it, and puts a broken one aside, so that a whole one may take its place.
        match read() {
            Ok(bytes) => Ok(bytes),
            Err(error) if !self.is_linked() => Err(error.to_string()),
            Err(_) => {
                self.tokio.block_on(self.fetch_state(blob.digest))?;
                read().map_err(|error| error.to_string())
            }
        }
    }

    /// Gets a state from the cloud.
    async fn fetch_state(&self, digest: Digest) -> Result<(), String> {
        let mut links = self.link.subscribe();
        let deadline = Instant::now() + PATIENCE;
        let mut last = "no link".to_owned();
        while Instant::now() < deadline {
            let link = links.borrow_and_update().clone();
            if let Some(link) = link {
                match eyot_link::fetch(&link, digest, &self.blobs, |_, _| {}).await {
                    Ok(_) => return Ok(()),
                    Err(error) => last = error.to_string(),
                }
            }
            let _ = tokio::time::timeout(Duration::from_millis(250), links.changed()).await;
        }
        Err(format!("it could not be had: {last}"))
    }
}

/// Most states that are sent at once.
const BATCH: usize = 64;

impl Runtime {
    /// Latest states that the cloud has not been sent, as many as go at once. The rest follow, and those that are replaced
    /// meanwhile never go.
    pub(crate) fn states_to_send(&self) -> Vec<eyot_wire::ToCloud> {
        let mut core = self.core.lock();
        std::iter::from_fn(|| core.node.next_saved()).take(BATCH).collect()
    }
}

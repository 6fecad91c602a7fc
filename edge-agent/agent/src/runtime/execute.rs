//! One attempt on a worker's thread: get what it needs, run it, make its blobs durable.

use super::Runtime;
use super::queue::Job;
use super::services::AttemptServices;
use crate::chain;
use eyot_link::{AgentLink, TransferError};
use eyot_model::{BlobRef, Digest, Failure, FailureKind, Grant, Outcome, Usage, Value};
use eyot_node::Start;
use eyot_wasm_host::{AttemptEnd, AttemptSpec, CancelToken, Limits, Prepared};
use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

/// How long an attempt waits for a blob that the connected control plane does not give, before it counts as failed (and is
/// retried by its policy). While there is no link it waits, however long that takes.
const BLOB_PATIENCE: Duration = Duration::from_secs(60);
/// Between two tries to get a blob, at first and at most.
const BLOB_PAUSE: (Duration, Duration) = (Duration::from_millis(250), Duration::from_secs(4));
/// A task that waits looks this often whether it was cancelled, or somebody brought the blob to the device itself.
const BLOB_LOOK: Duration = Duration::from_millis(250);

impl Runtime {
    pub(super) fn execute(self: &Arc<Self>, job: Job) -> AttemptEnd {
        let idempotent = job.start.idempotent;
        match self.equip(&job.start, &job.cancel) {
            Ok(prepared) if idempotent => self.run_prepared(&prepared, job),
            Ok(prepared) => unknown_if_cut_off(self.run_prepared(&prepared, job)),
            Err(outcome) => AttemptEnd {
                outcome,
                usage: Usage::default(),
                began: false,
            },
        }
    }

    fn run_prepared(self: &Arc<Self>, prepared: &Prepared, job: Job) -> AttemptEnd {
        let Job { start, cancel } = job;
        // The word of one that must not be begun twice stands.
        let excusable = start.idempotent && start.grants.contains(&Grant::Scratch);
        let spec = AttemptSpec {
            id: start.id,
            namespace: start.namespace,
            task: start.task,
            inputs: start.inputs.clone(),
            limits: Limits {
                memory_bytes: start.resources.memory_bytes,
                cpu: start.cpu_limit.map(|l| l.as_duration()).or(Limits::default().cpu),
                wall: start.timeout.map(|l| l.as_duration()),
                ..Limits::default()
            },
            grants: start.grants,
        };
        let services = Arc::new(AttemptServices {
            runtime: Arc::clone(self),
            id: start.id,
            component: start.digest,
            inputs: OnceLock::new(),
            given: start.inputs,
            idempotent: start.idempotent,
            pace: parking_lot::Mutex::default(),
        });
        let mut end = self.host.run(prepared, spec, services, cancel);
        if excusable {
            end = self.excuse(end);
        }
        match self.keep_blobs(&end.outcome) {
            Ok(()) => end,
            Err(error) => {
                let kind = if error.is_full() {
                    FailureKind::DiskFull
                } else {
                    FailureKind::Agent
                };
                AttemptEnd {
                    outcome: Outcome::Failed(Failure::new(kind, format!("outputs could not be made durable: {}", chain(&error)))),
                    ..end
                }
            }
        }
    }

    /// A record is appended only after the blobs that it names are synced.
    fn keep_blobs(&self, outcome: &Outcome) -> Result<(), eyot_blob::Error> {
        let Outcome::Succeeded(outputs) = outcome else { return Ok(()) };
        let mut digests = Vec::new();
        outputs
            .values()
            .for_each(|value| value.for_each_blob(&mut |blob| digests.push(blob.digest)));
        if digests.is_empty() { Ok(()) } else { self.blobs.sync(&digests) }
    }

    /// The component, ready, and every blob that the inputs name, here.
    fn equip(&self, start: &Start, cancel: &CancelToken) -> Result<Arc<Prepared>, Outcome> {
        let mut needed: BTreeMap<Digest, u64> = BTreeMap::new();
        for value in start.inputs.values() {
            self.missing_in(value, &mut needed);
        }
        let prepared = self.host.ready(&start.digest);
        if prepared.is_none() && !self.has(&start.digest) {
            needed.insert(start.digest, start.component.size);
        }
        if !needed.is_empty() {
            self.tokio.block_on(self.fetch_all(&needed, cancel))?;
        }
        if let Some(prepared) = prepared {
            return Ok(prepared);
        }
        let path = self.blobs.path_of(&start.digest).ok_or_else(|| {
            Outcome::Failed(Failure::new(
                FailureKind::BlobUnavailable,
                format!("component `{}` is not on this agent", start.component.name),
            ))
        })?;
        self.tokio.block_on(self.host.prepare(start.digest, &path)).map_err(|error| {
            let mut failure = error.to_failure();
            failure.message = format!("component `{}`: {}", start.component.name, failure.message);
            Outcome::Failed(failure)
        })
    }

    fn missing_in(&self, value: &Value, missing: &mut BTreeMap<Digest, u64>) {
        value.for_each_blob(&mut |blob: &BlobRef| {
            if !self.has(&blob.digest) {
                missing.insert(blob.digest, blob.size);
            }
        });
    }

    /// Whether a blob is here, its bytes as they should be: one that was damaged is fetched again like one that is not here.
    fn has(&self, digest: &Digest) -> bool {
        self.blobs.is_sound(digest).unwrap_or_else(|error| {
            tracing::error!(%digest, error = chain(&error), "a blob cannot be read");
            false
        })
    }

    async fn fetch_all(&self, needed: &BTreeMap<Digest, u64>, cancel: &CancelToken) -> Result<(), Outcome> {
        for digest in needed.keys() {
            self.fetch(*digest, cancel).await?;
        }
        Ok(())
    }

    async fn fetch(&self, digest: Digest, cancel: &CancelToken) -> Result<(), Outcome> {
        let mut deadline = Instant::now() + BLOB_PATIENCE;
        let mut last = String::new();
        let mut links = self.link.subscribe();
        let mut pause = BLOB_PAUSE.0;
        while !self.blobs.contains(&digest) {
            if cancel.is_cancelled() {
                return Err(Outcome::Cancelled);
            }
            if Instant::now() >= deadline {
                let message = format!("blob {digest} could not be had: {last}");
                return Err(Outcome::Failed(Failure::new(FailureKind::BlobUnavailable, message)));
            }
            let link: Option<AgentLink> = links.borrow_and_update().clone();
            match link {
                Some(link) => match eyot_link::fetch(&link, digest, &self.blobs, |_, _| {}).await {
                    Ok(_) => continue,
                    Err(TransferError::Store(error)) if error.is_full() => {
                        if !self.make_room() {
                            let message = format!("blob {digest} was not fetched: {}", chain(&error));
                            return Err(Outcome::Failed(Failure::new(FailureKind::DiskFull, message)));
                        }
                    }
                    Err(error) => {
                        let refused = matches!(error, TransferError::NotFound { .. } | TransferError::Denied { .. });
                        if refused && last.is_empty() {
                            tracing::warn!(
                                %digest,
                                %error,
                                "a blob that a task needs is not here or was damaged, and the control plane does not give it; trying again"
                            );
                        }
                        last = chain(&error);
                    }
                },
                None => deadline = Instant::now() + BLOB_PATIENCE,
            }
            let again = Instant::now() + pause;
            pause = (pause * 2).min(BLOB_PAUSE.1);
            while Instant::now() < again && !cancel.is_cancelled() && !self.blobs.contains(&digest) {
                if tokio::time::timeout(BLOB_LOOK, links.changed()).await.is_ok() {
                    // A new link is worth another try at once.
                    pause = BLOB_PAUSE.0;
                    break;
                }
            }
        }
        Ok(())
    }
}

/// The end of an attempt that must not be begun twice: where the agent failed after the component was called, nobody knows how far it
/// came.
fn unknown_if_cut_off(mut end: AttemptEnd) -> AttemptEnd {
    if let Outcome::Failed(failure) = &mut end.outcome
        && end.began
        && matches!(
            failure.kind,
            FailureKind::Agent | FailureKind::DiskFull | FailureKind::BlobUnavailable
        )
    {
        failure.message = format!(
            "the agent failed it, and whether its effect happened is not known: {}",
            failure.message
        );
        failure.kind = FailureKind::OutcomeUnknown;
    }
    end
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_agent_failed_after_it_began_has_an_end_that_nobody_knows() {
        let end = |kind, began| {
            let end = unknown_if_cut_off(AttemptEnd {
                outcome: Outcome::Failed(Failure::new(kind, "no room")),
                usage: Usage::default(),
                began,
            });
            match end.outcome {
                Outcome::Failed(failure) => failure.kind,
                other => panic!("{other:?}"),
            }
        };
        assert_eq!(end(FailureKind::DiskFull, true), FailureKind::OutcomeUnknown);
        assert_eq!(
            end(FailureKind::DiskFull, false),
            FailureKind::DiskFull,
            "its folder could not be made"
        );
        assert_eq!(end(FailureKind::Retryable, true), FailureKind::Retryable, "its own word");
    }
}

//! From time to time: runs whose time is over go, and then what nothing names any more.

use crate::access::Access;
use crate::clock;
use crate::store::{Change, Error, Store};
use eyot_model::{Millis, Timestamp};
use std::sync::Arc;
use tokio_util::sync::CancellationToken;

/// Runs deleted in one transaction.
const AT_ONCE: u32 = 100;

pub(crate) struct Retention {
    pub(crate) store: Store,
    pub(crate) blobs: eyot_blob::Store,
    pub(crate) access: Access,
    pub(crate) keep_uploads: Millis,
    pub(crate) every: Millis,
    /// No sweep during a back-up.
    pub(crate) backup: Arc<tokio::sync::Mutex<()>>,
}

/// What a sweep removed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Removed {
    pub(crate) runs: u64,
    pub(crate) blobs: u64,
    pub(crate) blob_bytes: u64,
}

impl Retention {
    pub(crate) async fn run(self, stop: CancellationToken) {
        let mut ticks = tokio::time::interval(self.every.as_duration());
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                _ = ticks.tick() => {}
                () = stop.cancelled() => return,
            }
            match self.sweep(clock::now()).await {
                Ok(removed) if removed == Removed::default() => {}
                Ok(removed) => {
                    tracing::info!(
                        runs = removed.runs,
                        blobs = removed.blobs,
                        bytes = removed.blob_bytes,
                        "removed what is over its time"
                    );
                }
                Err(Error::Closed) => return,
                Err(error) => tracing::error!(error = %crate::chain(&error), "nothing could be removed"),
            }
        }
    }

    async fn sweep(&self, now: Timestamp) -> Result<Removed, Error> {
        let _alone = self.backup.lock().await;
        let mut removed = Removed::default();
        loop {
            let over = self.store.expired_runs(now, AT_ONCE).await?;
            if over.is_empty() {
                break;
            }
            let count = over.len() as u64;
            if !self.unless_full(over.into_iter().map(Change::DeleteRun).collect()).await? {
                break;
            }
            removed.runs += count;
        }
        let since = Timestamp(now.0.saturating_sub(self.keep_uploads.0.saturating_mul(1_000)));
        self.unless_full(vec![Change::DropUnusedTexts, Change::Forget { before: since, now }])
            .await?;
        // First, because a result that commits meanwhile moves them from here to there.
        let brought = self.access.unnamed();
        let mut named = self.store.named_blobs(since).await?;
        named.extend(brought);
        let (blobs, young) = (self.blobs.clone(), self.keep_uploads.as_duration());
        match tokio::task::spawn_blocking(move || blobs.sweep(&named, young)).await {
            Ok(Ok(swept)) => {
                removed.blobs = swept.removed;
                removed.blob_bytes = swept.bytes;
            }
            Ok(Err(error)) => tracing::error!(error = %crate::chain(&error), "blobs were not swept"),
            Err(error) => tracing::error!(%error, "blobs were not swept"),
        }
        Ok(removed)
    }

    /// False where there is no room for the commit: then blobs are still swept, which makes some.
    async fn unless_full(&self, changes: Vec<Change>) -> Result<bool, Error> {
        match self.store.commit(vec![], changes).await {
            Ok(()) => Ok(true),
            Err(error) if error.is_full() => Ok(false),
            Err(error) => Err(error),
        }
    }
}

//! Room on the device's disk: looked at all the time, and made where it is short, from what nothing here needs.
//!
//! What goes first are blobs that no run held here names and no result that waits: the cloud has them, or nobody wants
//! them. Then compiled code, which is made again. A run's own blobs and unacknowledged results never go.

use super::Runtime;
use crate::chain;
use eyot_model::{DiskState, FailureKind, Outcome};
use eyot_wasm_host::AttemptEnd;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

/// How often the disk is looked at.
const LOOK_EVERY: Duration = Duration::from_secs(2);
/// How often the cache is brought within its bound while there is room.
const TIDY_EVERY: Duration = Duration::from_secs(60);
/// A blob that was used within this time stays, whatever names it.
const SPARE: Duration = Duration::from_secs(600);
/// The same while the disk is full.
const SPARE_WHEN_FULL: Duration = Duration::from_secs(10);
/// How often the lines that wait are written down while there is no link.
const KEEP_LOGS_EVERY: Duration = Duration::from_secs(300);
/// Damaged blobs that are kept for whoever wants to look at them.
const QUARANTINED: usize = 16;

impl Runtime {
    /// Looks at the disk until the agent stops.
    pub(super) async fn keep_room(self: Arc<Self>) {
        let mut tidied: Option<Instant> = None;
        let mut kept = Instant::now();
        while !self.stopping.load(Ordering::Relaxed) {
            let state = self.journal.refresh_disk();
            let short = state != DiskState::Normal;
            if short || tidied.is_none_or(|at| at.elapsed() >= TIDY_EVERY) {
                tidied = Some(Instant::now());
                let this = Arc::clone(&self);
                if let Err(error) = tokio::task::spawn_blocking(move || this.tidy(state)).await {
                    tracing::error!(%error, "the disk could not be tidied");
                }
            }
            if !self.is_linked() && kept.elapsed() >= KEEP_LOGS_EVERY {
                kept = Instant::now();
                let this = Arc::clone(&self);
                // A panic in it would show in the log by itself.
                let _ = tokio::task::spawn_blocking(move || crate::log_file::save(&this.data, &this.logs)).await;
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    /// Makes room at once for something that found none; true if there is more than before.
    pub(super) fn make_room(&self) -> bool {
        self.journal.refresh_disk();
        self.tidy(DiskState::Full)
    }

    /// Brings the caches within their bounds, which depend on how the disk is; true if something went.
    fn tidy(&self, state: DiskState) -> bool {
        let limits = &self.limits;
        let (keep, free, spare) = match state {
            DiskState::Normal => (limits.cache_bytes, 0, SPARE),
            // Beyond the mark, so that the next blob does not bring it back at once.
            DiskState::High => (limits.cache_bytes, limits.marks.high_free / 4, SPARE),
            DiskState::Critical | DiskState::Full => (0, u64::MAX, SPARE_WHEN_FULL),
        };
        let mut made = false;
        match self.blobs.evict(&self.look(eyot_node::Node::pinned_blobs), keep, free, spare) {
            Ok(swept) if swept.removed > 0 => {
                made = true;
                tracing::info!(
                    blobs = swept.removed,
                    bytes = swept.bytes,
                    "removed blobs that nothing here needs any more"
                );
            }
            Ok(_) => {}
            Err(error) => tracing::warn!(error = chain(&error), "blobs that nothing needs could not be removed"),
        }
        let full = state >= DiskState::Critical;
        if let Err(error) = self.blobs.keep_quarantined(if full { 0 } else { QUARANTINED }) {
            tracing::warn!(error = chain(&error), "damaged blobs that were set aside could not be removed");
        }
        match self.host.trim_cache(if full { 0 } else { limits.compiled_bytes }) {
            Ok(freed) if freed > 0 => {
                made = true;
                tracing::info!(bytes = freed, "removed compiled code; it is made again when it is needed");
            }
            Ok(_) => {}
            Err(error) => tracing::warn!(error = chain(&error), "compiled code could not be removed"),
        }
        if made {
            self.journal.refresh_disk();
        }
        made
    }

    /// A task that fails while its private folder is on a full disk failed by the disk, whatever it makes of that itself.
    pub(super) fn excuse(&self, mut end: AttemptEnd) -> AttemptEnd {
        if let Outcome::Failed(failure) = &mut end.outcome
            && matches!(
                failure.kind,
                FailureKind::InvalidInput | FailureKind::Permanent | FailureKind::Retryable | FailureKind::Trap
            )
            && self.journal.refresh_disk() >= DiskState::Critical
        {
            failure.kind = FailureKind::DiskFull;
            failure.message = format!("it failed while the disk had no room: {}", failure.message);
        }
        end
    }
}

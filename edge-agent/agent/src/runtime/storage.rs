//! Opening what the agent has on disk, and building the node from it.

use crate::config::DiskLimits;
use eyot_checkpoint::{Checkpoint, Config as JournalConfig, News, OsDisk, Service, SledSource, Timing};
use eyot_clock::Clock;
use eyot_ledger::NodeFold;
use eyot_model::Capacity;
use eyot_node::{Config, Node, Recovered};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;

/// sled's cache; an idle agent's memory is mostly this.
const CACHE_BYTES: u64 = 4 << 20;

#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    #[error("data folder `{path}` cannot be used")]
    Folder { path: String, source: std::io::Error },
    #[error("journal cannot be opened")]
    Journal(#[source] eyot_checkpoint::OpenError),
    #[error("checkpoint store is damaged and cannot be built anew")]
    Rebuild(#[source] eyot_checkpoint::FoldError),
    #[error("checkpoint store cannot be read")]
    Store(#[source] eyot_checkpoint::store::StoreError),
    #[error("thread of the journal cannot be started")]
    Thread(#[source] std::io::Error),
}

/// Journal, checkpoint and the node that they make.
pub struct Storage {
    pub(super) node: Node,
    pub(super) service: Service,
    pub(super) news: mpsc::UnboundedReceiver<News>,
}

impl Storage {
    /// Opens the folders `journal` and `checkpoint` under `data`, whatever state they are in. `generation` is random.
    ///
    /// # Errors
    /// When the disk itself cannot be used.
    pub fn open(data: &Path, capacity: Capacity, limits: &DiskLimits, clock: &Clock, generation: u64) -> Result<Self, OpenError> {
        let folder = |path: &Path, source| OpenError::Folder {
            path: path.display().to_string(),
            source,
        };
        crate::quarantine::tidy(data);
        let journal = data.join("journal");
        std::fs::create_dir_all(&journal).map_err(|e| folder(&journal, e))?;
        let disk = OsDisk::open(&journal).map_err(|e| folder(&journal, e))?;
        let source = SledSource::new(data.join("checkpoint"), CACHE_BYTES).rewrite_from(limits.checkpoint_bytes);
        let now = clock.now();
        let label = now.as_millis().to_string();
        let (mut checkpoint, found) = Checkpoint::open(
            JournalConfig {
                segment_bytes: limits.segment_bytes,
                journal_bytes: limits.journal_bytes,
                fold_bytes: (16 << 20).min(limits.journal_bytes / 3),
                marks: limits.marks,
            },
            Arc::new(disk),
            Arc::new(source),
            Arc::new(NodeFold),
            generation.max(1),
            &label,
        )
        .map_err(OpenError::Journal)?;
        let report = &found.report;
        for damage in &report.damage {
            tracing::error!(?damage, "damage in the journal");
        }
        if let Some(loss) = &report.loss {
            tracing::error!(?loss, "records may have been lost; a new generation begins");
        }
        let (tell, news) = mpsc::unbounded_channel();
        let timing = Timing {
            sync_every: Duration::from_millis(25),
            ..Timing::default()
        };
        let records = match eyot_ledger::read(&found) {
            Ok(records) => records,
            // It opened, and is damaged within.
            Err(error) => {
                checkpoint.replace_store(&crate::chain(&error)).map_err(OpenError::Rebuild)?;
                eyot_ledger::read(&found).map_err(OpenError::Store)?
            }
        };
        // What the node writes next gets the number that it expects.
        let last = report.taken;
        let synced = eyot_ledger::durable(&checkpoint, report);
        let recovered = Recovered { records, last, synced };
        let (node, recovery) = Node::recover_on(Config { capacity }, recovered, checkpoint.disk_state(), now);
        for (run, error) in &recovery.lost {
            tracing::error!(%run, %error, "a run cannot be rebuilt by this version of the agent; the cloud will be told");
        }
        for run in &recovery.incomplete {
            tracing::error!(%run, "a part of the history of a run of this agent's own is lost; it is left out");
        }
        tracing::info!(
            runs = recovery.runs,
            records = recovery.records,
            clean = report.clean,
            torn_bytes = report.torn_bytes,
            "state recovered"
        );
        let service = checkpoint
            .start(timing, move |item| {
                // The receiver goes only when the runtime does.
                let _ = tell.send(item);
            })
            .map_err(OpenError::Thread)?;
        Ok(Self { node, service, news })
    }
}

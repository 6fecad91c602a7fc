//! Workflows that were read and are still what the store says.

use super::Change;
use eyot_model::Workflow;
use parking_lot::Mutex;
use std::collections::HashMap;
use std::sync::Arc;

/// Most workflows that are kept.
const MOST: usize = 256;
/// Workflows of more tasks are read each time: a run of one takes longer than that.
const TASKS: usize = 1_000;

/// Namespace, name and version; None for the version that was stored last.
pub(super) type Key = (String, String, Option<String>);

#[derive(Debug, Default)]
pub(super) struct Specs(Mutex<Inner>);

#[derive(Debug, Default)]
struct Inner {
    known: HashMap<Key, Arc<Workflow>>,
    /// Counts the times that all was forgotten.
    generation: u64,
}

impl Specs {
    /// The workflow; if it is not here, the generation under which it may be put.
    pub(super) fn get(&self, key: &Key) -> Result<Arc<Workflow>, u64> {
        let inner = self.0.lock();
        inner.known.get(key).cloned().ok_or(inner.generation)
    }

    /// Keeps what was read after [`Specs::get`] gave `generation`, unless all was forgotten since.
    pub(super) fn put(&self, key: Key, workflow: Arc<Workflow>, generation: u64) {
        let mut inner = self.0.lock();
        if inner.generation != generation || workflow.tasks.len() > TASKS {
            return;
        }
        if inner.known.len() >= MOST {
            inner.known.clear();
        }
        inner.known.insert(key, workflow);
    }

    /// After these changes were committed, and before anybody is told.
    pub(super) fn committed(&self, changes: &[Change]) {
        if changes
            .iter()
            .any(|c| matches!(c, Change::PutWorkflow(_) | Change::DropUnusedTexts))
        {
            let mut inner = self.0.lock();
            inner.known.clear();
            inner.generation += 1;
        }
    }
}

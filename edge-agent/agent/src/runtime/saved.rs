//! States that tasks saved for themselves: the latest of each task instance.

use eyot_model::{Digest, Path, RunId};
use parking_lot::Mutex;
use std::collections::BTreeMap;

#[derive(Default)]
pub(super) struct Saved(Mutex<BTreeMap<(RunId, Path), State>>);

struct State {
    component: Digest,
    inputs: Digest,
    bytes: Vec<u8>,
}

impl Saved {
    pub(super) fn put(&self, run: RunId, path: Path, component: Digest, inputs: Digest, bytes: Vec<u8>) {
        self.0.lock().insert((run, path), State { component, inputs, bytes });
    }

    /// Only what the same component saved for the same inputs.
    pub(super) fn get(&self, run: RunId, path: Path, component: Digest, inputs: Digest) -> Option<Vec<u8>> {
        let states = self.0.lock();
        let state = states
            .get(&(run, path))
            .filter(|s| s.component == component && s.inputs == inputs)?;
        Some(state.bytes.clone())
    }

    pub(super) fn forget(&self, run: RunId) {
        self.0.lock().retain(|(of, _), _| *of != run);
    }
}

//! How each trigger stands: what keeps it from firing, for whoever asks.

use eyot_node::TriggerKey;
use parking_lot::Mutex;
use std::collections::BTreeMap;

/// Of every trigger that is listened for.
#[derive(Default)]
pub(crate) struct Standings(Mutex<BTreeMap<TriggerKey, Standing>>);

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Standing {
    /// `schedule`, `mqtt` or `file`.
    pub(crate) kind: &'static str,
    /// What is wrong, in words; None while it is listened to.
    pub(crate) wrong: Option<String>,
}

impl Standings {
    pub(super) fn begin(&self, key: TriggerKey, kind: &'static str) {
        self.0.lock().insert(key, Standing { kind, wrong: None });
    }

    /// True if it stood otherwise before: whoever logs it says it once.
    pub(super) fn set(&self, key: &TriggerKey, wrong: Option<String>) -> bool {
        match self.0.lock().get_mut(key) {
            Some(standing) => std::mem::replace(&mut standing.wrong, wrong.clone()) != wrong,
            None => false,
        }
    }

    pub(super) fn end(&self, key: &TriggerKey) {
        self.0.lock().remove(key);
    }

    pub(crate) fn list(&self) -> Vec<(TriggerKey, Standing)> {
        self.0
            .lock()
            .iter()
            .map(|(key, standing)| (key.clone(), standing.clone()))
            .collect()
    }
}

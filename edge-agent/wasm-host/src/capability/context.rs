//! `context`: who the attempt is.

use super::State;
use crate::bindings::eyot::task::context::{Attempt, Host};
use eyot_model::AttemptId;
use std::time::Instant;

pub(crate) struct Context {
    pub(crate) id: AttemptId,
    pub(crate) namespace: String,
    pub(crate) task: String,
}

impl Host for State {
    fn current(&mut self) -> wasmtime::Result<Attempt> {
        let Context { id, namespace, task } = &self.context;
        let remaining = self
            .meter
            .deadline()
            .map(|deadline| deadline.saturating_duration_since(Instant::now()));
        Ok(Attempt {
            run: id.run.to_string(),
            namespace: namespace.clone(),
            task: task.clone(),
            item: id.path.item,
            attempt: id.attempt,
            epoch: id.epoch.0,
            idempotency_key: id.idempotency_key(),
            remaining_ms: remaining.map(|left| left.as_millis().try_into().unwrap_or(u64::MAX)),
        })
    }
}

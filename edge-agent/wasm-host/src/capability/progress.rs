//! `progress`: how far a task has come, shown to people.

use super::State;
use super::log::clip;
use crate::bindings::eyot::task::progress::Host;
use std::time::{Duration, Instant};

/// Least time between two reports; those in between are dropped.
const INTERVAL: Duration = Duration::from_millis(100);
const MAX_MESSAGE_BYTES: usize = 256;

#[derive(Default)]
pub(crate) struct Throttle {
    last: Option<Instant>,
    ended: bool,
}

impl Host for State {
    fn report(&mut self, done: u64, total: u64, message: String) -> wasmtime::Result<()> {
        let now = Instant::now();
        let due = self.progress.last.is_none_or(|last| now.duration_since(last) >= INTERVAL);
        let ends = done >= total && !self.progress.ended;
        if due || ends {
            self.progress.last = Some(now);
            self.progress.ended = done >= total;
            self.services.progress(done, total, clip(&message, MAX_MESSAGE_BYTES));
        }
        Ok(())
    }
}

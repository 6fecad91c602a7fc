//! A task's own saved state: atomic, durable, and moved with the task.
//!
//! What [`load`] gives was saved by the same component for the same inputs, by an earlier attempt or by this one, on this
//! agent or on another. After a crash, a power cut or a move the task takes it up and goes on from there. A [`Checkpointer`]
//! saves from time to time (every 5 s unless asked for otherwise), so that a loop may offer its state at every step:
//!
//! ```
//! use eyot_task::prelude::*;
//!
//! #[eyot_task::data]
//! #[derive(Default)]
//! struct State {
//!     next: u64,
//!     sum: u64,
//! }
//!
//! #[eyot_task::data]
//! pub struct Sum {
//!     sum: u64,
//! }
//!
//! #[eyot_task::task]
//! pub fn add_up(count: u64) -> Result<Sum, Failure> {
//!     let mut checkpoint = checkpoint::Checkpointer::new();
//!     let mut state: State = checkpoint::load()?.unwrap_or_default();
//!     while state.next < count {
//!         state.sum += state.next;
//!         state.next += 1;
//!         checkpoint.maybe_save(&state)?;
//!     }
//!     Ok(Sum { sum: state.sum })
//! }
//! # let host = eyot_task::testing::Host::new();
//! # let outputs = host.run::<AddUpTask>(serde_json::json!({"count": 5})).unwrap();
//! # assert_eq!(outputs["sum"], 10);
//! ```
//!
//! A state has at most 8 MiB. States up to 3 KiB are the cheapest: they lie in the agent's journal itself. Each one costs a
//! sync of the disk, so an agent takes at most 20 a second, and 4 MiB a second, of one attempt; more waits in [`save`].

use crate::{Failure, OrFail, sys};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::time::{Duration, Instant};

/// How often a [`Checkpointer`] saves unless it is told otherwise.
pub const CADENCE: Duration = Duration::from_secs(5);

/// Saves from time to time what it is offered often.
#[derive(Debug)]
pub struct Checkpointer {
    every: Duration,
    last: Instant,
}

impl Default for Checkpointer {
    fn default() -> Self {
        every(CADENCE)
    }
}

/// A [`Checkpointer`] that saves once in this time. What was done since is done twice after a crash, so this is the most
/// work that is ever repeated.
#[must_use]
pub fn every(time: Duration) -> Checkpointer {
    Checkpointer {
        every: time,
        last: Instant::now(),
    }
}

impl Checkpointer {
    /// One that saves every 5 s.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Saves `state` if it is time, and says whether it did. Costs a look at the clock otherwise.
    ///
    /// # Errors
    /// As [`save`].
    pub fn maybe_save<T: Serialize + ?Sized>(&mut self, state: &T) -> Result<bool, Failure> {
        self.maybe_save_with(|| Ok(state))
    }

    /// As [`Checkpointer::maybe_save`], where making the state costs something: it is asked for only if it is time.
    ///
    /// # Errors
    /// As [`save`], and what making the state comes to.
    pub fn maybe_save_with<T: Serialize>(&mut self, state: impl FnOnce() -> Result<T, Failure>) -> Result<bool, Failure> {
        if self.last.elapsed() < self.every {
            return Ok(false);
        }
        save(&state()?)?;
        self.last = Instant::now();
        Ok(true)
    }
}

/// Saves `state` in place of what was saved before.
///
/// # Errors
/// When the agent cannot keep it (retryable), or `state` cannot be written as JSON.
pub fn save<T: Serialize + ?Sized>(state: &T) -> Result<(), Failure> {
    save_bytes(&serde_json::to_vec(state).or_permanent("writing the checkpoint")?)
}

/// The state that was saved last, if there is any.
///
/// # Errors
/// When what was saved is not a `T`: the type changed without the component's doing, so the state is of no use.
pub fn load<T: DeserializeOwned>() -> Result<Option<T>, Failure> {
    load_bytes()
        .map(|bytes| serde_json::from_slice(&bytes).or_permanent("reading the checkpoint"))
        .transpose()
}

/// As [`save`], for bytes that the task writes in a form of its own.
///
/// # Errors
/// When the agent cannot keep it (retryable).
pub fn save_bytes(state: &[u8]) -> Result<(), Failure> {
    sys::checkpoint_save(state).map_err(|reason| Failure::retryable(format!("the checkpoint was not saved: {reason}")))
}

/// As [`load`], for bytes.
#[must_use]
pub fn load_bytes() -> Option<Vec<u8>> {
    sys::checkpoint_load()
}

//! A task's own saved state: atomic, durable, and moved with the task.
//!
//! What [`load`] gives was saved by the same component for the same inputs, by an earlier attempt or by this one.

use crate::{Failure, OrFail, sys};
use serde::Serialize;
use serde::de::DeserializeOwned;

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

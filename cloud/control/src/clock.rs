//! The wall clock, as the rest of the system counts it.

use eyot_model::{RunId, Timestamp};
use std::time::{SystemTime, UNIX_EPOCH};

/// Now.
#[must_use]
pub(crate) fn now() -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp(u64::try_from(since.as_micros()).unwrap_or(u64::MAX))
}

/// A new id for a run that begins now.
///
/// # Errors
/// When the system gives no random numbers.
pub(crate) fn run_id(at: Timestamp) -> Result<RunId, getrandom::Error> {
    let mut random = [0; 16];
    getrandom::fill(&mut random)?;
    Ok(RunId::new(at, u128::from_le_bytes(random)))
}

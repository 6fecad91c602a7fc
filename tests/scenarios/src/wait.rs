//! Waiting for something to become true, not for a time to pass.

use anyhow::{Result, bail};
use std::time::{Duration, Instant};

/// Longest wait for anything. A scenario takes seconds; this is for machines that are busy with other things.
pub const LIMIT: Duration = Duration::from_secs(60);
const PAUSE: Duration = Duration::from_millis(20);

/// Asks until there is an answer. What cannot be asked at the moment is asked again: a control plane may be down for a
/// while, as some scenarios want it.
///
/// # Errors
/// When there is no answer within [`LIMIT`]; the last error is the cause.
pub async fn until<T>(what: &str, ask: impl AsyncFnMut() -> Result<Option<T>>) -> Result<T> {
    until_within(LIMIT, what, ask).await
}

/// As [`until`], for what may take longer than [`LIMIT`], or must not take as long.
///
/// # Errors
/// When there is no answer within `limit`; the last error is the cause.
pub async fn until_within<T>(limit: Duration, what: &str, mut ask: impl AsyncFnMut() -> Result<Option<T>>) -> Result<T> {
    let begun = Instant::now();
    loop {
        let last = match ask().await {
            Ok(Some(answer)) => return Ok(answer),
            Ok(None) => None,
            Err(error) => Some(error),
        };
        if begun.elapsed() > limit {
            match last {
                Some(error) => return Err(error.context(format!("waited in vain until {what}"))),
                None => bail!("waited in vain until {what}"),
            }
        }
        tokio::time::sleep(PAUSE).await;
    }
}

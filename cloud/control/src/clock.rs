//! The control plane's clock: steady time for everything that waits or is ordered, and the time of day.

use eyot_clock::{Clock, Keeper, Rest};
use eyot_model::{Millis, RunId, Timestamp};
use std::path::Path;
use std::sync::{LazyLock, OnceLock};
use tokio_util::sync::CancellationToken;

/// Farthest step of the system's clock that is followed without a restart of the machine: what is kept for a while ages
/// by it.
const MOST: Millis = Millis(3_600_000);

static KEPT: OnceLock<Clock> = OnceLock::new();
static UNKEPT: LazyLock<Clock> = LazyLock::new(Clock::start);

/// From now on the clock is the one of this data folder; the first of a process counts.
pub(crate) fn open(data: &Path) {
    let _ = KEPT.set(Clock::open(data));
}

fn clock() -> &'static Clock {
    KEPT.get().unwrap_or_else(|| &UNKEPT)
}

/// Steady time: a clock that is set neither fires what waits nor loses it.
#[must_use]
pub(crate) fn now() -> Timestamp {
    clock().now()
}

/// The time of day, for certificates and for comparing clocks.
#[must_use]
pub(crate) fn wall() -> Timestamp {
    clock().wall()
}

/// To be called only while nothing unfinished has a time.
pub(crate) fn follow() {
    clock().rebase(Rest {
        witness: None,
        may_go_back: false,
        most: MOST,
    });
}

/// Writes the time down now and then, until `stop`.
pub(crate) async fn keep(stop: CancellationToken) {
    let mut keeper = Keeper::new(clock().clone());
    let mut ticks = tokio::time::interval(Keeper::EVERY);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = ticks.tick() => keeper = match tokio::task::spawn_blocking(move || {
                keeper.tick();
                keeper
            })
            .await
            {
                Ok(keeper) => keeper,
                Err(error) => return tracing::error!(%error, "the time is not kept any more"),
            },
            () = stop.cancelled() => break,
        }
    }
    if let Err(error) = clock().save() {
        tracing::warn!(%error, "the time could not be written down");
    }
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

//! What a program does about its clock now and then.

use crate::clock::Clock;
use crate::timeline::SKEW_LIMIT;
use std::time::Duration;

/// Writes the time down now and then, and says when the system's clock was set.
#[derive(Debug)]
pub struct Keeper {
    clock: Clock,
    ticks: u32,
    /// The step that was told of last, in milliseconds.
    told_millis: i64,
}

impl Keeper {
    /// How often [`Keeper::tick`] is to be called.
    pub const EVERY: Duration = Duration::from_secs(30);
    /// The time is written down at every so many ticks: a device loses at most five minutes by a power cut.
    const SAVE: u32 = 10;

    #[must_use]
    pub fn new(clock: Clock) -> Self {
        Self {
            clock,
            ticks: 0,
            told_millis: 0,
        }
    }

    /// Blocks for as long as a small file takes.
    pub fn tick(&mut self) {
        let step_millis = self.clock.step_millis();
        if step_millis.abs_diff(self.told_millis) > SKEW_LIMIT.0 {
            tracing::warn!(
                step_millis,
                "the system's clock was set while this program runs: nothing that waits is affected; times of events follow when nothing waits, or after the next boot"
            );
            self.told_millis = step_millis;
        }
        self.ticks += 1;
        if self.ticks.is_multiple_of(Self::SAVE)
            && let Err(error) = self.clock.save()
        {
            tracing::warn!(%error, "the time could not be written down");
        }
    }
}

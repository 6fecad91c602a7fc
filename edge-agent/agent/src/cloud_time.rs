//! The time of day as the control plane has it.

use eyot_clock::{Clock, SKEW_LIMIT};
use eyot_model::Timestamp;

/// What the control plane's clock said at one moment. Goes on by the monotonic clock, whatever this device's is set to.
#[derive(Clone, Copy, Debug)]
pub(crate) struct CloudTime {
    at: Timestamp,
    since_boot_micros: u64,
}

impl CloudTime {
    /// `at` came in just now.
    pub(crate) fn heard(at: Timestamp, clock: &Clock) -> Self {
        Self {
            at,
            since_boot_micros: clock.since_boot_micros(),
        }
    }

    pub(crate) fn now(&self, clock: &Clock) -> Timestamp {
        let passed = clock.since_boot_micros().saturating_sub(self.since_boot_micros);
        Timestamp(self.at.0.saturating_add(passed))
    }

    /// By how much this device's time of day is ahead of the control plane's, in milliseconds.
    pub(crate) fn skew_millis(&self, clock: &Clock) -> i64 {
        clock.wall().millis_after(self.now(clock))
    }
}

/// Says once that the clocks differ, and once that they agree again.
#[derive(Debug, Default)]
pub(crate) struct SkewWatch {
    skewed: bool,
}

impl SkewWatch {
    pub(crate) fn look(&mut self, skew_millis: i64) {
        let skewed = skew_millis.unsigned_abs() > SKEW_LIMIT.0;
        match (skewed, self.skewed) {
            (true, false) => tracing::warn!(
                skew_millis,
                "this device's clock and the control plane's differ: cron triggers fire by this device's; set it, or let it follow a time server"
            ),
            (false, true) => tracing::info!(skew_millis, "this device's clock agrees with the control plane's again"),
            _ => {}
        }
        self.skewed = skewed;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use eyot_clock::{BootId, Source};
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU64, Ordering};

    #[derive(Clone, Default)]
    struct Fake {
        since_boot: Arc<AtomicU64>,
        wall: Arc<AtomicU64>,
    }

    impl Source for Fake {
        fn since_boot_micros(&self) -> u64 {
            self.since_boot.load(Ordering::Relaxed)
        }

        fn wall(&self) -> Timestamp {
            Timestamp(self.wall.load(Ordering::Relaxed))
        }

        fn boot(&self) -> BootId {
            BootId(1)
        }
    }

    #[test]
    fn the_control_planes_time_goes_on_while_this_devices_clock_is_set() {
        let fake = Fake::default();
        let start = 2_000_000_000_000_000;
        fake.wall.store(start, Ordering::Relaxed);
        let clock = Clock::with(None, fake.clone());
        let cloud = CloudTime::heard(Timestamp(start + 5_000), &clock);
        assert_eq!(cloud.skew_millis(&clock), -5);
        fake.since_boot.store(60_000_000, Ordering::Relaxed);
        fake.wall.store(start + 3_660_000_000, Ordering::Relaxed);
        assert_eq!(cloud.now(&clock), Timestamp(start + 60_005_000));
        assert_eq!(cloud.skew_millis(&clock), 3_599_995);
    }

    #[test]
    fn skew_is_told_when_it_comes_and_when_it_goes() {
        let mut watch = SkewWatch::default();
        for (skew, skewed) in [(0, false), (30_000, false), (-30_001, true), (90_000, true), (1, false)] {
            watch.look(skew);
            assert_eq!(watch.skewed, skewed, "{skew}");
        }
    }
}

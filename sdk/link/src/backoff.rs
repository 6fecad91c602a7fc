//! How long to wait before the next attempt.

use std::time::Duration;

/// First delay, doubled with each attempt.
const FIRST: Duration = Duration::from_millis(50);
/// Longest delay while the link was lost only recently …
const CAP_EARLY: Duration = Duration::from_secs(1);
/// … and later.
const CAP_LATE: Duration = Duration::from_secs(30);

/// Full jitter: a delay is uniform between nothing and a bound that doubles, so that ten thousand agents that lose the
/// link together do not come back together. Pure: time and randomness are arguments.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Backoff {
    attempts: u32,
}

impl Backoff {
    /// An outage is a recent one for so long.
    pub const EARLY: Duration = Duration::from_secs(5 * 60);

    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The wait before the next attempt. `outage` is the time since the link was lost, `random` is uniform.
    pub fn next(&mut self, outage: Duration, random: u64) -> Duration {
        let bound = Self::bound(self.attempts, outage);
        self.attempts = self.attempts.saturating_add(1);
        // Nanoseconds of at most 30 s fit easily.
        let span = u64::try_from(bound.as_nanos()).unwrap_or(u64::MAX);
        let at = (u128::from(random) * (u128::from(span) + 1)) >> 64;
        Duration::from_nanos(u64::try_from(at).unwrap_or(span))
    }

    /// The link is up: begin anew the next time.
    pub fn reset(&mut self) {
        self.attempts = 0;
    }

    fn bound(attempts: u32, outage: Duration) -> Duration {
        let cap = if outage < Self::EARLY { CAP_EARLY } else { CAP_LATE };
        FIRST.saturating_mul(1 << attempts.min(16)).min(cap)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn delays_stay_within_their_bounds(randoms in proptest::collection::vec(any::<u64>(), 1..64), outage in 0u64..3_600) {
            let outage = Duration::from_secs(outage);
            let mut backoff = Backoff::new();
            for (n, random) in randoms.into_iter().enumerate() {
                let delay = backoff.next(outage, random);
                let cap = if outage < Backoff::EARLY { CAP_EARLY } else { CAP_LATE };
                prop_assert!(delay <= cap);
                prop_assert!(delay <= FIRST * 2u32.saturating_pow(u32::try_from(n).unwrap()));
            }
        }

        #[test]
        fn jitter_is_full(attempts in 0u32..20) {
            let mut low = Backoff { attempts };
            let mut high = low;
            prop_assert_eq!(low.next(Duration::ZERO, 0), Duration::ZERO);
            prop_assert_eq!(high.next(Duration::ZERO, u64::MAX), Backoff::bound(attempts, Duration::ZERO));
        }
    }

    #[test]
    fn the_cap_rises_after_five_minutes_and_success_starts_anew() {
        let mut backoff = Backoff { attempts: 30 };
        assert_eq!(backoff.next(Backoff::EARLY - Duration::from_nanos(1), u64::MAX), CAP_EARLY);
        assert_eq!(backoff.next(Backoff::EARLY, u64::MAX), CAP_LATE);
        backoff.reset();
        assert_eq!(backoff.next(Backoff::EARLY, u64::MAX), FIRST);
    }
}

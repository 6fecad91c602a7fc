//! When a silent peer becomes a suspect.

use std::time::{Duration, Instant};

/// So many heart-beats in a row must be missed.
const MISSED: u32 = 3;

/// Watches the heart-beats of one peer. Pure: time is an argument.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pulse {
    every: Duration,
    last: Instant,
    suspect: bool,
}

impl Pulse {
    pub(crate) fn new(every: Duration, now: Instant) -> Self {
        Self {
            every,
            last: now,
            suspect: false,
        }
    }

    /// A heart-beat came. True if the peer was suspect until now.
    pub(crate) fn beat(&mut self, now: Instant) -> bool {
        self.last = now;
        std::mem::take(&mut self.suspect)
    }

    pub(crate) fn set_every(&mut self, every: Duration) {
        self.every = every;
    }

    /// When [`Pulse::timeout`] is to be called; None while the peer is suspect.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        // Half an interval of grace: the third miss is certain, not a matter of jitter.
        (!self.suspect).then(|| self.last + self.every * MISSED + self.every / 2)
    }

    /// True if the peer becomes suspect now.
    pub(crate) fn timeout(&mut self, now: Instant) -> bool {
        let due = self.deadline().is_some_and(|at| at <= now);
        self.suspect |= due;
        due
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn three_missed_make_a_suspect_and_one_beat_restores() {
        let second = Duration::from_secs(1);
        let start = Instant::now();
        let mut pulse = Pulse::new(second, start);
        assert!(!pulse.beat(start + second));
        assert!(!pulse.timeout(start + second * 4));
        assert!(pulse.timeout(start + second * 5));
        assert!(!pulse.timeout(start + second * 6), "said once");
        assert_eq!(pulse.deadline(), None);
        assert!(pulse.beat(start + second * 7));
        assert!(!pulse.timeout(start + second * 8));
        pulse.set_every(second * 10);
        assert!(!pulse.timeout(start + second * 20));
    }
}

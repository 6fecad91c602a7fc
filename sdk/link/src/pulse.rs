//! When a silent peer becomes a suspect, and when it is taken for gone.

use std::time::{Duration, Instant};

/// So many heart-beats in a row must be missed before a peer is suspect.
const MISSED: u32 = 3;
/// And so many before it is gone.
const MISSED_GONE: u32 = 6;
/// It is not gone sooner than this, however short the interval: a device that is short of breath is not lost.
const SOONEST_GONE: Duration = Duration::from_secs(5);

/// What the silence of a peer means now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Silence {
    Suspect,
    Gone,
}

/// Watches the heart-beats of one peer. Pure: time is an argument.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pulse {
    every: Duration,
    last: Instant,
    suspect: bool,
    gone: bool,
}

impl Pulse {
    pub(crate) fn new(every: Duration, now: Instant) -> Self {
        Self {
            every,
            last: now,
            suspect: false,
            gone: false,
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

    /// When [`Pulse::timeout`] is to be called; None once the peer is gone.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        let missed = if self.suspect { MISSED_GONE } else { MISSED };
        // Half an interval of grace: the last miss is certain, not a matter of jitter.
        let silence = self.every * missed + self.every / 2;
        let silence = if self.suspect { silence.max(SOONEST_GONE) } else { silence };
        (!self.gone).then(|| self.last + silence)
    }

    /// What the peer becomes now, if it is anything new.
    pub(crate) fn timeout(&mut self, now: Instant) -> Option<Silence> {
        self.deadline().filter(|at| *at <= now)?;
        if std::mem::replace(&mut self.suspect, true) {
            self.gone = true;
            return Some(Silence::Gone);
        }
        Some(Silence::Suspect)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn three_missed_make_a_suspect_one_beat_restores_and_six_are_the_end() {
        let second = Duration::from_secs(1);
        let start = Instant::now();
        let mut pulse = Pulse::new(second, start);
        assert!(!pulse.beat(start + second));
        assert_eq!(pulse.timeout(start + second * 4), None);
        assert_eq!(pulse.timeout(start + second * 5), Some(Silence::Suspect));
        assert_eq!(pulse.timeout(start + second * 6), None, "said once");
        assert!(pulse.beat(start + second * 7));
        assert_eq!(pulse.timeout(start + second * 8), None);
        assert_eq!(pulse.timeout(start + second * 11), Some(Silence::Suspect));
        assert_eq!(pulse.timeout(start + second * 13), None);
        assert_eq!(pulse.timeout(start + second * 14), Some(Silence::Gone));
        assert_eq!((pulse.deadline(), pulse.timeout(start + second * 99)), (None, None), "said once");

        let mut pulse = Pulse::new(second / 20, start);
        assert_eq!(pulse.timeout(start + second), Some(Silence::Suspect));
        assert_eq!(pulse.timeout(start + second * 4), None, "no sooner than five seconds");
        assert_eq!(pulse.timeout(start + second * 6), Some(Silence::Gone));

        let mut pulse = Pulse::new(second, start);
        pulse.set_every(second * 10);
        assert_eq!(pulse.timeout(start + second * 30), None);
    }
}

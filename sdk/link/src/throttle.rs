//! Keeps what strangers cause from filling the log.

use std::time::{Duration, Instant};

const EVERY: Duration = Duration::from_secs(10);

/// Lets one of a kind through at a time and counts the others.
#[derive(Debug, Default)]
pub(crate) struct Throttle {
    next: Option<Instant>,
    suppressed: u64,
}

impl Throttle {
    /// Whether to log now, and how many were not logged since the last time.
    pub(crate) fn admit(&mut self, now: Instant) -> Option<u64> {
        if self.next.is_some_and(|at| now < at) {
            self.suppressed += 1;
            return None;
        }
        self.next = Some(now + EVERY);
        Some(std::mem::take(&mut self.suppressed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_line_at_a_time_and_the_rest_is_counted() {
        let start = Instant::now();
        let mut throttle = Throttle::default();
        assert_eq!(throttle.admit(start), Some(0));
        assert_eq!(throttle.admit(start + EVERY / 3), None);
        assert_eq!(throttle.admit(start + EVERY / 2), None);
        assert_eq!(throttle.admit(start + EVERY), Some(2));
    }
}

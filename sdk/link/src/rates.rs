//! How fast a link is, from what it moved.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Shorter transfers say more about latency than about bandwidth.
const ENOUGH: u64 = 256 << 10;

/// Bytes per second; None until enough was moved.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Bandwidth {
    /// From here to the peer.
    pub up: Option<u64>,
    pub down: Option<u64>,
}

#[derive(Debug, Default)]
pub(crate) struct Rates {
    up: AtomicU64,
    down: AtomicU64,
}

impl Rates {
    pub(crate) fn sent(&self, bytes: u64, took: Duration) {
        note(&self.up, bytes, took);
    }

    pub(crate) fn received(&self, bytes: u64, took: Duration) {
        note(&self.down, bytes, took);
    }

    pub(crate) fn bandwidth(&self) -> Bandwidth {
        let get = |rate: &AtomicU64| Some(rate.load(Ordering::Relaxed)).filter(|r| *r > 0);
        Bandwidth {
            up: get(&self.up),
            down: get(&self.down),
        }
    }
}

/// A moving average: each new transfer counts a quarter.
fn note(rate: &AtomicU64, bytes: u64, took: Duration) {
    if bytes < ENOUGH {
        return;
    }
    let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX).max(1);
    let new = bytes.saturating_mul(1_000_000) / micros;
    let old = rate.load(Ordering::Relaxed);
    let average = if old == 0 { new } else { old / 4 * 3 + new / 4 };
    rate.store(average.max(1), Ordering::Relaxed);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn small_transfers_do_not_count_and_the_average_moves() {
        let rates = Rates::default();
        rates.sent(1_000, Duration::from_millis(1));
        assert_eq!(rates.bandwidth(), Bandwidth::default());
        rates.sent(1 << 20, Duration::from_secs(1));
        assert_eq!(rates.bandwidth().up, Some(1 << 20));
        rates.sent(2 << 20, Duration::from_secs(1));
        assert_eq!(rates.bandwidth().up, Some((1 << 20) / 4 * 5));
    }
}

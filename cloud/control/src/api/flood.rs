//! A bucket of requests for each address: who floods is told to wait, and the others go on.

use super::Error;
use parking_lot::Mutex;
use std::collections::HashMap;
use std::net::IpAddr;
use std::time::Instant;

/// Addresses remembered before full buckets are forgotten.
const REMEMBERED: usize = 4_096;

/// Requests per second and address, with a burst of two seconds' worth.
#[derive(Debug)]
pub(crate) struct Flood {
    per_sec: f64,
    buckets: Mutex<HashMap<Option<IpAddr>, Bucket>>,
}

#[derive(Clone, Copy, Debug)]
struct Bucket {
    left: f64,
    at: Instant,
}

impl Flood {
    /// 0 means no limit.
    pub(crate) fn new(per_sec: u32) -> Self {
        Self {
            per_sec: f64::from(per_sec),
            buckets: Mutex::default(),
        }
    }

    pub(crate) fn take(&self, peer: &Option<IpAddr>) -> Result<(), Error> {
        self.take_at(peer, Instant::now())
    }

    fn take_at(&self, peer: &Option<IpAddr>, now: Instant) -> Result<(), Error> {
        if self.per_sec <= 0.0 {
            return Ok(());
        }
        let burst = self.per_sec * 2.0;
        let refilled = |bucket: &Bucket| (bucket.left + now.duration_since(bucket.at).as_secs_f64() * self.per_sec).min(burst);
        let mut buckets = self.buckets.lock();
        if buckets.len() > REMEMBERED {
            buckets.retain(|_, bucket| refilled(bucket) < burst);
        }
        let bucket = buckets.entry(*peer).or_insert(Bucket { left: burst, at: now });
        let left = refilled(bucket);
        if left < 1.0 {
            return Err(Error::busy("too many requests from this address"));
        }
        *bucket = Bucket { left: left - 1.0, at: now };
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn a_flood_is_stopped_for_its_own_address_alone_and_time_heals() {
        let flood = Flood::new(10);
        let (one, two) = (Some(IpAddr::from([10, 0, 0, 1])), Some(IpAddr::from([10, 0, 0, 2])));
        let start = Instant::now();
        assert_eq!((0..50).filter(|_| flood.take_at(&one, start).is_ok()).count(), 20);
        assert!(flood.take_at(&two, start).is_ok());
        let later = start + Duration::from_millis(500);
        assert_eq!((0..50).filter(|_| flood.take_at(&one, later).is_ok()).count(), 5);
        let unlimited = Flood::new(0);
        assert!((0..10_000).all(|_| unlimited.take_at(&one, start).is_ok()));
    }
}

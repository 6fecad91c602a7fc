//! Places that strangers take, of which no address has all.

use parking_lot::Mutex;
use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::Arc;
use tokio::sync::Notify;

/// How many times more than are free one network may hold: a lone one gets three quarters, and leaves a quarter to the next,
/// of which that one leaves a quarter again.
const SHARE: usize = 3;
/// Bits of an IPv6 address that tell networks apart: a host may have all the addresses behind them.
const NETWORK_BITS: u32 = 64;

/// A number of places, shared between the networks that ask for them.
pub(super) struct Places {
    total: usize,
    taken: Mutex<Taken>,
    freed: Notify,
}

#[derive(Default)]
struct Taken {
    all: usize,
    by: BTreeMap<IpAddr, usize>,
}

/// One of them, until it is dropped.
pub(super) struct Place {
    places: Arc<Places>,
    network: IpAddr,
}

/// Why there is no place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Lack {
    /// All are taken.
    Full,
    /// The network holds its share of what there is.
    Share,
}

impl Places {
    pub(super) fn new(total: usize) -> Arc<Self> {
        Arc::new(Self {
            total,
            taken: Mutex::default(),
            freed: Notify::new(),
        })
    }

    /// Whether half of them are taken.
    pub(super) fn busy(&self) -> bool {
        self.taken.lock().all * 2 > self.total
    }

    pub(super) fn take(self: &Arc<Self>, peer: IpAddr) -> Result<Place, Lack> {
        let network = network(peer);
        let mut taken = self.taken.lock();
        let free = self.total.saturating_sub(taken.all);
        let held = taken.by.get(&network).copied().unwrap_or_default();
        if held > 0 && held >= free * SHARE {
            return Err(Lack::Share);
        }
        if free == 0 {
            return Err(Lack::Full);
        }
        taken.all += 1;
        taken.by.insert(network, held + 1);
        Ok(Place {
            places: Arc::clone(self),
            network,
        })
    }

    /// Waits for a place where all are taken; not where the network holds its share, because others would wait behind it.
    /// For one caller at a time.
    pub(super) async fn wait(self: &Arc<Self>, peer: IpAddr) -> Option<Place> {
        loop {
            let freed = self.freed.notified();
            match self.take(peer) {
                Ok(place) => return Some(place),
                Err(Lack::Share) => return None,
                Err(Lack::Full) => freed.await,
            }
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut taken = self.places.taken.lock();
        taken.all -= 1;
        if let Some(held) = taken.by.get_mut(&self.network) {
            *held -= 1;
            if *held == 0 {
                taken.by.remove(&self.network);
            }
        }
        drop(taken);
        self.places.freed.notify_one();
    }
}

fn network(peer: IpAddr) -> IpAddr {
    match peer.to_canonical() {
        IpAddr::V6(addr) => Ipv6Addr::from_bits(addr.to_bits() & (u128::MAX << (128 - NETWORK_BITS))).into(),
        v4 @ IpAddr::V4(_) => v4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::Ipv4Addr;

    fn v4(last: u8) -> IpAddr {
        Ipv4Addr::new(192, 0, 2, last).into()
    }

    fn all(places: &Arc<Places>, peer: IpAddr) -> Vec<Place> {
        std::iter::from_fn(|| places.take(peer).ok()).collect()
    }

    #[test]
    fn one_network_gets_three_quarters_and_leaves_the_rest_to_others() {
        let places = Places::new(64);
        let first = all(&places, v4(1));
        assert_eq!(first.len(), 48);
        assert_eq!(places.take(v4(1)).err(), Some(Lack::Share));
        let second = all(&places, v4(2));
        assert_eq!(second.len(), 12);
        assert!(places.take(v4(3)).is_ok());
        drop(first);
        assert!(places.take(v4(1)).is_ok(), "what is given back can be had again");
    }

    #[test]
    fn one_has_a_place_however_few_there_are() {
        let places = Places::new(1);
        let place = places.take(v4(1)).ok().expect("there is one");
        assert_eq!(places.take(v4(2)).err(), Some(Lack::Full));
        assert_eq!(places.take(v4(1)).err(), Some(Lack::Share));
        drop(place);
        assert!(places.take(v4(2)).is_ok());
    }

    #[test]
    fn addresses_of_one_ipv6_network_share_and_a_mapped_address_is_the_ipv4_one() {
        let of = |text: &str| network(text.parse().expect("an address"));
        assert_eq!(of("2001:db8:1:2::1"), of("2001:db8:1:2:ffff::9"));
        assert_ne!(of("2001:db8:1:2::1"), of("2001:db8:1:3::1"));
        assert_eq!(of("::ffff:192.0.2.7"), of("192.0.2.7"));
        assert_ne!(of("192.0.2.7"), of("192.0.2.8"));
    }

    #[tokio::test]
    async fn who_holds_none_waits_for_the_next_that_is_free() {
        let places = Places::new(1);
        let place = places.take(v4(1)).ok().expect("there is one");
        let waiting = tokio::spawn({
            let places = Arc::clone(&places);
            async move { places.wait(v4(2)).await.is_some() }
        });
        assert!(places.wait(v4(1)).await.is_none());
        drop(place);
        assert!(waiting.await.expect("it ends"));
    }
}

//! How many connections one address has: nobody alone takes every place at the API.

use parking_lot::Mutex;
use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::Arc;

/// The connections that are open, by where they come from.
#[derive(Clone)]
pub(crate) struct Crowd {
    most: u32,
    open: Arc<Mutex<HashMap<IpAddr, u32>>>,
}

impl Crowd {
    /// Takes up to `most` of one origin.
    pub(crate) fn new(most: u32) -> Self {
        Self {
            most: most.max(1),
            open: Arc::default(),
        }
    }

    /// A place, until it is dropped; none if the origin has its share.
    pub(crate) fn enter(&self, address: IpAddr) -> Option<Place> {
        let origin = origin(address);
        let mut open = self.open.lock();
        let count = open.entry(origin).or_default();
        if *count >= self.most {
            return None;
        }
        *count += 1;
        Some(Place {
            origin,
            crowd: self.clone(),
        })
    }
}

pub(crate) struct Place {
    origin: IpAddr,
    crowd: Crowd,
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut open = self.crowd.open.lock();
        if let Some(count) = open.get_mut(&self.origin) {
            *count -= 1;
            if *count == 0 {
                open.remove(&self.origin);
            }
        }
    }
}

/// One host has as many addresses as it likes within its /64.
fn origin(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(v6) => {
            let [a, b, c, d, ..] = v6.segments();
            Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0).into()
        }
        v4 @ IpAddr::V4(_) => v4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_origin_has_its_share_and_no_more() {
        let crowd = Crowd::new(2);
        let address = |text: &str| text.parse::<IpAddr>().unwrap();
        let first = crowd.enter(address("2001:db8::1")).unwrap();
        let _second = crowd.enter(address("2001:db8::2")).unwrap();
        assert!(crowd.enter(address("2001:db8::3")).is_none(), "the same /64");
        assert!(crowd.enter(address("2001:db8:0:1::3")).is_some());
        assert!(crowd.enter(address("192.0.2.1")).is_some());
        drop(first);
        assert!(crowd.enter(address("2001:db8::3")).is_some());
    }

    #[test]
    fn what_is_gone_takes_no_memory() {
        let crowd = Crowd::new(2);
        drop(crowd.enter("::ffff:192.0.2.1".parse().unwrap()));
        assert!(crowd.open.lock().is_empty());
    }
}

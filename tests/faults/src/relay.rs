//! A relay of datagrams between agents and a control plane that loses, delays, reorders and doubles them, is cut, and
//! shows the agents under another address.

use anyhow::{Context, Result};
use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::net::UdpSocket;
use tokio::task::AbortHandle;

/// Larger than any datagram of QUIC.
const ROOM: usize = 64 << 10;

/// What happens to datagrams, in both directions.
#[derive(Clone, Copy, Debug, Default)]
pub struct Weather {
    /// Share that is lost, from 0 to 1.
    pub loss: f64,
    /// Share that comes twice.
    pub twice: f64,
    pub delay: Duration,
    /// Added to the delay at random, so that they overtake each other.
    pub jitter: Duration,
    /// Nothing passes.
    pub cut: bool,
}

/// Stops when it is dropped.
#[derive(Debug)]
pub struct Relay {
    address: SocketAddr,
    inner: Arc<Inner>,
    front: AbortHandle,
}

#[derive(Debug)]
struct Inner {
    face: UdpSocket,
    passed: AtomicU64,
    lost: AtomicU64,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    to: Option<SocketAddr>,
    weather: Weather,
    random: fastrand::Rng,
    ways: HashMap<SocketAddr, Way>,
}

/// The address under which one agent is shown to the control plane.
#[derive(Debug)]
struct Way {
    socket: Arc<UdpSocket>,
    reader: AbortHandle,
}

impl Drop for Way {
    fn drop(&mut self) {
        self.reader.abort();
    }
}

impl Relay {
    /// # Errors
    /// When there is no socket for it.
    pub async fn open(random: fastrand::Rng) -> Result<Self> {
        let face = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.context("the relay has no socket")?;
        let address = face.local_addr()?;
        let inner = Arc::new(Inner {
            face,
            passed: AtomicU64::new(0),
            lost: AtomicU64::new(0),
            state: Mutex::new(State {
                to: None,
                weather: Weather::default(),
                random,
                ways: HashMap::new(),
            }),
        });
        let front = tokio::spawn(Arc::clone(&inner).hear_agents()).abort_handle();
        Ok(Self { address, inner, front })
    }

    /// Where agents send to.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Where the control plane is.
    pub fn leads_to(&self, cloud: SocketAddr) {
        self.inner.state().to = Some(cloud);
    }

    pub fn set(&self, weather: Weather) {
        self.inner.state().weather = weather;
    }

    /// Datagrams that were passed on, and that were lost.
    #[must_use]
    pub fn counts(&self) -> (u64, u64) {
        (self.inner.passed.load(Ordering::Relaxed), self.inner.lost.load(Ordering::Relaxed))
    }

    /// Shows every agent under a new port of this address from now on. What is sent to the old one is lost.
    ///
    /// # Errors
    /// When there are no sockets for it.
    pub async fn move_to(&self, ip: Ipv4Addr) -> Result<()> {
        let agents: Vec<SocketAddr> = self.inner.state().ways.keys().copied().collect();
        for agent in agents {
            let way = Inner::way(&self.inner, agent, ip.into()).await?;
            self.inner.state().ways.insert(agent, way);
        }
        Ok(())
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.front.abort();
        self.inner.state().ways.clear();
    }
}

impl Inner {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn way(this: &Arc<Self>, agent: SocketAddr, ip: IpAddr) -> Result<Way> {
        let socket = Arc::new(UdpSocket::bind((ip, 0)).await.context("the relay has no socket")?);
        let reader = tokio::spawn(Arc::clone(this).hear_cloud(agent, Arc::clone(&socket))).abort_handle();
        Ok(Way { socket, reader })
    }

    async fn hear_agents(self: Arc<Self>) {
        let mut room = vec![0; ROOM];
        loop {
            // An error is about a datagram that was sent before, to a port that is closed for now.
            let Ok((length, agent)) = self.face.recv_from(&mut room).await else {
                continue;
            };
            let known = self.state().ways.get(&agent).map(|way| Arc::clone(&way.socket));
            let socket = match known {
                Some(socket) => socket,
                None => {
                    let Ok(way) = Self::way(&self, agent, Ipv4Addr::LOCALHOST.into()).await else {
                        continue;
                    };
                    let socket = Arc::clone(&way.socket);
                    self.state().ways.insert(agent, way);
                    socket
                }
            };
            let Some(to) = self.state().to else { continue };
            for delay in self.fates() {
                let (socket, bytes) = (Arc::clone(&socket), room[..length].to_vec());
                tokio::spawn(async move {
                    tokio::time::sleep(delay).await;
                    let _ = socket.send_to(&bytes, to).await;
                });
            }
        }
    }

    async fn hear_cloud(self: Arc<Self>, agent: SocketAddr, socket: Arc<UdpSocket>) {
        let mut room = vec![0; ROOM];
        loop {
            let Ok(length) = socket.recv(&mut room).await else { continue };
            for delay in self.fates() {
                let (this, bytes) = (Arc::clone(&self), room[..length].to_vec());
                tokio::spawn(async move {
                    tokio::time::sleep(delay).await;
                    let _ = this.face.send_to(&bytes, agent).await;
                });
            }
        }
    }

    /// The delays after which copies of a datagram arrive; none where it is lost.
    fn fates(&self) -> Vec<Duration> {
        let mut state = self.state();
        let weather = state.weather;
        if weather.cut || state.random.f64() < weather.loss {
            self.lost.fetch_add(1, Ordering::Relaxed);
            return Vec::new();
        }
        self.passed.fetch_add(1, Ordering::Relaxed);
        let copies = 1 + usize::from(state.random.f64() < weather.twice);
        (0..copies)
            .map(|_| weather.delay + weather.jitter.mul_f64(state.random.f64()))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn passes_both_ways_loses_and_moves() {
        let cloud = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let agent = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let relay = Relay::open(fastrand::Rng::with_seed(1)).await.unwrap();
        relay.leads_to(cloud.local_addr().unwrap());
        let mut room = [0; 16];

        agent.send_to(b"up", relay.address()).await.unwrap();
        let (length, first) = cloud.recv_from(&mut room).await.unwrap();
        assert_eq!(&room[..length], b"up");
        cloud.send_to(b"down", first).await.unwrap();
        let (length, from) = agent.recv_from(&mut room).await.unwrap();
        assert_eq!((&room[..length], from), (&b"down"[..], relay.address()));

        relay.move_to(Ipv4Addr::new(127, 0, 0, 2)).await.unwrap();
        agent.send_to(b"moved", relay.address()).await.unwrap();
        let (_, second) = cloud.recv_from(&mut room).await.unwrap();
        assert_ne!(first.ip(), second.ip());

        relay.set(Weather {
            cut: true,
            ..Weather::default()
        });
        agent.send_to(b"never", relay.address()).await.unwrap();
        let waited = tokio::time::timeout(Duration::from_millis(100), cloud.recv_from(&mut room)).await;
        assert!(waited.is_err());
        assert_eq!(relay.counts(), (3, 1));
    }
}

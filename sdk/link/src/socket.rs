//! UDP sockets: of a server, which tells of datagrams that are not for it (QUIC drops them without a word), and of a
//! client, which counts what comes back.

use crate::throttle::Throttle;
use parking_lot::Mutex;
use quinn::udp::{RecvMeta, Transmit};
use quinn::{AsyncUdpSocket, UdpPoller};
use quinn_proto::{ConnectionId, ConnectionIdGenerator, HashedConnectionIdGenerator};
use std::fmt;
use std::io::{self, IoSliceMut};
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Instant;

/// Counts what comes in: the first word of a peer, whatever it says, shows that there is a way to it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Heard(Arc<AtomicU64>);

impl Heard {
    /// Datagrams so far.
    pub(crate) fn count(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// A client's socket.
#[derive(Debug)]
pub(crate) struct CountingSocket {
    inner: Arc<dyn AsyncUdpSocket>,
    heard: Heard,
}

impl CountingSocket {
    pub(crate) fn new(inner: Arc<dyn AsyncUdpSocket>, heard: Heard) -> Arc<Self> {
        Arc::new(Self { inner, heard })
    }
}

impl AsyncUdpSocket for CountingSocket {
    fn create_io_poller(self: Arc<Self>) -> Pin<Box<dyn UdpPoller>> {
        self.inner.clone().create_io_poller()
    }

    fn try_send(&self, transmit: &Transmit<'_>) -> io::Result<()> {
        self.inner.try_send(transmit)
    }

    fn poll_recv(&self, cx: &mut Context<'_>, bufs: &mut [IoSliceMut<'_>], meta: &mut [RecvMeta]) -> Poll<io::Result<usize>> {
        let received = ready!(self.inner.poll_recv(cx, bufs, meta))?;
        self.heard.0.fetch_add(received as u64, Ordering::Relaxed);
        Poll::Ready(Ok(received))
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.inner.local_addr()
    }

    fn max_transmit_segments(&self) -> usize {
        self.inner.max_transmit_segments()
    }

    fn max_receive_segments(&self) -> usize {
        self.inner.max_receive_segments()
    }

    fn may_fragment(&self) -> bool {
        self.inner.may_fragment()
    }
}

/// The QUIC version that is spoken here.
const QUIC_V1: u32 = 1;
/// No QUIC packet is shorter: a byte, a connection id, and what encryption adds.
const SHORTEST: usize = 21;
const CONNECTION_ID_LEN: usize = 8;

pub(crate) struct WatchedSocket {
    inner: Arc<dyn AsyncUdpSocket>,
    ids: HashedConnectionIdGenerator,
    throttle: Mutex<Throttle>,
}

impl WatchedSocket {
    /// `key` is the one that the endpoint makes its connection ids with.
    pub(crate) fn new(inner: Arc<dyn AsyncUdpSocket>, key: u64) -> Arc<Self> {
        Arc::new(Self {
            inner,
            ids: HashedConnectionIdGenerator::from_key(key),
            throttle: Mutex::new(Throttle::default()),
        })
    }

    fn report(&self, from: SocketAddr, len: usize) {
        if let Some(suppressed) = self.throttle.lock().admit(Instant::now()) {
            tracing::warn!(peer = %from, len, suppressed, "ignored a malformed datagram: not a QUIC packet of any connection here");
        }
    }
}

/// Whether a datagram to this endpoint can be a QUIC packet. What passes may still fail to decrypt.
fn plausible(datagram: &[u8], ids: &HashedConnectionIdGenerator) -> bool {
    let Some(&first) = datagram.first() else { return false };
    if first & 0x40 == 0 || datagram.len() < SHORTEST {
        return false;
    }
    if first & 0x80 != 0 {
        // A long header: a connection is being made.
        return datagram[1..5] == QUIC_V1.to_be_bytes();
    }
    ids.validate(&ConnectionId::new(&datagram[1..=CONNECTION_ID_LEN])).is_ok()
}

impl fmt::Debug for WatchedSocket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("WatchedSocket").field(&self.inner).finish()
    }
}

impl AsyncUdpSocket for WatchedSocket {
    fn create_io_poller(self: Arc<Self>) -> Pin<Box<dyn UdpPoller>> {
        self.inner.clone().create_io_poller()
    }

    fn try_send(&self, transmit: &Transmit<'_>) -> io::Result<()> {
        self.inner.try_send(transmit)
    }

    fn poll_recv(&self, cx: &mut Context<'_>, bufs: &mut [IoSliceMut<'_>], meta: &mut [RecvMeta]) -> Poll<io::Result<usize>> {
        let received = ready!(self.inner.poll_recv(cx, bufs, meta))?;
        for (buf, meta) in bufs.iter().zip(&meta[..received]) {
            // One buffer may hold several datagrams of the same sender.
            for datagram in buf[..meta.len].chunks(meta.stride.max(1)) {
                if !plausible(datagram, &self.ids) {
                    self.report(meta.addr, datagram.len());
                }
            }
        }
        Poll::Ready(Ok(received))
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.inner.local_addr()
    }

    fn max_transmit_segments(&self) -> usize {
        self.inner.max_transmit_segments()
    }

    fn max_receive_segments(&self) -> usize {
        self.inner.max_receive_segments()
    }

    fn may_fragment(&self) -> bool {
        self.inner.may_fragment()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn garbage_is_told_apart_from_packets() {
        let mut ids = HashedConnectionIdGenerator::from_key(7);
        let id = ids.generate_cid();
        let short = [&[0x40][..], &id, &[9; 30]].concat();
        let long = [&[0xc0, 0, 0, 0, 1][..], &[9; 1_195]].concat();
        assert!(plausible(&short, &ids) && plausible(&long, &ids));
        let stranger = [&[0x40][..], &[1; 8], &[9; 30]].concat();
        let version = [&[0xc0, 1, 2, 3, 4][..], &[9; 1_195]].concat();
        for wrong in [&b""[..], b"garbage", &[0; 60], &[0xff; 60], &stranger, &version, &short[..9]] {
            assert!(!plausible(wrong, &ids), "{wrong:?}");
        }
    }
}

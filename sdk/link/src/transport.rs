//! How the QUIC transport is set up, the same on both sides.

use crate::Error;
use crate::socket::{CountingSocket, Heard, WatchedSocket};
use quinn::{EndpointConfig, IdleTimeout, MtuDiscoveryConfig, TransportConfig, VarInt};
use quinn_proto::HashedConnectionIdGenerator;
use quinn_proto::crypto::{CryptoError, HmacKey};
use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::time::Duration;

/// A peer that is silent for so long is gone.
pub(crate) const IDLE: Duration = Duration::from_secs(10);
/// Keeps paths and address translations alive whatever the heart-beat interval is.
const KEEP_ALIVE: Duration = Duration::from_secs(3);
/// Bytes that one stream may have in flight: a gigabit over 64 ms.
const STREAM_WINDOW: u32 = 8 << 20;
/// Bytes that one connection may have in flight, which bounds what a peer can make this side hold.
const CONNECTION_WINDOW: u32 = 32 << 20;
/// Streams that the peer may have open at a time: control, heart-beats, renewal, and blobs.
pub(crate) const STREAMS: u32 = 35;
/// Buffer of the socket in each direction, as far as the system grants it.
const SOCKET_BUFFER: usize = 4 << 20;
/// Largest UDP payload that is tried on a path: Ethernet's, less the headers of IPv6 and UDP. Larger ones, where a path
/// has them (loopback), were measured to gain nothing, and to probe for them costs on the paths that do not.
const LARGEST_PAYLOAD: u16 = 1_452;

/// # Panics
/// Never: the idle time fits.
pub(crate) fn transport() -> Arc<TransportConfig> {
    let mut config = TransportConfig::default();
    let mut mtu = MtuDiscoveryConfig::default();
    mtu.upper_bound(LARGEST_PAYLOAD);
    config
        .max_idle_timeout(Some(IdleTimeout::try_from(IDLE).expect("ten seconds fit a QUIC idle timeout")))
        .keep_alive_interval(Some(KEEP_ALIVE))
        .stream_receive_window(VarInt::from_u32(STREAM_WINDOW))
        .receive_window(VarInt::from_u32(CONNECTION_WINDOW))
        .send_window(u64::from(CONNECTION_WINDOW))
        .max_concurrent_bidi_streams(VarInt::from_u32(STREAMS))
        .max_concurrent_uni_streams(VarInt::from_u32(0))
        .datagram_receive_buffer_size(None)
        .mtu_discovery_config(Some(mtu));
    Arc::new(config)
}

/// What an endpoint makes its connection ids and its resets with. A control plane that was restarted with the seed that
/// it had before tells its peers at once that their connections are gone; else they find out after [`IDLE`].
pub(crate) struct Seed([u8; 32]);

impl Seed {
    pub(crate) fn new(secret: [u8; 32]) -> Self {
        Self(secret)
    }

    pub(crate) fn random() -> Result<Self, Error> {
        let mut seed = [0; 32];
        getrandom::fill(&mut seed).map_err(|e| Error::Crypto(e.to_string()))?;
        Ok(Self(seed))
    }

    fn id_key(&self) -> u64 {
        let [a, b, c, d, e, f, g, h, ..] = blake3::derive_key("eyot 2026 quic connection ids", &self.0);
        u64::from_le_bytes([a, b, c, d, e, f, g, h])
    }

    fn reset_key(&self) -> ResetKey {
        ResetKey(blake3::derive_key("eyot 2026 quic resets", &self.0))
    }
}

struct ResetKey([u8; 32]);

impl HmacKey for ResetKey {
    fn sign(&self, data: &[u8], signature_out: &mut [u8]) {
        signature_out.copy_from_slice(blake3::keyed_hash(&self.0, data).as_bytes());
    }

    fn signature_len(&self) -> usize {
        blake3::OUT_LEN
    }

    fn verify(&self, data: &[u8], signature: &[u8]) -> Result<(), CryptoError> {
        // Takes the same time whatever differs.
        if blake3::keyed_hash(&self.0, data) == *signature {
            Ok(())
        } else {
            Err(CryptoError)
        }
    }
}

/// An endpoint of a client. Its connections end with it.
pub(crate) fn client(bind: SocketAddr, heard: Heard) -> Result<quinn::Endpoint, Error> {
    endpoint(bind, None, &Seed::random()?, |socket| CountingSocket::new(socket, heard))
}

/// An endpoint of a server, with a socket that tells of datagrams that are not for it.
pub(crate) fn server(bind: SocketAddr, config: quinn::ServerConfig, seed: &Seed) -> Result<quinn::Endpoint, Error> {
    let key = seed.id_key();
    endpoint(bind, Some(config), seed, |socket| WatchedSocket::new(socket, key))
}

/// A new socket for a client's endpoint.
pub(crate) fn rebind(endpoint: &quinn::Endpoint, bind: SocketAddr, heard: Heard) -> Result<(), Error> {
    let moved = || {
        let runtime = quinn::default_runtime().ok_or_else(|| std::io::Error::other("no async runtime"))?;
        let socket = runtime.wrap_udp_socket(udp_socket(bind)?)?;
        endpoint.rebind_abstract(CountingSocket::new(socket, heard))
    };
    moved().map_err(|source| Error::Address {
        address: bind.to_string(),
        source,
    })
}

fn endpoint<S: quinn::AsyncUdpSocket>(
    bind: SocketAddr,
    server: Option<quinn::ServerConfig>,
    seed: &Seed,
    wrap: impl FnOnce(Arc<dyn quinn::AsyncUdpSocket>) -> Arc<S>,
) -> Result<quinn::Endpoint, Error> {
    let address_error = |source| Error::Address {
        address: bind.to_string(),
        source,
    };
    let socket = udp_socket(bind).map_err(address_error)?;
    let key = seed.id_key();
    let mut config = EndpointConfig::default();
    config
        .reset_key(Arc::new(seed.reset_key()))
        .cid_generator(move || Box::new(HashedConnectionIdGenerator::from_key(key)))
        // So that a datagram without the fixed bit is surely none of QUIC.
        .grease_quic_bit(false);
    let runtime = quinn::default_runtime().ok_or_else(|| Error::Crypto("no async runtime".into()))?;
    let socket = wrap(runtime.wrap_udp_socket(socket).map_err(address_error)?);
    quinn::Endpoint::new_with_abstract_socket(config, server, socket, runtime).map_err(address_error)
}

fn udp_socket(bind: SocketAddr) -> std::io::Result<UdpSocket> {
    let socket = UdpSocket::bind(bind)?;
    // Best effort: the system may grant less.
    let _ = rustix::net::sockopt::set_socket_recv_buffer_size(&socket, SOCKET_BUFFER);
    let _ = rustix::net::sockopt::set_socket_send_buffer_size(&socket, SOCKET_BUFFER);
    Ok(socket)
}

pub(crate) fn close(connection: &quinn::Connection, code: eyot_wire::CloseCode, reason: &str) {
    connection.close(VarInt::from_u32(code as u32), reason.as_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_restarted_endpoint_knows_the_ids_and_resets_of_the_one_before() {
        let sign = |seed: &Seed, id: &[u8]| {
            let key = seed.reset_key();
            let mut signature = vec![0; key.signature_len()];
            key.sign(id, &mut signature);
            assert!(key.verify(id, &signature).is_ok() && key.verify(b"other", &signature).is_err());
            signature
        };
        let (before, after, other) = (Seed::new([1; 32]), Seed::new([1; 32]), Seed::new([2; 32]));
        assert_eq!(before.id_key(), after.id_key());
        assert_eq!(sign(&before, b"id"), sign(&after, b"id"));
        assert_ne!(before.id_key(), other.id_key());
        assert_ne!(sign(&before, b"id"), sign(&other, b"id"));
    }
}

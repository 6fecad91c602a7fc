//! What the network alone costs: bytes through a bare QUIC relay, and round trips, with the transport settings of real
//! links. Nothing is verified, nothing is stored. For benchmarks to compare with.

mod round_trips;

pub use round_trips::RoundTrips;

use crate::ca::Ca;
use crate::socket::Heard;
use crate::tls::provider;
use crate::transport::Seed;
use crate::{CLOUD_NAME, Clock, Error, tls, transport};
use bytes::Bytes;
use eyot_model::Millis;
use quinn::crypto::rustls::{QuicClientConfig, QuicServerConfig};
use quinn::{Connection, Endpoint, RecvStream, SendStream};
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::mpsc;

/// Written at a time, in bytes.
const PIECE: usize = 1 << 20;

/// Sends `bytes` from one client through a relay to another, all on loopback in this process. The time runs from the
/// first byte sent to the last one received; the connections are up before.
///
/// # Errors
/// What the network does.
pub async fn relay(bytes: u64) -> Result<Duration, Error> {
    let clock = Clock::system();
    let ca = Ca::create(clock.now())?;
    let relay = relay_endpoint(&ca, &clock)?;
    let addr = relay.local_addr().map_err(|source| Error::Address {
        address: "of the relay".into(),
        source,
    })?;
    let forwarding = tokio::spawn(async move {
        let receiver = accept(&relay).await?;
        let sender = accept(&relay).await?;
        forward(sender.1, receiver.0).await?;
        receiver.2.closed().await;
        Ok::<_, Error>(())
    });
    let (to, from) = (client(&ca, &clock)?, client(&ca, &clock)?);
    let (_to_send, mut to_recv, to_connection) = connect(&to, addr).await?;
    let (mut from_send, _from_recv, _from_connection) = connect(&from, addr).await?;
    let started = Instant::now();
    let sending = async {
        let piece = Bytes::from(vec![0x5a; PIECE]);
        let mut left = bytes;
        while left > 0 {
            let now = usize::try_from(left).unwrap_or(PIECE).min(PIECE);
            from_send
                .write_chunk(piece.slice(..now))
                .await
                .map_err(crate::frames::write_error)?;
            left -= now as u64;
        }
        let _ = from_send.finish();
        Ok::<_, Error>(())
    };
    let receiving = async {
        let mut buf = vec![0; PIECE];
        let mut received = 0;
        while let Some(n) = to_recv.read(&mut buf).await.map_err(crate::frames::read_error)? {
            received += n as u64;
        }
        Ok::<_, Error>(received)
    };
    let (sent, received) = tokio::join!(sending, receiving);
    sent?;
    let took = started.elapsed();
    transport::close(&to_connection, eyot_wire::CloseCode::Done, "");
    match forwarding.await {
        Ok(result) => result?,
        Err(_) => return Err(Error::Closed),
    }
    if received? == bytes {
        Ok(took)
    } else {
        Err(Error::Protocol("the relay lost bytes".into()))
    }
}

/// Reading and writing go on side by side, in pieces as large as those of a real transfer: this is to be as fast as a
/// relay can be.
async fn forward(mut from: RecvStream, mut to: SendStream) -> Result<(), Error> {
    let (pieces, mut filled) = mpsc::channel::<Bytes>(4);
    let reading = async move {
        let mut piece = vec![0; PIECE];
        let mut at = 0;
        while let Some(n) = from.read(&mut piece[at..]).await.map_err(crate::frames::read_error)? {
            at += n;
            if at == PIECE {
                let full = std::mem::replace(&mut piece, vec![0; PIECE]);
                at = 0;
                if pieces.send(full.into()).await.is_err() {
                    return Ok(());
                }
            }
        }
        piece.truncate(at);
        let _ = pieces.send(piece.into()).await;
        Ok::<_, Error>(())
    };
    let writing = tokio::spawn(async move {
        while let Some(piece) = filled.recv().await {
            to.write_chunk(piece).await.map_err(crate::frames::write_error)?;
        }
        let _ = to.finish();
        Ok::<_, Error>(())
    });
    reading.await?;
    writing.await.unwrap_or(Err(Error::Closed))
}

fn relay_endpoint(ca: &Ca, clock: &Clock) -> Result<Endpoint, Error> {
    let crypto_error = |e: &dyn std::fmt::Display| Error::Crypto(e.to_string());
    let chain = ca.server_certificate(&[], clock.now(), Millis::from_secs(3_600))?;
    let mut tls = rustls::ServerConfig::builder_with_provider(Arc::new(provider()))
        .with_protocol_versions(&[&rustls::version::TLS13])
        .map_err(|e| crypto_error(&e))?
        .with_no_client_auth()
        .with_single_cert(chain.chain, chain.key)
        .map_err(|e| crypto_error(&e))?;
    tls.alpn_protocols = vec![eyot_wire::alpn::JOIN.to_vec()];
    let crypto = QuicServerConfig::try_from(tls).map_err(|e| crypto_error(&e))?;
    let mut config = quinn::ServerConfig::with_crypto(Arc::new(crypto));
    config.transport_config(transport::transport());
    transport::server((Ipv4Addr::LOCALHOST, 0).into(), config, &Seed::random()?)
}

fn client(ca: &Ca, clock: &Clock) -> Result<Endpoint, Error> {
    let tls = tls::join_config(ca.digest(), clock.clone())?;
    let crypto = QuicClientConfig::try_from(tls).map_err(|e| Error::Crypto(e.to_string()))?;
    let mut config = quinn::ClientConfig::new(Arc::new(crypto));
    config.transport_config(transport::transport());
    let mut endpoint = transport::client((Ipv4Addr::LOCALHOST, 0).into(), Heard::default())?;
    endpoint.set_default_client_config(config);
    Ok(endpoint)
}

type Opened = (SendStream, RecvStream, Connection);

async fn connect(endpoint: &Endpoint, addr: SocketAddr) -> Result<Opened, Error> {
    let connection = endpoint
        .connect(addr, CLOUD_NAME)
        .map_err(|e| Error::Connection(e.to_string()))?
        .await?;
    let (mut send, recv) = connection.open_bi().await?;
    // A stream is seen by the other side with its first byte.
    send.write_all(&[0]).await.map_err(crate::frames::write_error)?;
    Ok((send, recv, connection))
}

async fn accept(relay: &Endpoint) -> Result<Opened, Error> {
    let incoming = relay.accept().await.ok_or(Error::Closed)?;
    let connection = incoming.await?;
    let (send, mut recv) = connection.accept_bi().await?;
    recv.read_exact(&mut [0]).await.map_err(crate::frames::exact_error)?;
    Ok((send, recv, connection))
}

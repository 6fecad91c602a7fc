//! What a question and its answer cost: small streams there and back over one connection with mutual TLS.

use crate::server::{Admission, Authority, Enrolment, Future, Standing};
use crate::socket::Heard;
use crate::tls::{self, ServerChain};
use crate::transport::Seed;
use crate::{AgentKey, CLOUD_NAME, Ca, Clock, Error, Identity, Serial, SigningRequest, frames, transport};
use eyot_model::{AgentId, Millis};
use quinn::crypto::rustls::{QuicClientConfig, QuicServerConfig};
use quinn::{Connection, Endpoint};
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Bytes there and back.
const MESSAGE: usize = 64;
/// Of the certificates.
const LIFE: Millis = Millis(3_600_000);

/// Two ends on loopback in this process, one of which answers what the other one sends.
pub struct RoundTrips {
    connection: Connection,
    _here: Endpoint,
    there: Endpoint,
}

impl RoundTrips {
    /// Connects. Needs a tokio runtime.
    ///
    /// # Errors
    /// What the network does.
    pub async fn start() -> Result<Self, Error> {
        let clock = Clock::system();
        let ca = Ca::create(clock.now())?;
        let there = answering_endpoint(&ca, &clock)?;
        let addr = there.local_addr().map_err(|source| Error::Address {
            address: "of the end that answers".into(),
            source,
        })?;
        let crypto = QuicClientConfig::try_from(tls::agent_config(identity(&ca, &clock)?, eyot_wire::alpn::WORK, clock)?)
            .map_err(|e| Error::Crypto(e.to_string()))?;
        let mut config = quinn::ClientConfig::new(Arc::new(crypto));
        config.transport_config(transport::transport());
        let here = transport::client((Ipv4Addr::LOCALHOST, 0).into(), Heard::default())?;
        let connecting = here
            .connect_with(config, addr, CLOUD_NAME)
            .map_err(|e| Error::Connection(e.to_string()))?;
        tokio::spawn(answer(there.clone()));
        Ok(Self {
            connection: connecting.await?,
            _here: here,
            there,
        })
    }

    /// The time of `count` round trips, one after the other, each on a new stream.
    ///
    /// # Errors
    /// What the network does.
    pub async fn take(&self, count: u32) -> Result<Duration, Error> {
        let message = [0x5a; MESSAGE];
        let mut answer = [0; MESSAGE];
        let started = Instant::now();
        for _ in 0..count {
            let (mut send, mut recv) = self.connection.open_bi().await?;
            send.write_all(&message).await.map_err(frames::write_error)?;
            let _ = send.finish();
            recv.read_exact(&mut answer).await.map_err(frames::exact_error)?;
        }
        Ok(started.elapsed())
    }
}

impl Drop for RoundTrips {
    fn drop(&mut self) {
        transport::close(&self.connection, eyot_wire::CloseCode::Done, "");
        self.there.close(quinn::VarInt::from_u32(0), b"");
    }
}

/// Serves the first connection until it is closed.
async fn answer(endpoint: Endpoint) -> Result<(), Error> {
    let connection = endpoint.accept().await.ok_or(Error::Closed)?.await?;
    while let Ok((mut send, mut recv)) = connection.accept_bi().await {
        let mut message = [0; MESSAGE];
        recv.read_exact(&mut message).await.map_err(frames::exact_error)?;
        send.write_all(&message).await.map_err(frames::write_error)?;
        let _ = send.finish();
    }
    Ok(())
}

fn answering_endpoint(ca: &Ca, clock: &Clock) -> Result<Endpoint, Error> {
    let chain = ServerChain::new(ca.server_certificate(&[], clock.now(), LIFE)?)?;
    let tls = tls::server_config(ca.certificate(), chain, Arc::new(Everybody), clock.clone())?;
    let crypto = QuicServerConfig::try_from(tls).map_err(|e| Error::Crypto(e.to_string()))?;
    let mut config = quinn::ServerConfig::with_crypto(Arc::new(crypto));
    config.transport_config(transport::transport());
    transport::server((Ipv4Addr::LOCALHOST, 0).into(), config, &Seed::random()?)
}

fn identity(ca: &Ca, clock: &Clock) -> Result<Arc<Identity>, Error> {
    let key = AgentKey::create()?;
    let request = SigningRequest::read(&key.signing_request()?)?;
    let now = clock.now();
    let chain = ca.sign(&request, Serial::random()?, now, now.after(LIFE))?;
    Identity::new(key, chain)
}

/// Knows nobody and takes whoever has a certificate.
struct Everybody;

impl Authority for Everybody {
    fn check(&self, _: AgentId, _: Serial) -> Standing {
        Standing::Allowed
    }

    fn enrol<'a>(&'a self, _: Enrolment<'a>) -> Future<'a, Result<Admission, String>> {
        Box::pin(std::future::ready(Err("nobody joins a floor".into())))
    }

    fn renew(&self, _: AgentId, _: Serial) -> Future<'_, Result<Admission, String>> {
        Box::pin(std::future::ready(Err("nothing lasts long enough to be renewed".into())))
    }
}

#[cfg(test)]
mod tests {
    use super::RoundTrips;

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn every_message_comes_back() {
        let trips = RoundTrips::start().await.unwrap();
        assert!(trips.take(200).await.unwrap() > std::time::Duration::ZERO);
    }
}

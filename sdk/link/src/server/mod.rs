//! The control plane's end: accepts links, enrols and renews agents, refuses the rest.

mod admission;
mod authority;
mod places;
mod rotation;
mod session;

pub use authority::{Admission, Authority, Enrolment, Future, Standing};

use crate::link::{CloudLink, Live};
use crate::tls::{self, ServerChain};
use crate::{Ca, Clock, Error, transport};
use admission::Acceptor;
use eyot_model::{AgentId, Millis};
use eyot_wire::{CloseCode, ToAgent, ToCloud};
use quinn::crypto::rustls::QuicServerConfig;
use rotation::Rotation;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{Mutex, mpsc};

/// Links that came up and wait for [`Server::accept`].
const ACCEPTED: usize = 256;
/// How long a shutdown waits for the peers to hear of it.
const FAREWELL: Duration = Duration::from_secs(3);
/// Handshakes at a time for each core. They are work for the processor: more at a time are not done sooner, they only
/// all take longer.
const HANDSHAKES_PER_CORE: usize = 32;
const FEWEST_HANDSHAKES: usize = 64;
const MOST_HANDSHAKES: usize = 512;
/// First packets that wait for a handshake, as many times the handshakes. Those beyond are dropped before anything is
/// computed for them, and their clients repeat them.
const WAITING: usize = 4;
/// Bytes that a client may have sent behind a first packet that waits, and all of them together.
const WAITING_BYTES: u64 = 16 << 10;
const WAITING_BYTES_TOTAL: u64 = 16 << 20;

/// How to serve.
#[derive(Clone, Debug)]
pub struct Options {
    /// Host names and IP addresses in the server's certificate, besides the one that agents ask for.
    pub names: Vec<String>,
    /// Life of the server's own certificate; a new one is made at two thirds of it.
    pub certificate_life: Millis,
    /// Handshakes at a time. From half of it on, clients have to prove their address first. No one address has all.
    pub handshakes: usize,
    /// Time for a handshake, and again for what has to follow it.
    pub handshake_timeout: Duration,
    pub clock: Clock,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            names: Vec::new(),
            certificate_life: Millis::from_secs(90 * 86_400),
            handshakes: handshakes_here(),
            handshake_timeout: transport::IDLE,
            clock: Clock::system(),
        }
    }
}

fn handshakes_here() -> usize {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    (cores * HANDSHAKES_PER_CORE).clamp(FEWEST_HANDSHAKES, MOST_HANDSHAKES)
}

/// A listening control plane. Nothing that comes from outside stops or stalls it; every refusal is one line in the log
/// with the peer's address and the reason.
pub struct Server {
    endpoint: quinn::Endpoint,
    acceptor: Arc<Acceptor>,
    accepted: Mutex<mpsc::Receiver<Live<ToAgent, ToCloud>>>,
}

impl Server {
    /// Listens on a UDP address with a certificate made for it by `ca`. Needs a tokio runtime.
    ///
    /// # Errors
    /// [`Error::Address`] if the address cannot be bound.
    pub fn bind(addr: SocketAddr, ca: Arc<Ca>, authority: Arc<dyn Authority>, options: Options) -> Result<Self, Error> {
        let clock = options.clock.clone();
        let first = ca.server_certificate(&options.names, clock.now(), options.certificate_life)?;
        let validity = first.validity;
        let chain = ServerChain::new(first)?;
        let tls = tls::server_config(ca.certificate(), chain.clone(), authority.clone(), clock.clone())?;
        let crypto = QuicServerConfig::try_from(tls).map_err(|e| Error::Crypto(e.to_string()))?;
        let mut config = quinn::ServerConfig::with_crypto(Arc::new(crypto));
        config
            .transport_config(transport::transport())
            .max_incoming(options.handshakes * WAITING)
            .incoming_buffer_size(WAITING_BYTES)
            .incoming_buffer_size_total(WAITING_BYTES_TOTAL)
            // An agent whose address changes keeps its link.
            .migration(true);
        let endpoint = transport::server(addr, config, &ca.link_seed())?;
        let (sender, accepted) = mpsc::channel(ACCEPTED);
        let acceptor = Arc::new(Acceptor::new(ca.clone(), authority, options.clone(), sender));
        tokio::spawn(acceptor.clone().run(endpoint.clone()));
        let rotation = Rotation {
            ca,
            chain,
            present: validity,
            options,
            serving: Arc::downgrade(&acceptor),
        };
        tokio::spawn(rotation.run());
        Ok(Self {
            endpoint,
            acceptor,
            accepted: Mutex::new(accepted),
        })
    }

    /// The next link that came up; its peer is proven and allowed. None after [`Server::shutdown`].
    pub async fn accept(&self) -> Option<Live<ToAgent, ToCloud>> {
        self.accepted.lock().await.recv().await
    }

    /// # Errors
    /// What the system reports.
    pub fn local_addr(&self) -> Result<SocketAddr, Error> {
        self.endpoint.local_addr().map_err(|source| Error::Address {
            address: "of the server".into(),
            source,
        })
    }

    /// The live link of an agent.
    #[must_use]
    pub fn link(&self, agent: AgentId) -> Option<CloudLink> {
        self.acceptor.links.get(agent)
    }

    /// The agents that have a live link.
    #[must_use]
    pub fn agents(&self) -> Vec<AgentId> {
        self.acceptor.links.agents()
    }

    /// Closes the live link of an agent: after a revocation, with [`CloseCode::Revoked`], when the authority already
    /// says [`Standing::Revoked`]. What it sent and nobody took yet is dropped then. False if it had no link.
    pub fn disconnect(&self, agent: AgentId, code: CloseCode) -> bool {
        let link = self.acceptor.links.get(agent);
        if let Some(link) = &link {
            tracing::warn!(%agent, peer = %link.peer_addr(), ?code, "closed a live link");
            link.close(code);
        }
        link.is_some()
    }

    /// Closes every link and stops listening.
    pub async fn shutdown(&self) {
        self.accepted.lock().await.close();
        self.endpoint
            .close(quinn::VarInt::from_u32(CloseCode::Shutdown as u32), b"the control plane shuts down");
        let _ = tokio::time::timeout(FAREWELL, self.endpoint.wait_idle()).await;
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.endpoint
            .close(quinn::VarInt::from_u32(CloseCode::Shutdown as u32), b"the control plane shuts down");
    }
}

//! The agent's end: joins, dials, comes back, renews.

use crate::frames::{self, SMALL_FRAME};
use crate::link::{self, Live, Peer};
use crate::transport::{self, close};
use crate::{AgentKey, Backoff, CLOUD_NAME, Clock, Credential, Error, Identity, JoinToken, Kind, heartbeat, tls};
use eyot_model::Load;
use eyot_wire::{CloseCode, EnrolReply, EnrolRequest, StreamKind, ToAgent, ToCloud, alpn};
use quinn::crypto::rustls::QuicClientConfig;
use quinn::{ClientConfig, Connection, Endpoint};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::watch;
use zeroize::Zeroize;

/// For one address: from the first packet to the peer's word that the link is up.
const ATTEMPT: Duration = Duration::from_secs(5);
/// How often the way to the control plane is looked up, to see that this device moved to another network.
const NETWORK_CHECK: Duration = Duration::from_secs(2);
/// A link that lived for so long was a good one: the next back-off begins anew.
const STABLE: Duration = Duration::from_secs(5);
const FAREWELL: Duration = Duration::from_secs(3);

/// Where to dial, and what heart-beats say.
#[derive(Clone, Debug)]
pub struct DialerOptions {
    /// `host:port` each, tried in turn.
    pub addresses: Vec<String>,
    /// Goes out with each heart-beat.
    pub load: watch::Receiver<Load>,
    pub clock: Clock,
}

/// Keeps an agent linked to its control plane. Its links end with it.
pub struct Dialer {
    identity: Arc<Identity>,
    options: DialerOptions,
    endpoint: Endpoint,
    backoff: Backoff,
    /// When the last link came up, until that is taken into account.
    up: Option<Instant>,
    /// Since when there is no link.
    outage: Option<Instant>,
}

impl Dialer {
    /// Needs a tokio runtime.
    ///
    /// # Errors
    /// [`Error::NoAddress`]; [`Error::Address`] if no socket can be had.
    pub fn new(identity: Arc<Identity>, options: DialerOptions) -> Result<Self, Error> {
        if options.addresses.is_empty() {
            return Err(Error::NoAddress);
        }
        Ok(Self {
            identity,
            options,
            endpoint: client_endpoint()?,
            backoff: Backoff::new(),
            up: None,
            outage: None,
        })
    }

    #[must_use]
    pub fn identity(&self) -> &Arc<Identity> {
        &self.identity
    }

    /// Dials until a link is up, with back-off between rounds; an expired certificate is renewed on the way. May be
    /// dropped and called again.
    ///
    /// # Errors
    /// Only what trying again does not change: [`Kind::Terminal`] and [`Kind::Bug`].
    pub async fn dial(&mut self) -> Result<Live<ToCloud, ToAgent>, Error> {
        let outage = *self.outage.get_or_insert_with(Instant::now);
        if let Some(up) = self.up.take() {
            if up.elapsed() >= STABLE {
                self.backoff.reset();
            } else {
                // Up and down again at once: as good as a failure.
                tokio::time::sleep(self.backoff.next(outage.elapsed(), random())).await;
            }
        }
        loop {
            let mut dialled = self.dial_once().await;
            if matches!(dialled, Err(Error::Expired)) {
                dialled = match self.renew().await {
                    Ok(_) => self.dial_once().await,
                    Err(error) => Err(error),
                };
            }
            let error = match dialled {
                Ok(live) => return Ok(live),
                Err(error) if error.kind() == Kind::Retryable => error,
                Err(error) => return Err(error),
            };
            let delay = self.backoff.next(outage.elapsed(), random());
            tracing::debug!(%error, ?delay, "no link; trying again");
            tokio::time::sleep(delay).await;
        }
    }

    /// One round over all addresses.
    ///
    /// # Errors
    /// Of the last address that was tried; at once what the control plane said itself.
    pub async fn dial_once(&mut self) -> Result<Live<ToCloud, ToAgent>, Error> {
        let live = self.work().await?;
        self.up = Some(Instant::now());
        self.outage = None;
        Ok(live)
    }

    async fn work(&self) -> Result<Live<ToCloud, ToAgent>, Error> {
        let config = tls::agent_config(self.identity.clone(), alpn::WORK, self.options.clock.clone())?;
        let config = client_config(config)?;
        each_address(&self.options.addresses, |addr| self.work_at(addr, config.clone())).await
    }

    async fn work_at(&self, addr: SocketAddr, config: ClientConfig) -> Result<Live<ToCloud, ToAgent>, Error> {
        let connection = connect(&self.endpoint, addr, config).await?;
        let (mut control_send, mut control_recv) = connection.open_bi().await?;
        let (mut beats_send, beats_recv) = connection.open_bi().await?;
        let _ = control_send.set_priority(heartbeat::CONTROL_PRIORITY);
        let _ = beats_send.set_priority(heartbeat::PRIORITY);
        let opened = async {
            frames::write_kind(&mut control_send, StreamKind::Control).await?;
            frames::write_kind(&mut beats_send, StreamKind::Heartbeat).await?;
            frames::read_kind(&mut control_recv).await
        };
        match opened.await {
            Ok(StreamKind::Control) => {}
            Ok(kind) => return Err(Error::Protocol(format!("a link was answered with {kind:?}"))),
            Err(error) => return Err(connection.close_reason().map_or(error, Error::from)),
        }
        let (control, beats) = ((control_send, control_recv), (beats_send, beats_recv));
        let live = link::start::<ToCloud, ToAgent>(connection.clone(), Peer::Cloud, control, None);
        let (load, clock) = (self.options.load.clone(), self.options.clock.clone());
        tokio::spawn(heartbeat::send(live.link.shared.clone(), beats, load, clock));
        tokio::spawn(follow_network(self.endpoint.clone(), connection));
        Ok(live)
    }

    /// Renews the certificate over the protocol that does nothing else, by proving the key: also when it ran out.
    ///
    /// # Errors
    /// [`Error::RenewalDenied`], [`Error::Revoked`]; whatever the network does.
    pub async fn renew(&self) -> Result<Credential, Error> {
        let config = tls::agent_config(self.identity.clone(), alpn::RENEW, self.options.clock.clone())?;
        let config = client_config(config)?;
        each_address(&self.options.addresses, |addr| {
            let config = config.clone();
            async move {
                let connection = connect(&self.endpoint, addr, config).await?;
                let renewed = link::renew(&connection, &self.identity).await;
                close(&connection, CloseCode::Done, "");
                renewed.map_err(|error| said(&connection, error))
            }
        })
        .await
    }

    /// Moves to a new socket; live links move along.
    ///
    /// # Errors
    /// [`Error::Address`] if no socket can be had.
    pub fn rebind(&self) -> Result<(), Error> {
        rebind(&self.endpoint)
    }

    /// Closes what is open. Links that were shut down before have sent what they had.
    pub async fn shutdown(&self) {
        self.endpoint
            .close(quinn::VarInt::from_u32(CloseCode::Shutdown as u32), b"the agent shuts down");
        let _ = tokio::time::timeout(FAREWELL, self.endpoint.wait_idle()).await;
    }
}

impl Drop for Dialer {
    fn drop(&mut self) {
        self.endpoint
            .close(quinn::VarInt::from_u32(CloseCode::Shutdown as u32), b"the agent stops");
    }
}

/// Makes an agent of this device: proves the token, gets a certificate for `key`. The caller saves the identity.
///
/// # Errors
/// [`Error::EnrolmentDenied`] with the control plane's reason, [`Error::UnknownCa`] if the token is of another control
/// plane; whatever the network does.
pub async fn join(token: &JoinToken, name: &str, key: AgentKey, clock: Clock) -> Result<Arc<Identity>, Error> {
    let endpoint = client_endpoint()?;
    let config = client_config(tls::join_config(token.ca, clock)?)?;
    let mut request = EnrolRequest {
        token: *token.secret.expose(),
        csr: key.signing_request()?,
        name: name.to_owned(),
    };
    let request_ref = &request;
    let endpoint_ref = &endpoint;
    let reply = each_address(&token.addresses, |addr| {
        let config = config.clone();
        async move {
            let connection = connect(endpoint_ref, addr, config).await?;
            let asked = async {
                let (mut send, mut recv) = connection.open_bi().await?;
                frames::write_kind(&mut send, StreamKind::Enrol).await?;
                frames::write_frame(&mut send, request_ref).await?;
                let _ = send.finish();
                frames::read_frame::<EnrolReply>(&mut recv, SMALL_FRAME).await
            };
            let reply = tokio::time::timeout(ATTEMPT * 2, asked).await.map_err(|_| Error::TimedOut);
            close(&connection, CloseCode::Done, "");
            reply?.map_err(|error| said(&connection, error))
        }
    })
    .await;
    request.token.zeroize();
    endpoint.close(quinn::VarInt::from_u32(CloseCode::Done as u32), b"");
    let _ = tokio::time::timeout(FAREWELL, endpoint.wait_idle()).await;
    match reply? {
        EnrolReply::Denied { reason } => Err(Error::EnrolmentDenied(reason)),
        EnrolReply::Granted { chain, .. } => {
            let identity = Identity::new(key, chain)?;
            if identity.ca_digest() == token.ca {
                Ok(identity)
            } else {
                Err(Error::UnknownCa)
            }
        }
    }
}

/// What the control plane said when it closed the connection says more than how a stream ended.
fn said(connection: &Connection, error: Error) -> Error {
    match connection.close_reason() {
        None | Some(quinn::ConnectionError::LocallyClosed) => error,
        Some(reason) => reason.into(),
    }
}

async fn each_address<T, F>(addresses: &[String], attempt: impl Fn(SocketAddr) -> F) -> Result<T, Error>
where
    F: Future<Output = Result<T, Error>>,
{
    let mut last = Error::NoAddress;
    for address in addresses {
        let resolved = match tokio::net::lookup_host(address.as_str()).await {
            Ok(resolved) => resolved,
            Err(source) => {
                last = Error::Address {
                    address: address.clone(),
                    source,
                };
                continue;
            }
        };
        for addr in resolved {
            match tokio::time::timeout(ATTEMPT * 2, attempt(addr)).await {
                Ok(Ok(done)) => return Ok(done),
                // The control plane's own word: another address leads to the same one.
                Ok(Err(error @ (Error::Expired | Error::Revoked | Error::UnknownAgent | Error::RenewalDenied(_)))) => return Err(error),
                Ok(Err(error)) => last = error,
                Err(_) => last = Error::TimedOut,
            }
        }
    }
    Err(last)
}

pub(crate) async fn connect(endpoint: &Endpoint, addr: SocketAddr, config: ClientConfig) -> Result<Connection, Error> {
    let connecting = endpoint
        .connect_with(config, addr, CLOUD_NAME)
        .map_err(|e| Error::Connection(e.to_string()))?;
    match tokio::time::timeout(ATTEMPT, connecting).await {
        Ok(connected) => Ok(connected?),
        Err(_) => Err(Error::TimedOut),
    }
}

pub(crate) fn client_config(tls: rustls::ClientConfig) -> Result<ClientConfig, Error> {
    let crypto = QuicClientConfig::try_from(tls).map_err(|e| Error::Crypto(e.to_string()))?;
    let mut config = ClientConfig::new(Arc::new(crypto));
    config.transport_config(transport::transport());
    Ok(config)
}

pub(crate) fn client_endpoint() -> Result<Endpoint, Error> {
    transport::endpoint((Ipv6Addr::UNSPECIFIED, 0).into(), None)
        // A system without IPv6.
        .or_else(|_| transport::endpoint((Ipv4Addr::UNSPECIFIED, 0).into(), None))
}

fn rebind(endpoint: &Endpoint) -> Result<(), Error> {
    let any = match endpoint.local_addr() {
        Ok(addr) if addr.is_ipv4() => SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0)),
        _ => SocketAddr::from((Ipv6Addr::UNSPECIFIED, 0)),
    };
    let socket = transport::udp_socket(any);
    socket.and_then(|s| endpoint.rebind(s)).map_err(|source| Error::Address {
        address: any.to_string(),
        source,
    })
}

/// Rebinds when the local address on the way to the peer changes, so that a link survives a change of network without
/// waiting for its time-out.
async fn follow_network(endpoint: Endpoint, connection: Connection) {
    let mut local = local_ip_towards(connection.remote_address());
    loop {
        tokio::select! {
            _ = connection.closed() => return,
            () = tokio::time::sleep(NETWORK_CHECK) => {}
        }
        let now = local_ip_towards(connection.remote_address());
        if now.is_some() && now != local {
            tracing::info!(?now, before = ?local, "the network changed; the link moves along");
            local = now;
            if let Err(error) = rebind(&endpoint) {
                tracing::warn!(%error, "cannot move to the new network");
            }
        }
    }
}

/// Which local address the system would use; nothing is sent.
fn local_ip_towards(peer: SocketAddr) -> Option<IpAddr> {
    let peer = SocketAddr::new(peer.ip().to_canonical(), peer.port());
    let any: SocketAddr = match peer {
        SocketAddr::V4(_) => (Ipv4Addr::UNSPECIFIED, 0).into(),
        SocketAddr::V6(_) => (Ipv6Addr::UNSPECIFIED, 0).into(),
    };
    let socket = std::net::UdpSocket::bind(any).ok()?;
    socket.connect(peer).ok()?;
    Some(socket.local_addr().ok()?.ip())
}

fn random() -> u64 {
    let mut bytes = [0; 8];
    match getrandom::fill(&mut bytes) {
        Ok(()) => u64::from_le_bytes(bytes),
        // The longest wait: without randomness agents must not crowd.
        Err(_) => u64::MAX,
    }
}

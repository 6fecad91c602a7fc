//! The agent's end: joins, dials, comes back, renews.

use crate::frames::{self, SMALL_FRAME};
use crate::link::{self, Live, Peer};
use crate::network::{self, Changes};
use crate::reach::{Client, Manner, reach};
use crate::transport::{self, close};
use crate::{AgentKey, Backoff, Clock, Credential, Error, Identity, JoinToken, Kind, heartbeat, tls};
use eyot_model::Load;
use eyot_wire::{CloseCode, EnrolReply, EnrolRequest, StreamKind, ToAgent, ToCloud, alpn};
use quinn::crypto::rustls::QuicClientConfig;
use quinn::{ClientConfig, Connection};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::watch;
use zeroize::Zeroize;

/// From a connection to the peer's word that the link is up.
const WORD: Duration = Duration::from_secs(10);
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
    /// What heart-beats are stamped with: a lease runs on it, so it must not jump when the system's clock is set.
    pub steady: Clock,
    /// The time of day, for the validity of certificates.
    pub clock: Clock,
}

/// Keeps an agent linked to its control plane. Its links end with it.
pub struct Dialer {
    identity: Arc<Identity>,
    options: DialerOptions,
    client: Client,
    backoff: Backoff,
    /// When the last link came up, until that is taken into account.
    up: Option<Instant>,
    /// Since when there is no link.
    outage: Option<Instant>,
    /// Rounds so far: another address goes first in each.
    rounds: usize,
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
            client: Client::open()?,
            backoff: Backoff::new(),
            up: None,
            outage: None,
            rounds: 0,
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
        // A device that comes to another network need not wait for its turn.
        let mut changes = Changes::watch();
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
            let until = Instant::now() + delay;
            let way = network::way(&self.options.addresses);
            loop {
                tokio::select! {
                    () = tokio::time::sleep_until(until.into()) => break,
                    () = changes.next() => {}
                }
                if network::way(&self.options.addresses) != way {
                    tracing::debug!("the network changed; trying again at once");
                    break;
                }
            }
        }
    }

    /// One round over all addresses.
    ///
    /// # Errors
    /// Of the last address that was tried; at once what the control plane said itself.
    pub async fn dial_once(&mut self) -> Result<Live<ToCloud, ToAgent>, Error> {
        self.rounds = self.rounds.wrapping_add(1);
        let connection = self.connect(alpn::WORK).await?;
        let live = match tokio::time::timeout(WORD, self.work_on(&connection)).await {
            Ok(live) => live?,
            Err(_) => {
                close(&connection, CloseCode::Timeout, "");
                return Err(Error::TimedOut);
            }
        };
        self.up = Some(Instant::now());
        self.outage = None;
        Ok(live)
    }

    async fn connect(&self, protocol: &[u8]) -> Result<Connection, Error> {
        let config = tls::agent_config(self.identity.clone(), protocol, self.options.clock.clone())?;
        let manner = Manner {
            first: self.rounds.wrapping_sub(1),
            eager: self.outage.is_none_or(|since| since.elapsed() < Backoff::EARLY),
        };
        reach(&self.client, &self.options.addresses, &client_config(config)?, manner).await
    }

    async fn work_on(&self, connection: &Connection) -> Result<Live<ToCloud, ToAgent>, Error> {
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
        let says = heartbeat::Says {
            load: self.options.load.clone(),
            steady: self.options.steady.clone(),
            clock: self.options.clock.clone(),
        };
        tokio::spawn(heartbeat::send(live.link.shared.clone(), beats, says));
        tokio::spawn(network::follow(self.client.clone(), connection.clone()));
        Ok(live)
    }

    /// Renews the certificate over the protocol that does nothing else, by proving the key: also when it ran out.
    ///
    /// # Errors
    /// [`Error::RenewalDenied`], [`Error::Revoked`]; whatever the network does.
    pub async fn renew(&self) -> Result<Credential, Error> {
        let connection = self.connect(alpn::RENEW).await?;
        let renewed = tokio::time::timeout(WORD, link::renew(&connection, &self.identity)).await;
        close(&connection, CloseCode::Done, "");
        renewed.map_err(|_| Error::TimedOut)?.map_err(|error| said(&connection, error))
    }

    /// Moves to a new socket; live links move along.
    ///
    /// # Errors
    /// [`Error::Address`] if no socket can be had.
    pub fn rebind(&self) -> Result<(), Error> {
        self.client.rebind()
    }

    /// Closes what is open. Links that were shut down before have sent what they had.
    pub async fn shutdown(&self) {
        self.client
            .endpoint
            .close(quinn::VarInt::from_u32(CloseCode::Shutdown as u32), b"the agent shuts down");
        let _ = tokio::time::timeout(FAREWELL, self.client.endpoint.wait_idle()).await;
    }
}

impl Drop for Dialer {
    fn drop(&mut self) {
        self.client
            .endpoint
            .close(quinn::VarInt::from_u32(CloseCode::Shutdown as u32), b"the agent stops");
    }
}

/// What a device has become.
#[derive(Debug)]
pub struct Joined {
    pub identity: Arc<Identity>,
    /// What the control plane calls it: not what it asked for if its invitation has a name, or the name was taken.
    pub name: String,
}

/// Makes an agent of this device: proves the token, gets a certificate for `key`. The caller saves the identity.
///
/// # Errors
/// [`Error::EnrolmentDenied`] with the control plane's reason, [`Error::UnknownCa`] if the token is of another control
/// plane; whatever the network does.
pub async fn join(token: &JoinToken, name: &str, key: AgentKey, clock: Clock) -> Result<Joined, Error> {
    let client = Client::open()?;
    let config = client_config(tls::join_config(token.ca, clock)?)?;
    let mut request = EnrolRequest {
        token: *token.secret.expose(),
        csr: key.signing_request()?,
        name: name.to_owned(),
    };
    let manner = Manner { first: 0, eager: true };
    let reply = match reach(&client, &token.addresses, &config, manner).await {
        Ok(connection) => {
            let asked = async {
                let (mut send, mut recv) = connection.open_bi().await?;
                frames::write_kind(&mut send, StreamKind::Enrol).await?;
                frames::write_frame(&mut send, &request).await?;
                let _ = send.finish();
                frames::read_frame::<EnrolReply>(&mut recv, SMALL_FRAME).await
            };
            let reply = tokio::time::timeout(WORD, asked).await.map_err(|_| Error::TimedOut);
            close(&connection, CloseCode::Done, "");
            reply.flatten().map_err(|error| said(&connection, error))
        }
        Err(error) => Err(error),
    };
    request.token.zeroize();
    client.endpoint.close(quinn::VarInt::from_u32(CloseCode::Done as u32), b"");
    let _ = tokio::time::timeout(FAREWELL, client.endpoint.wait_idle()).await;
    match reply? {
        EnrolReply::Denied { reason } => Err(Error::EnrolmentDenied(reason)),
        EnrolReply::Granted { chain, name, .. } => {
            let identity = Identity::new(key, chain)?;
            if identity.ca_digest() == token.ca {
                Ok(Joined { identity, name })
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

pub(crate) fn client_config(tls: rustls::ClientConfig) -> Result<ClientConfig, Error> {
    let crypto = QuicClientConfig::try_from(tls).map_err(|e| Error::Crypto(e.to_string()))?;
    let mut config = ClientConfig::new(Arc::new(crypto));
    config.transport_config(transport::transport());
    Ok(config)
}

fn random() -> u64 {
    let mut bytes = [0; 8];
    match getrandom::fill(&mut bytes) {
        Ok(()) => u64::from_le_bytes(bytes),
        // The longest wait: without randomness agents must not crowd.
        Err(_) => u64::MAX,
    }
}

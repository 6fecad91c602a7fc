//! From a first packet to a link, an enrolment, a renewal, or a refusal.

use super::Options;
use super::authority::{Authority, Enrolment, Standing};
use super::places::{Place, Places};
use super::session::{self, Links};
use crate::ca::SigningRequest;
use crate::frames::{self, SMALL_FRAME};
use crate::link::Live;
use crate::throttle::Throttle;
use crate::transport::close;
use crate::{Admission, Ca, Credential, Error, Secret};
use eyot_model::Timestamp;
use eyot_wire::{CloseCode, EnrolReply, EnrolRequest, RenewRequest, StreamKind, ToAgent, ToCloud, alpn};
use parking_lot::Mutex;
use quinn::crypto::rustls::HandshakeData;
use quinn::{Connection, Incoming, RecvStream, SendStream};
use rustls::pki_types::CertificateDer;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::mpsc;

/// Longest name that a device may ask for, in bytes.
const NAME_LIMIT: usize = 128;
/// How long a client that was answered may take to say goodbye.
const GOODBYE: Duration = Duration::from_secs(3);
/// Enrolments at a time, and as many renewals. Who wants to join needs no certificate, so they have no part of the
/// places that agents come to work through.
const REQUESTS: usize = 16;
/// For a client that wants a certificate to say so.
const REQUEST: Duration = Duration::from_secs(5);

pub(super) struct Acceptor {
    pub(super) ca: Arc<Ca>,
    pub(super) authority: Arc<dyn Authority>,
    pub(super) options: Options,
    pub(super) links: Links,
    accepted: mpsc::Sender<Live<ToAgent, ToCloud>>,
    handshakes: Arc<Places>,
    enrolments: Arc<Places>,
    renewals: Arc<Places>,
    crowded: Mutex<Throttle>,
}

/// Why a connection was refused, and what the peer is told.
pub(super) struct Refused {
    pub(super) code: CloseCode,
    pub(super) reason: String,
}

/// What became of a connection that was not refused.
enum Served {
    Link,
    /// It was answered; it may go.
    Request,
}

impl Refused {
    pub(super) fn new(code: CloseCode, reason: impl Into<String>) -> Self {
        Self {
            code,
            reason: reason.into(),
        }
    }

    fn busy(with: &str) -> Self {
        Self::new(CloseCode::Busy, format!("too many {with} at a time"))
    }

    fn timeout() -> Self {
        Self::new(CloseCode::Timeout, "it did not say in time what it wants")
    }

    fn protocol(error: &Error) -> Self {
        let reason = match std::error::Error::source(error) {
            Some(cause) => format!("{error}: {cause}"),
            None => error.to_string(),
        };
        Self::new(CloseCode::Protocol, reason)
    }
}

impl Acceptor {
    pub(super) fn new(
        ca: Arc<Ca>,
        authority: Arc<dyn Authority>,
        options: Options,
        accepted: mpsc::Sender<Live<ToAgent, ToCloud>>,
    ) -> Self {
        Self {
            handshakes: Places::new(options.handshakes),
            enrolments: Places::new(REQUESTS),
            renewals: Places::new(REQUESTS),
            ca,
            authority,
            options,
            links: Links::default(),
            accepted,
            crowded: Mutex::new(Throttle::default()),
        }
    }

    pub(super) async fn run(self: Arc<Self>, endpoint: quinn::Endpoint) {
        while let Some(incoming) = endpoint.accept().await {
            let peer = incoming.remote_address();
            if self.handshakes.busy() && incoming.may_retry() && !incoming.remote_address_validated() {
                // Costs nothing here, and whoever forged the address never comes back.
                let _ = incoming.retry();
                continue;
            }
            let place = match self.handshakes.take(peer.ip()) {
                Ok(place) => Some(place),
                Err(_) => {
                    if let Some(suppressed) = self.crowded.lock().admit(Instant::now()) {
                        tracing::warn!(%peer, suppressed, "connections have to wait: too many handshakes at a time");
                    }
                    // Behind this one the next ones wait in the endpoint, or are dropped there, at no cost.
                    self.handshakes.wait(peer.ip()).await
                }
            };
            match place {
                Some(place) => drop(tokio::spawn(self.clone().admit(incoming, peer, place))),
                // Its client sends it again, after 1, 2 and 4 s. To be refused would end its round.
                None => incoming.ignore(),
            }
        }
    }

    async fn admit(self: Arc<Self>, incoming: Incoming, peer: SocketAddr, place: Place) {
        let limit = self.options.handshake_timeout;
        let handshake = async { incoming.accept()?.await };
        let connection = match tokio::time::timeout(limit, handshake).await {
            Ok(Ok(connection)) => connection,
            Ok(Err(error)) if is_let_go(&error) => {
                // It tried several ways at the same time, and another one was quicker.
                tracing::debug!(%peer, "a client let a handshake go");
                return;
            }
            Ok(Err(error)) => {
                let reason = handshake_failure(&error);
                tracing::warn!(%peer, reason, "refused a connection");
                return;
            }
            Err(_) => {
                tracing::warn!(%peer, reason = "the handshake took too long", "refused a connection");
                return;
            }
        };
        let refused = match tokio::time::timeout(limit, self.serve(&connection, peer, place)).await {
            Ok(Ok(Served::Link)) => return,
            Ok(Ok(Served::Request)) => return goodbye(&connection).await,
            Ok(Err(refused)) => refused,
            Err(_) => Refused::timeout(),
        };
        if let Some(quinn::ConnectionError::ApplicationClosed(close)) = connection.close_reason() {
            tracing::debug!(%peer, %close, "a client left before it said what it wants");
            return;
        }
        match refused.code {
            // Strangers can cause any number of these.
            CloseCode::Busy => {
                if let Some(suppressed) = self.crowded.lock().admit(Instant::now()) {
                    tracing::warn!(%peer, reason = refused.reason, suppressed, "refused a connection");
                }
            }
            _ => tracing::warn!(%peer, reason = refused.reason, "refused a connection"),
        }
        close(&connection, refused.code, &refused.reason);
    }

    /// Keeps the place until a link is up. Who wants a certificate gives it back at once, for one of a few others.
    async fn serve(self: &Arc<Self>, connection: &Connection, peer: SocketAddr, place: Place) -> Result<Served, Refused> {
        let protocol = connection
            .handshake_data()
            .and_then(|data| data.downcast::<HandshakeData>().ok())
            .and_then(|data| data.protocol)
            .unwrap_or_default();
        match protocol.as_slice() {
            alpn::WORK => {
                let credential = self.credential(connection)?;
                self.standing(&credential)?;
                if !credential.validity.contains(self.options.clock.now()) {
                    return Err(Refused::new(
                        CloseCode::Expired,
                        format!("expired certificate of agent {}", credential.agent),
                    ));
                }
                let live = session::open(self, connection.clone(), credential).await?;
                // Revoked while the link came up: whoever revoked it found no link to close.
                if let Err(refused) = self.standing(&credential) {
                    live.link.close(refused.code);
                    return Err(refused);
                }
                tracing::info!(agent = %credential.agent, %peer, "link is up");
                let _ = self.accepted.send(live).await;
                drop(place);
                Ok(Served::Link)
            }
            alpn::RENEW => {
                drop(place);
                let credential = self.credential(connection)?;
                self.standing(&credential)?;
                let _place = self.renewals.take(peer.ip()).map_err(|_| Refused::busy("renewals"))?;
                let (send, recv) = self.one_stream(connection, StreamKind::Renew).await?;
                self.renew(peer, credential, send, recv).await?;
                Ok(Served::Request)
            }
            alpn::JOIN => {
                drop(place);
                let _place = self.enrolments.take(peer.ip()).map_err(|_| Refused::busy("enrolments"))?;
                let (send, recv) = self.one_stream(connection, StreamKind::Enrol).await?;
                self.enrol(peer, send, recv).await?;
                Ok(Served::Request)
            }
            other => Err(Refused::new(
                CloseCode::Protocol,
                format!("unknown protocol `{}`", String::from_utf8_lossy(other)),
            )),
        }
    }

    fn credential(&self, connection: &Connection) -> Result<Credential, Refused> {
        connection
            .peer_identity()
            .and_then(|any| any.downcast::<Vec<CertificateDer<'static>>>().ok())
            .and_then(|chain| chain.first().map(|leaf| Credential::read(leaf)))
            .ok_or_else(|| Refused::new(CloseCode::NoCertificate, "no certificate"))?
            .map_err(|e| Refused::new(CloseCode::NoCertificate, e.to_string()))
    }

    fn standing(&self, credential: &Credential) -> Result<(), Refused> {
        let agent = credential.agent;
        match self.authority.check(agent, credential.serial) {
            Standing::Allowed => Ok(()),
            Standing::Revoked => Err(Refused::new(CloseCode::Revoked, format!("revoked certificate of agent {agent}"))),
            Standing::Unknown => Err(Refused::new(CloseCode::Unknown, format!("agent {agent} is not known here"))),
        }
    }

    async fn one_stream(&self, connection: &Connection, kind: StreamKind) -> Result<(SendStream, RecvStream), Refused> {
        let streams = async {
            let (send, mut recv) = connection.accept_bi().await?;
            match frames::read_kind(&mut recv).await? {
                found if found == kind => Ok((send, recv)),
                found => Err(Error::Protocol(format!("a stream of kind {found:?} instead of {kind:?}"))),
            }
        };
        match tokio::time::timeout(REQUEST, streams).await {
            Ok(stream) => stream.map_err(|e: Error| Refused::protocol(&e)),
            Err(_) => Err(Refused::timeout()),
        }
    }

    async fn enrol(&self, peer: SocketAddr, mut send: SendStream, mut recv: RecvStream) -> Result<(), Refused> {
        let request: EnrolRequest = frames::read_frame(&mut recv, SMALL_FRAME)
            .await
            .map_err(|e| Refused::protocol(&e))?;
        let secret = Secret::from_bytes(request.token);
        let decided = match SigningRequest::read(&request.csr) {
            Err(error) => Err(error.to_string()),
            Ok(_) if request.name.len() > NAME_LIMIT => Err(format!("the name is longer than {NAME_LIMIT} bytes")),
            Ok(csr) => {
                let enrolment = Enrolment {
                    secret: &secret,
                    agent: csr.agent(),
                    name: &request.name,
                    peer,
                };
                self.authority.enrol(enrolment).await.map(|admission| (csr, admission))
            }
        };
        let (csr, admission) = match decided {
            Ok(decided) => decided,
            Err(reason) => {
                tracing::warn!(%peer, name = ?request.name, reason, "refused an enrolment");
                return answer(&mut send, &EnrolReply::Denied { reason }).await;
            }
        };
        tracing::info!(agent = %csr.agent(), %peer, name = admission.name, "enrolled an agent");
        self.grant(&mut send, &csr, admission).await.map(|_| ())
    }

    /// Serves one renewal. A live link of the agent lives as long as the new certificate then.
    pub(super) async fn renew(
        &self,
        peer: SocketAddr,
        credential: Credential,
        mut send: SendStream,
        mut recv: RecvStream,
    ) -> Result<(), Refused> {
        let request: RenewRequest = frames::read_frame(&mut recv, SMALL_FRAME)
            .await
            .map_err(|e| Refused::protocol(&e))?;
        self.standing(&credential)?;
        let decided = match SigningRequest::read(&request.csr) {
            Err(error) => Err(error.to_string()),
            Ok(csr) if csr.agent() != credential.agent => Err("the request is for another key".to_owned()),
            Ok(csr) => {
                let renewed = self.authority.renew(credential.agent, credential.serial).await;
                renewed.map(|admission| (csr, admission))
            }
        };
        match decided {
            Ok((csr, admission)) => {
                tracing::info!(agent = %credential.agent, %peer, "renewed a certificate");
                let not_after = self.grant(&mut send, &csr, admission).await?;
                self.links.renewed(credential.agent, not_after);
                Ok(())
            }
            Err(reason) => {
                tracing::warn!(agent = %credential.agent, %peer, reason, "refused a renewal");
                answer(&mut send, &EnrolReply::Denied { reason }).await
            }
        }
    }

    async fn grant(&self, send: &mut SendStream, csr: &SigningRequest, admission: Admission) -> Result<Timestamp, Refused> {
        let chain = self
            .ca
            .sign(csr, admission.serial, self.options.clock.now(), admission.not_after)
            .map_err(|e| Refused::protocol(&e))?;
        let reply = EnrolReply::Granted {
            agent: csr.agent(),
            name: admission.name,
            chain,
            expires_at: admission.not_after,
        };
        answer(send, &reply).await?;
        Ok(admission.not_after)
    }
}

async fn answer(send: &mut SendStream, reply: &EnrolReply) -> Result<(), Refused> {
    frames::write_frame(send, reply).await.map_err(|e| Refused::protocol(&e))?;
    let _ = send.finish();
    Ok(())
}

/// Waits until the client has its answer and closes.
async fn goodbye(connection: &Connection) {
    let _ = tokio::time::timeout(GOODBYE, connection.closed()).await;
    close(connection, CloseCode::Done, "");
}

/// Whether the client itself gave up a handshake, without a complaint.
fn is_let_go(error: &quinn::ConnectionError) -> bool {
    use quinn::ConnectionError as E;
    match error {
        E::ApplicationClosed(_) => true,
        E::ConnectionClosed(close) => {
            let code = close.error_code;
            code == quinn::TransportErrorCode::APPLICATION_ERROR || code == quinn::TransportErrorCode::NO_ERROR
        }
        _ => false,
    }
}

/// Why a handshake failed, in words for the log.
fn handshake_failure(error: &quinn::ConnectionError) -> String {
    use quinn::ConnectionError as E;
    let alert = |code: quinn::TransportErrorCode| u64::from(code).checked_sub(0x100);
    match error {
        // What we found wrong with the client.
        E::TransportError(e) => match alert(e.code) {
            Some(48) => "certificate of another CA".into(),
            Some(44) => "revoked certificate".into(),
            Some(45) => "certificate not valid at this time".into(),
            Some(120) => "unknown protocol: the program is of another version".into(),
            Some(51) => "forged certificate, or a wrong proof of its key".into(),
            Some(42 | 43 | 46 | 49) => format!("unusable certificate: {}", e.reason),
            _ => e.to_string(),
        },
        // What the client found wrong with us.
        E::ConnectionClosed(e) => match alert(e.error_code) {
            Some(48) => "the client does not know our CA (unknown CA): it was set up for another control plane".into(),
            Some(n) if n <= 0xff => format!("the client refused our certificate (TLS alert {n})"),
            _ => e.to_string(),
        },
        E::TimedOut => "the handshake took too long".into(),
        other => other.to_string(),
    }
}

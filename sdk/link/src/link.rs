//! A live link: messages, events, streams for blobs.

use crate::frames::{self, FrameReader};
use crate::heartbeat::Beat;
use crate::rates::{Bandwidth, Rates};
use crate::transport;
use crate::{Credential, Error, Identity};
use bytes::Bytes;
use eyot_model::{AgentId, Millis};
use eyot_wire::{CloseCode, EnrolReply, FRAME_LIMIT, Heartbeat, HeartbeatReply, RenewRequest, StreamKind, ToAgent, ToCloud};
use parking_lot::Mutex;
use quinn::{Connection, RecvStream, SendStream};
use serde::{Serialize, de::DeserializeOwned};
use std::marker::PhantomData;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot, watch};

/// Messages that may wait on either side of a link, by count and by bytes.
const QUEUE: usize = 1_024;
const QUEUE_BYTES: usize = 2 * FRAME_LIMIT;
/// Blob streams that may wait to be served.
const BLOB_QUEUE: usize = 64;
/// How long the other side may take to confirm what was last sent when a link is shut down.
const FAREWELL: Duration = Duration::from_secs(3);
pub(crate) const DEFAULT_HEARTBEAT: Duration = Duration::from_secs(1);
/// What a control plane may ask for.
const HEARTBEAT_BOUNDS: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(60));

/// The other side of a link, proven by its certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Peer {
    Cloud,
    Agent(AgentId),
}

/// The agent's end of a link.
pub type AgentLink = Link<ToCloud>;
/// The control plane's end of a link.
pub type CloudLink = Link<ToAgent>;

/// A link as it came up: the handle to send with, and the one stream of what comes in.
pub struct Live<S, R> {
    pub link: Link<S>,
    pub events: Events<R>,
}

/// What happens on a link.
#[derive(Debug)]
pub enum Happening<R> {
    /// In the order in which the other side sent them.
    Message(R),
    /// The latest heart-beat (control plane's end only). Its answer is sent already.
    Heartbeat(Heartbeat),
    /// The control plane answered a heart-beat (agent's end only): a lease runs from its `sent_at`.
    Acknowledged(HeartbeatReply),
    /// Three heart-beats are missing.
    Suspect,
    /// Heart-beats are back.
    Restored,
    /// The end: after it there is nothing more. The error says whose doing it was and whether to come back.
    Closed(Arc<Error>),
}

/// The handle of a live link; cheap to clone. `S` is what this end sends.
pub struct Link<S> {
    pub(crate) shared: Arc<Shared>,
    sends: PhantomData<fn(S)>,
}

pub(crate) struct Shared {
    pub(crate) connection: Connection,
    pub(crate) peer: Peer,
    outbox: mpsc::Sender<Outgoing>,
    outbox_bytes: Arc<Semaphore>,
    pub(crate) heartbeat_every: watch::Sender<Duration>,
    pub(crate) signals: watch::Sender<Signals>,
    pub(crate) rates: Rates,
    blobs: Mutex<Option<mpsc::Receiver<BlobStream>>>,
}

enum Outgoing {
    Frame(Bytes, OwnedSemaphorePermit),
    Finish(oneshot::Sender<()>),
}

pub(crate) struct BlobStream {
    pub(crate) send: SendStream,
    pub(crate) recv: RecvStream,
}

/// The present state of things that are not queued.
#[derive(Clone, Default)]
pub(crate) struct Signals {
    pub(crate) beats: u64,
    pub(crate) beat: Option<Beat>,
    pub(crate) suspect: bool,
    closed: Option<Arc<Error>>,
    /// Nothing that waits counts any more.
    discard: bool,
}

/// What comes in on a link. Dropping it closes the link.
pub struct Events<R> {
    shared: Arc<Shared>,
    inbox: mpsc::Receiver<(R, OwnedSemaphorePermit)>,
    signals: watch::Receiver<Signals>,
    beats: u64,
    suspect: bool,
    drained: bool,
}

/// Both ends' messages, so far as the link itself looks at them.
pub(crate) trait Message: Serialize + DeserializeOwned + Send + 'static {
    /// The heart-beat interval, if this message sets it.
    fn heartbeat_every(&self) -> Option<Millis>;
}

impl Message for ToCloud {
    fn heartbeat_every(&self) -> Option<Millis> {
        None
    }
}

impl Message for ToAgent {
    fn heartbeat_every(&self) -> Option<Millis> {
        match self {
            Self::Welcome(welcome) => Some(welcome.heartbeat_every),
            _ => None,
        }
    }
}

/// Serves the renewal streams of a link; only the control plane does.
pub(crate) type OnRenew = Arc<dyn Fn(SendStream, RecvStream) + Send + Sync>;

impl<S> Clone for Link<S> {
    fn clone(&self) -> Self {
        Self {
            shared: self.shared.clone(),
            sends: PhantomData,
        }
    }
}

#[expect(private_bounds, reason = "only the two message types of the protocol travel")]
impl<S: Message> Link<S> {
    /// Queues a message, in order. Waits while the queue is full, so a slow peer slows its sender. Heart-beats never
    /// wait behind messages.
    ///
    /// # Errors
    /// [`Error::Encode`] if it is over the frame limit; why the link is closed, if it is.
    pub async fn send(&self, message: &S) -> Result<(), Error> {
        let frame = Bytes::from(eyot_wire::encode(message)?);
        let bytes = u32::try_from(frame.len()).unwrap_or(u32::MAX);
        let permit = self.shared.outbox_bytes.clone().acquire_many_owned(bytes).await;
        let permit = permit.map_err(|_| self.shared.closed_error())?;
        if let Some(every) = message.heartbeat_every() {
            self.shared.set_heartbeat(every);
        }
        let sent = self.shared.outbox.send(Outgoing::Frame(frame, permit)).await;
        sent.map_err(|_| self.shared.closed_error())
    }

    /// Sends what is queued, waits until the peer has it (a few seconds at most), and closes.
    pub async fn shutdown(&self, code: CloseCode) {
        let (done, finished) = oneshot::channel();
        if self.shared.outbox.send(Outgoing::Finish(done)).await.is_ok() {
            let _ = tokio::time::timeout(FAREWELL, finished).await;
        }
        self.close(code);
    }
}

impl<S> Link<S> {
    #[must_use]
    pub fn peer(&self) -> Peer {
        self.shared.peer
    }

    /// Where the peer is now; it may move.
    #[must_use]
    pub fn peer_addr(&self) -> SocketAddr {
        self.shared.connection.remote_address()
    }

    #[must_use]
    pub fn rtt(&self) -> Duration {
        self.shared.connection.rtt()
    }

    /// Measured on the blobs that this link moved so far.
    #[must_use]
    pub fn bandwidth(&self) -> Bandwidth {
        self.shared.rates.bandwidth()
    }

    #[must_use]
    pub fn is_suspect(&self) -> bool {
        self.shared.signals.borrow().suspect
    }

    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.shared.connection.close_reason().is_some()
    }

    /// Resolves when the link is closed, with the reason.
    pub async fn closed(&self) -> Arc<Error> {
        let mut signals = self.shared.signals.subscribe();
        // The sender lives in `shared`.
        let reason = signals.wait_for(|s| s.closed.is_some()).await.ok().and_then(|s| s.closed.clone());
        reason.unwrap_or_else(|| Arc::new(Error::Closed))
    }

    /// Closes at once; what is queued is lost. See [`Link::shutdown`].
    pub fn close(&self, code: CloseCode) {
        self.shared.close(code, Error::from_close(code, "closed here"));
    }
}

impl AgentLink {
    /// Renews the certificate over this link. New connections use the new one; this link lives on.
    ///
    /// # Errors
    /// [`Error::RenewalDenied`]; whatever the link meets.
    pub async fn renew(&self, identity: &Identity) -> Result<Credential, Error> {
        renew(&self.shared.connection, identity).await
    }
}

/// Asks for a new certificate on a connection.
pub(crate) async fn renew(connection: &Connection, identity: &Identity) -> Result<Credential, Error> {
    let (mut send, mut recv) = connection.open_bi().await?;
    frames::write_kind(&mut send, StreamKind::Renew).await?;
    let csr = identity.signing_request()?;
    frames::write_frame(&mut send, &RenewRequest { csr }).await?;
    let _ = send.finish();
    match frames::read_frame(&mut recv, frames::SMALL_FRAME).await? {
        EnrolReply::Granted { chain, .. } => identity.replace(chain),
        EnrolReply::Denied { reason } => Err(Error::RenewalDenied(reason)),
    }
}

impl Shared {
    pub(crate) fn close(&self, code: CloseCode, reason: Error) {
        self.signals.send_if_modified(|s| {
            if s.closed.is_some() {
                return false;
            }
            s.closed = Some(Arc::new(reason));
            s.discard = code == CloseCode::Revoked;
            true
        });
        self.outbox_bytes.close();
        transport::close(&self.connection, code, "");
    }

    /// Closes because of what the peer did, and says so once.
    pub(crate) fn refuse(&self, error: Error) {
        let reason = match std::error::Error::source(&error) {
            Some(cause) => format!("{error}: {cause}"),
            None => error.to_string(),
        };
        if self.connection.close_reason().is_none() {
            tracing::warn!(peer = %self.connection.remote_address(), who = ?self.peer, reason, "closed a link");
        }
        self.close(CloseCode::Protocol, error);
    }

    fn closed_error(&self) -> Error {
        match self.connection.close_reason() {
            Some(reason) => reason.into(),
            None => Error::Closed,
        }
    }

    fn set_heartbeat(&self, every: Millis) {
        let every = every.as_duration().clamp(HEARTBEAT_BOUNDS.0, HEARTBEAT_BOUNDS.1);
        self.heartbeat_every.send_if_modified(|now| std::mem::replace(now, every) != every);
    }

    pub(crate) fn take_blob_streams(&self) -> Option<mpsc::Receiver<BlobStream>> {
        self.blobs.lock().take()
    }
}

/// Starts the tasks of a link on its two streams, whose kinds were exchanged already. The heart-beats are the caller's.
pub(crate) fn start<S: Message, R: Message>(
    connection: Connection,
    peer: Peer,
    control: (SendStream, RecvStream),
    on_renew: Option<OnRenew>,
) -> Live<S, R> {
    let (outbox, outgoing) = mpsc::channel(QUEUE);
    let (incoming, inbox) = mpsc::channel(QUEUE);
    let (blob_streams, blobs) = mpsc::channel(BLOB_QUEUE);
    let signals = watch::Sender::new(Signals::default());
    let shared = Arc::new(Shared {
        connection,
        peer,
        outbox,
        outbox_bytes: Arc::new(Semaphore::new(QUEUE_BYTES)),
        heartbeat_every: watch::Sender::new(DEFAULT_HEARTBEAT),
        signals,
        rates: Rates::default(),
        blobs: Mutex::new(Some(blobs)),
    });
    let (send, recv) = control;
    tokio::spawn(write_messages(shared.clone(), send, outgoing));
    tokio::spawn(read_messages(shared.clone(), recv, incoming));
    tokio::spawn(accept_streams(shared.clone(), blob_streams, on_renew));
    tokio::spawn(watch_end(shared.clone()));
    Live {
        events: Events {
            signals: shared.signals.subscribe(),
            shared: shared.clone(),
            inbox,
            beats: 0,
            suspect: false,
            drained: false,
        },
        link: Link {
            shared,
            sends: PhantomData,
        },
    }
}

async fn write_messages(shared: Arc<Shared>, mut send: SendStream, mut outgoing: mpsc::Receiver<Outgoing>) {
    let mut batch = Vec::new();
    let mut farewell = None;
    let end = shared.connection.clone();
    while farewell.is_none() {
        let queued = tokio::select! {
            queued = outgoing.recv_many(&mut batch, 64) => queued,
            _ = end.closed() => break,
        };
        if queued == 0 {
            break;
        }
        let (mut frames, mut permits) = (Vec::with_capacity(batch.len()), Vec::with_capacity(batch.len()));
        for item in batch.drain(..) {
            match item {
                Outgoing::Frame(frame, permit) => {
                    frames.push(frame);
                    permits.push(permit);
                }
                Outgoing::Finish(done) => farewell = Some(done),
            }
        }
        if send.write_all_chunks(&mut frames).await.is_err() {
            // Why is found out by whoever watches the connection.
            break;
        }
    }
    if let Some(done) = farewell {
        let _ = send.finish();
        let _ = send.stopped().await;
        let _ = done.send(());
    }
    shared.outbox_bytes.close();
}

async fn read_messages<R: Message>(shared: Arc<Shared>, recv: RecvStream, incoming: mpsc::Sender<(R, OwnedSemaphorePermit)>) {
    let room = Arc::new(Semaphore::new(QUEUE_BYTES));
    let mut frames = FrameReader::new(recv);
    loop {
        let body = match frames.next().await {
            Ok(Some(body)) => body,
            Ok(None) => return,
            Err(Error::Connection(_) | Error::Closed | Error::TimedOut) => return,
            Err(error) if shared.connection.close_reason().is_some() => {
                tracing::debug!(%error, "control stream ended");
                return;
            }
            Err(error) => return shared.refuse(error),
        };
        let message: R = match eyot_wire::decode(&body) {
            Ok(message) => message,
            Err(error) => return shared.refuse(error.into()),
        };
        if let Some(every) = message.heartbeat_every() {
            shared.set_heartbeat(every);
        }
        let bytes = u32::try_from(body.len()).unwrap_or(u32::MAX);
        drop(body);
        // Never closed here.
        let Ok(permit) = room.clone().acquire_many_owned(bytes).await else {
            return;
        };
        if incoming.send((message, permit)).await.is_err() {
            // Nobody listens any more.
            return shared.close(CloseCode::Done, Error::Closed);
        }
    }
}

async fn accept_streams(shared: Arc<Shared>, blobs: mpsc::Sender<BlobStream>, on_renew: Option<OnRenew>) {
    while let Ok((send, mut recv)) = shared.connection.accept_bi().await {
        let (shared, blobs, on_renew) = (shared.clone(), blobs.clone(), on_renew.clone());
        // Of its own: a peer that opens a stream and says nothing holds up nobody else.
        tokio::spawn(async move {
            match (frames::read_kind(&mut recv).await, on_renew) {
                (Ok(StreamKind::Blob), _) => {
                    // A full queue or no service: both streams are reset when dropped.
                    let _ = blobs.try_send(BlobStream { send, recv });
                }
                (Ok(StreamKind::Renew), Some(serve)) => serve(send, recv),
                (Ok(kind), _) => shared.refuse(Error::Protocol(format!("a stream of kind {kind:?} where none may be"))),
                (Err(Error::Protocol(what)), _) if shared.connection.close_reason().is_none() => shared.refuse(Error::Protocol(what)),
                (Err(_), _) => {}
            }
        });
    }
}

async fn watch_end(shared: Arc<Shared>) {
    let reason = Arc::new(Error::from(shared.connection.closed().await));
    shared.outbox_bytes.close();
    shared.signals.send_if_modified(|s| {
        let first = s.closed.is_none();
        if first {
            s.closed = Some(reason);
        }
        first
    });
}

impl<R> Events<R> {
    /// The next event. After [`Happening::Closed`] it says so again and again. May be dropped and called again.
    pub async fn next(&mut self) -> Happening<R> {
        loop {
            let now = self.signals.borrow_and_update().clone();
            if now.beats != self.beats {
                self.beats = now.beats;
                match now.beat {
                    Some(Beat::Sent(beat)) => return Happening::Heartbeat(beat),
                    Some(Beat::Answered(reply)) => return Happening::Acknowledged(reply),
                    None => {}
                }
            }
            if now.suspect != self.suspect {
                self.suspect = now.suspect;
                return if now.suspect { Happening::Suspect } else { Happening::Restored };
            }
            if let Some(reason) = now.closed
                && (self.drained || now.discard)
            {
                return Happening::Closed(reason);
            }
            tokio::select! {
                biased;
                _ = self.signals.changed() => {}
                message = self.inbox.recv(), if !self.drained => match message {
                    Some((message, _permit)) => return Happening::Message(message),
                    None => self.drained = true,
                },
            }
        }
    }
}

impl<R> Drop for Events<R> {
    fn drop(&mut self) {
        self.shared.close(CloseCode::Done, Error::Closed);
    }
}

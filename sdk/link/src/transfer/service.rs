//! Serving the peer's blob streams.

use super::{TransferError, blocking, proof, receive, send};
use crate::link::{BlobStream, Link, Shared};
use crate::server::Future;
use crate::{Error, Peer, frames};
use eyot_blob::{Begin, Source, Store};
use eyot_model::Digest;
use eyot_wire::{BLOB_LIMIT, BlobProof, BlobReply, BlobRequest, RANGE_LIMIT, stream_code};
use quinn::{RecvStream, SendStream, VarInt};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::Semaphore;

/// Transfers that one peer may have served at a time; more wait.
const PER_LINK: usize = 16;
/// For a blob stream to say what it wants.
const REQUEST: Duration = Duration::from_secs(10);
/// For a blob to begin to arrive after [`BlobPolicy::provide`] said that it will.
const APPEAR: Duration = Duration::from_secs(30);
/// For a peer that was sent everything to write it down.
const VERDICT: Duration = Duration::from_secs(60);
/// For a peer to read all of a blob and prove that it has it: so long, and a second for each so many bytes.
const PROOF: Duration = Duration::from_secs(60);
const PROOF_RATE: u64 = 1 << 20;
/// How often the bringing of a blob by somebody else is waited for.
const FOLLOWS: u32 = 3;

/// Decides which blobs a peer may read and write. Asked for each transfer.
pub trait BlobPolicy: Send + Sync + 'static {
    fn may_read(&self, peer: Peer, digest: &Digest) -> bool;

    /// `Err` is the reason, which the peer is told.
    ///
    /// # Errors
    /// If the peer may not write this blob here.
    fn may_write(&self, peer: Peer, digest: &Digest, size: u64) -> Result<(), String>;

    /// Whether a peer is known to have a blob that is here: it may read it, or it brought it. Otherwise it has to prove that.
    fn may_name(&self, peer: Peer, digest: &Digest) -> bool {
        let _ = (peer, digest);
        true
    }

    /// A peer brought all bytes of a blob that is here now, or proved that it has them. Called before it is told so.
    fn brought(&self, peer: Peer, digest: &Digest) {
        let _ = (peer, digest);
    }

    /// A peer may read a blob that is not here: a chance to get it from somewhere else, by starting a [`super::fetch`]
    /// from another peer into the same store. True if it will begin to arrive soon; it is passed on while it arrives.
    fn provide<'a>(&'a self, peer: Peer, digest: &'a Digest) -> Future<'a, bool> {
        let _ = (peer, digest);
        Box::pin(std::future::ready(false))
    }
}

/// Serves a store's blobs on links.
#[derive(Clone)]
pub struct BlobService {
    store: Store,
    policy: Arc<dyn BlobPolicy>,
    transfers: Arc<Semaphore>,
}

impl BlobService {
    /// `transfers` is how many are served at a time on all links together; more wait.
    #[must_use]
    pub fn new(store: Store, policy: Arc<dyn BlobPolicy>, transfers: usize) -> Self {
        Self {
            store,
            policy,
            transfers: Arc::new(Semaphore::new(transfers)),
        }
    }

    /// Serves the peer's blob streams until the link closes. Once for each link.
    pub fn attach<S>(&self, link: &Link<S>) {
        let shared = link.shared.clone();
        let Some(mut streams) = shared.take_blob_streams() else { return };
        let service = self.clone();
        let own = Arc::new(Semaphore::new(PER_LINK));
        tokio::spawn(async move {
            loop {
                let stream = tokio::select! {
                    stream = streams.recv() => stream,
                    _ = shared.connection.closed() => None,
                };
                let Some(BlobStream { send, recv }) = stream else { return };
                // Neither is ever closed.
                let Ok(permit) = own.clone().acquire_owned().await else { return };
                let Ok(global) = service.transfers.clone().acquire_owned().await else {
                    return;
                };
                let (service, shared) = (service.clone(), shared.clone());
                tokio::spawn(async move {
                    service.serve(&shared, send, recv).await;
                    drop((permit, global));
                });
            }
        });
    }

    async fn serve(&self, shared: &Shared, mut send: SendStream, mut recv: RecvStream) {
        let peer = shared.peer;
        let request = tokio::time::timeout(REQUEST, frames::read_frame(&mut recv, frames::SMALL_FRAME)).await;
        let (digest, served) = match request {
            Ok(Ok(BlobRequest::Get { digest, offset, outline })) => {
                let served = self.get(shared, &mut send, digest, offset, outline).await;
                (digest, self.verdict(served, &mut recv, digest).await)
            }
            Ok(Ok(BlobRequest::Put { digest, size })) => (digest, self.put(shared, &mut send, &mut recv, digest, size).await),
            Ok(Err(error @ (Error::Frame(_) | Error::Protocol(_)))) if shared.connection.close_reason().is_none() => {
                return shared.refuse(error);
            }
            Ok(Err(_)) | Err(_) => return,
        };
        match served {
            Ok(()) => {}
            Err(TransferError::Cut { .. } | TransferError::Link(_)) => {
                tracing::debug!(who = ?peer, %digest, "a blob transfer was cut");
            }
            Err(error) => {
                let reason = match std::error::Error::source(&error) {
                    Some(cause) => format!("{error}: {cause}"),
                    None => error.to_string(),
                };
                tracing::warn!(who = ?peer, addr = %shared.connection.remote_address(), %digest, reason, "refused a blob transfer");
            }
        }
    }

    async fn get(&self, shared: &Shared, send: &mut SendStream, digest: Digest, offset: u64, outline: bool) -> Result<(), TransferError> {
        if !self.policy.may_read(shared.peer, &digest) {
            let reason = "this blob is not among those that it may read".to_owned();
            return deny(send, reason).await;
        }
        let Some(source) = self.source(shared.peer, digest).await? else {
            reply(send, &BlobReply::NotFound).await?;
            return Err(TransferError::NotFound { digest });
        };
        let size = source.outline().size();
        if offset > size || (!offset.is_multiple_of(RANGE_LIMIT) && offset != size) {
            return deny(send, format!("{offset} is not the beginning of a range")).await;
        }
        frames::write_frame(send, &BlobReply::Ready { size, offset, outline }).await?;
        let started = Instant::now();
        let sending = async {
            if outline {
                send.write_all(&source.outline().encode()).await?;
            }
            send::ranges(send, &source, offset).await
        };
        match sending.await {
            Ok(()) => {
                let _ = send.finish();
                shared.rates.sent(size - offset, started.elapsed());
                Ok(())
            }
            Err(stopped) => Err(stopped.explain(digest)),
        }
    }

    /// Waits for what the peer says of what it got.
    async fn verdict(&self, served: Result<(), TransferError>, recv: &mut RecvStream, digest: Digest) -> Result<(), TransferError> {
        let served = match served {
            Ok(()) => match tokio::time::timeout(VERDICT, frames::read_frame(recv, frames::SMALL_FRAME)).await {
                Ok(Ok(BlobReply::Corrupt)) => Err(TransferError::Corrupt { digest }),
                _ => Ok(()),
            },
            failed => failed,
        };
        if matches!(served, Err(TransferError::Corrupt { .. })) {
            send::doubt(&self.store, digest);
        }
        served
    }

    async fn source(&self, peer: Peer, digest: Digest) -> Result<Option<Source>, TransferError> {
        if let Some(source) = blocking(&self.store, move |store| store.source(&digest)).await? {
            return Ok(Some(source));
        }
        if !self.policy.provide(peer, &digest).await {
            return Ok(None);
        }
        match tokio::time::timeout(APPEAR, self.store.appears(&digest)).await {
            Ok(source) => Ok(Some(source?)),
            Err(_) => Ok(None),
        }
    }

    async fn put(
        &self,
        shared: &Shared,
        send: &mut SendStream,
        recv: &mut RecvStream,
        digest: Digest,
        size: u64,
    ) -> Result<(), TransferError> {
        if size > BLOB_LIMIT {
            return deny(send, format!("{size} bytes are over the limit of {BLOB_LIMIT} bytes")).await;
        }
        if let Err(reason) = self.policy.may_write(shared.peer, &digest, size) {
            return deny(send, reason).await;
        }
        for _ in 0..FOLLOWS {
            let begun = match blocking(&self.store, move |store| store.resume(&digest, Some(size))).await {
                Ok(begun) => begun,
                Err(error) => return busy(send, error).await,
            };
            let arrival = match begun {
                Some(Begin::Here) => {
                    // Maybe put in here and not synced yet; "stored" says that it is.
                    blocking(&self.store, move |store| store.sync(&[digest])).await?;
                    frames::write_frame(send, &ready(size, size, false)).await?;
                    return self.settle(shared.peer, send, recv, (digest, size), false).await;
                }
                Some(Begin::Arriving) => {
                    let _ = self.store.whole(&digest).await;
                    continue;
                }
                Some(Begin::Arrival(arrival)) => {
                    frames::write_frame(send, &ready(size, arrival.verified(), false)).await?;
                    arrival
                }
                None => {
                    frames::write_frame(send, &ready(size, 0, true)).await?;
                    let outline = match receive::outline(recv, digest, size).await {
                        Ok(outline) => outline,
                        Err(error) => return corrupt(send, error).await,
                    };
                    match blocking(&self.store, move |store| store.begin(outline)).await {
                        Ok(Begin::Arrival(arrival)) => arrival,
                        Ok(Begin::Here | Begin::Arriving) => {
                            // Somebody else was faster: their bytes are as good.
                            let _ = recv.stop(VarInt::from_u32(stream_code::CANCELLED));
                            self.store.whole(&digest).await?;
                            if self.policy.may_name(shared.peer, &digest) {
                                return reply(send, &BlobReply::Stored { offset: size }).await;
                            }
                            // It stopped sending, so it can prove nothing now.
                            break;
                        }
                        Err(error) => return busy(send, error).await,
                    }
                }
            };
            let started = Instant::now();
            let moved = size - arrival.verified();
            // The end of a blob that somebody else began proves nothing of its beginning.
            let all = arrival.verified() == 0;
            let received = receive::ranges(recv, arrival, receive::Listener::Peer(send)).await;
            return match received {
                Ok(()) => {
                    shared.rates.received(moved, started.elapsed());
                    self.settle(shared.peer, send, recv, (digest, size), all).await
                }
                Err(error @ TransferError::Corrupt { .. }) => corrupt(send, error).await,
                Err(error @ TransferError::Store(_)) => busy(send, error).await,
                Err(error) => Err(error),
            };
        }
        reply(
            send,
            &BlobReply::Busy {
                reason: "somebody else is bringing this blob and does not end".into(),
            },
        )
        .await
    }

    /// The last word to a peer whose blob is here whole. One that did not bring `all` of it proves that it has it, unless
    /// that is known.
    async fn settle(
        &self,
        peer: Peer,
        send: &mut SendStream,
        recv: &mut RecvStream,
        (digest, size): (Digest, u64),
        all: bool,
    ) -> Result<(), TransferError> {
        if !all && !self.policy.may_name(peer, &digest) {
            let nonce = nonce()?;
            frames::write_frame(send, &BlobReply::Prove { nonce }).await?;
            let limit = PROOF + Duration::from_secs(size / PROOF_RATE);
            let proof: BlobProof = match tokio::time::timeout(limit, frames::read_frame(recv, frames::SMALL_FRAME)).await {
                Ok(proof) => proof?,
                Err(_) => return Err(TransferError::Cut { digest }),
            };
            let source = blocking(&self.store, move |store| store.source(&digest)).await?;
            let source = source.ok_or(TransferError::NotFound { digest })?;
            if proof::of(source, nonce).await? != blake3::Hash::from_bytes(proof.keyed) {
                return deny(send, "it does not have the bytes of this blob".to_owned()).await;
            }
        }
        self.policy.brought(peer, &digest);
        reply(send, &BlobReply::Stored { offset: size }).await
    }
}

/// The key of a proof.
fn nonce() -> Result<[u8; 32], Error> {
    let mut nonce = [0; 32];
    getrandom::fill(&mut nonce).map_err(|e| Error::Crypto(e.to_string()))?;
    Ok(nonce)
}

fn ready(size: u64, offset: u64, outline: bool) -> BlobReply {
    BlobReply::Ready { size, offset, outline }
}

async fn reply(send: &mut SendStream, reply: &BlobReply) -> Result<(), TransferError> {
    frames::write_frame(send, reply).await?;
    let _ = send.finish();
    Ok(())
}

async fn deny(send: &mut SendStream, reason: String) -> Result<(), TransferError> {
    reply(send, &BlobReply::Denied { reason: reason.clone() }).await?;
    Err(TransferError::Denied { reason })
}

async fn corrupt(send: &mut SendStream, error: TransferError) -> Result<(), TransferError> {
    if matches!(error, TransferError::Corrupt { .. }) {
        reply(send, &BlobReply::Corrupt).await?;
    }
    Err(error)
}

async fn busy(send: &mut SendStream, error: TransferError) -> Result<(), TransferError> {
    // What is wrong with the disk here is for the log here.
    let reason = match &error {
        TransferError::Store(e) if e.is_full() => "no room for it",
        _ => "the store failed",
    };
    reply(send, &BlobReply::Busy { reason: reason.into() }).await?;
    Err(error)
}

//! Blobs over a link: fetched, pushed, served, each range verified before it is kept, passed on or acknowledged.

mod proof;
mod receive;
mod send;
mod service;

pub use service::{BlobPolicy, BlobService};

use crate::link::{Link, Shared};
use crate::{Error, Kind, frames};
use eyot_blob::{Begin, Outline, Source, Store};
use eyot_model::Digest;
use eyot_wire::{BLOB_LIMIT, BlobProof, BlobReply, BlobRequest, RANGE_LIMIT, StreamKind, stream_code};
use quinn::{RecvStream, SendStream, VarInt};
use std::time::{Duration, Instant};

const _: () = assert!(RANGE_LIMIT == eyot_blob::RANGE_LEN);

/// A peer that gives or takes not one byte for so long has stalled, and gives its place up.
const STALL: Duration = Duration::from_secs(60);
/// How often a transfer of the same blob that somebody else began is waited for before this gives up.
const FOLLOWS: u32 = 3;

/// What a transfer moved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Moved {
    /// Of the blob, in bytes.
    pub size: u64,
    /// Over the link in this call, in bytes: less than the size after a cut, zero if the blob was there already.
    pub moved: u64,
}

#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TransferError {
    #[error("the peer has no blob {digest}")]
    NotFound { digest: Digest },
    #[error("the peer does not allow it: {reason}")]
    Denied { reason: String },
    #[error("the peer cannot do it now: {reason}")]
    Busy { reason: String },
    /// What the peer sent, or got, is not what the digest says. The wrong range was not kept.
    #[error("the bytes on the way are not those of blob {digest}")]
    Corrupt { digest: Digest },
    /// What was verified so far is kept: call again to go on.
    #[error("the transfer of blob {digest} was cut")]
    Cut { digest: Digest },
    #[error("the blob store failed")]
    Store(#[from] eyot_blob::Error),
    #[error("the link failed")]
    Link(#[from] Error),
}

impl TransferError {
    #[must_use]
    pub fn kind(&self) -> Kind {
        match self {
            Self::NotFound { .. } | Self::Denied { .. } => Kind::Terminal,
            Self::Busy { .. } | Self::Cut { .. } | Self::Corrupt { .. } => Kind::Retryable,
            Self::Store(e) if e.is_retryable() => Kind::Retryable,
            Self::Store(_) => Kind::Terminal,
            Self::Link(e) => e.kind(),
        }
    }
}

/// Gets a blob from the peer into `store`, durable when this returns. `progress` is called with the bytes that are
/// verified and the size. If somebody else is getting the same blob already, this waits for them.
///
/// # Errors
/// See [`TransferError`].
pub async fn fetch<S>(
    link: &Link<S>,
    digest: Digest,
    store: &Store,
    mut progress: impl FnMut(u64, u64) + Send,
) -> Result<Moved, TransferError> {
    for _ in 0..FOLLOWS {
        let begun = blocking(store, move |store| store.resume(&digest, None)).await?;
        let arrival = match begun {
            Some(Begin::Here) => return here(store, digest).await,
            Some(Begin::Arriving) => match store.whole(&digest).await {
                Ok(()) => return here(store, digest).await,
                // Whoever brought it gave up: take over.
                Err(_) => continue,
            },
            Some(Begin::Arrival(arrival)) => Some(arrival),
            None => None,
        };
        let (mut send, mut recv) = open(&link.shared).await?;
        let request = BlobRequest::Get {
            digest,
            offset: arrival.as_ref().map_or(0, eyot_blob::Arrival::verified),
            outline: arrival.is_none(),
        };
        frames::write_frame(&mut send, &request).await?;
        let size = match frames::read_frame(&mut recv, frames::SMALL_FRAME).await? {
            BlobReply::Ready { size, .. } if size <= BLOB_LIMIT => size,
            BlobReply::Ready { size, .. } => return Err(eyot_blob::Error::TooLarge { size, limit: BLOB_LIMIT }.into()),
            other => return Err(refusal(other, digest)),
        };
        let arrival = match arrival {
            // The outline that is known is proven: a peer that says another size has something else.
            Some(arrival) if arrival.outline().size() == size => arrival,
            Some(_) => return Err(TransferError::Corrupt { digest }),
            None => {
                let outline = receive::outline(&mut recv, digest, size).await?;
                match blocking(store, move |store| store.begin(outline)).await? {
                    // What comes now begins at the beginning; the outline is known from here on, so ask for the rest alone.
                    Begin::Arrival(arrival) if (1..size).contains(&arrival.verified()) => {
                        let _ = recv.stop(VarInt::from_u32(stream_code::CANCELLED));
                        continue;
                    }
                    Begin::Arrival(arrival) => arrival,
                    Begin::Here | Begin::Arriving => {
                        let _ = recv.stop(VarInt::from_u32(stream_code::CANCELLED));
                        continue;
                    }
                }
            }
        };
        let started = Instant::now();
        let offset = arrival.verified();
        let mut verified = |verified| progress(verified, size);
        let received = receive::ranges(&mut recv, arrival, receive::Listener::Progress(&mut verified)).await;
        if matches!(received, Err(TransferError::Corrupt { .. })) {
            // So that the holder looks at its file.
            let _ = frames::write_frame(&mut send, &BlobReply::Corrupt).await;
        }
        let _ = send.finish();
        received?;
        let moved = size - offset;
        link.shared.rates.received(moved, started.elapsed());
        return Ok(Moved { size, moved });
    }
    Err(TransferError::Cut { digest })
}

/// Brings a blob from `store` to the peer, durable there when this returns. The blob may still be arriving here.
///
/// # Errors
/// See [`TransferError`].
pub async fn push<S>(link: &Link<S>, digest: Digest, store: &Store) -> Result<Moved, TransferError> {
    let source = blocking(store, move |store| store.source(&digest)).await?;
    let Some(source) = source else {
        return Err(eyot_blob::Error::Missing { digest }.into());
    };
    let size = source.outline().size();
    let (mut stream, mut replies) = open(&link.shared).await?;
    frames::write_frame(&mut stream, &BlobRequest::Put { digest, size }).await?;
    let (offset, outline) = match frames::read_frame(&mut replies, frames::SMALL_FRAME).await? {
        BlobReply::Ready { offset, outline, .. } if offset <= size => (offset, outline),
        BlobReply::Ready { .. } => return Err(Error::Protocol("a blob is wanted from beyond its end".into()).into()),
        other => return Err(refusal(other, digest)),
    };
    let started = Instant::now();
    let sending = async {
        if outline {
            stream.write_all(&source.outline().encode()).await?;
        }
        send::ranges(&mut stream, &source, offset).await
    };
    let word = both(sending, last_word(&mut replies, size, digest), digest, store, &source).await?;
    if let LastWord::Prove(nonce) = word {
        let keyed = *proof::of(source, nonce).await?.as_bytes();
        frames::write_frame(&mut stream, &BlobProof { keyed }).await?;
        if let LastWord::Prove(_) = last_word(&mut replies, size, digest).await? {
            return Err(Error::Protocol("a blob is to be proved twice".into()).into());
        }
    }
    let _ = stream.finish();
    let moved = size - offset;
    link.shared.rates.sent(moved, started.elapsed());
    Ok(Moved { size, moved })
}

/// How a peer answers once it has all that it wants of a blob.
enum LastWord {
    Stored,
    Prove([u8; 32]),
}

async fn last_word(replies: &mut RecvStream, size: u64, digest: Digest) -> Result<LastWord, TransferError> {
    loop {
        match frames::read_frame(replies, frames::SMALL_FRAME).await? {
            BlobReply::Stored { offset } if offset == size => return Ok(LastWord::Stored),
            BlobReply::Stored { .. } => {}
            BlobReply::Prove { nonce } => return Ok(LastWord::Prove(nonce)),
            other => return Err(refusal(other, digest)),
        }
    }
}

/// The peer's last word counts; that the stream to it ended early says less.
async fn both(
    sending: impl Future<Output = Result<(), send::Stopped>>,
    stored: impl Future<Output = Result<LastWord, TransferError>>,
    digest: Digest,
    store: &Store,
    source: &Source,
) -> Result<LastWord, TransferError> {
    tokio::pin!(stored);
    tokio::select! {
        biased;
        done = &mut stored => done,
        sent = sending => match sent {
            Ok(()) | Err(send::Stopped::ByPeer(_)) => stored.await,
            Err(stopped) => Err(stopped.explain(digest)),
        },
    }
    .inspect_err(|error| {
        if matches!(error, TransferError::Corrupt { .. }) {
            send::doubt(store, source.outline().digest());
        }
    })
}

/// Of a blob that is here, maybe put in and not synced yet.
async fn here(store: &Store, digest: Digest) -> Result<Moved, TransferError> {
    let size = blocking(store, move |store| {
        store.sync(&[digest])?;
        Ok(store.size(&digest).unwrap_or_default())
    })
    .await?;
    Ok(Moved { size, moved: 0 })
}

async fn open(shared: &Shared) -> Result<(SendStream, RecvStream), Error> {
    let (mut send, recv) = shared.connection.open_bi().await?;
    frames::write_kind(&mut send, StreamKind::Blob).await?;
    Ok((send, recv))
}

fn refusal(reply: BlobReply, digest: Digest) -> TransferError {
    match reply {
        BlobReply::NotFound => TransferError::NotFound { digest },
        BlobReply::Corrupt => TransferError::Corrupt { digest },
        BlobReply::Denied { reason } => TransferError::Denied { reason },
        BlobReply::Busy { reason } => TransferError::Busy { reason },
        BlobReply::Ready { .. } | BlobReply::Stored { .. } | BlobReply::Prove { .. } => {
            Error::Protocol("a blob reply that does not belong here".into()).into()
        }
    }
}

/// Runs a call that waits for the disk where that holds nobody up.
pub(crate) async fn blocking<T: Send + 'static>(
    store: &Store,
    call: impl FnOnce(&Store) -> Result<T, eyot_blob::Error> + Send + 'static,
) -> Result<T, TransferError> {
    let store = store.clone();
    match tokio::task::spawn_blocking(move || call(&store)).await {
        Ok(result) => Ok(result?),
        Err(panicked) => match panicked.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            // The runtime is shutting down.
            Err(_) => Err(Error::Closed.into()),
        },
    }
}

fn decode_outline(digest: Digest, size: u64, bytes: &[u8]) -> Result<Outline, TransferError> {
    Outline::decode(digest, size, bytes).map_err(|_| TransferError::Corrupt { digest })
}

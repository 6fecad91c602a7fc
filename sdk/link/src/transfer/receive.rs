//! The receiving end of a blob's bytes.

use super::{STALL, TransferError, decode_outline};
use crate::{Error, frames};
use eyot_blob::{Arrival, Outline, RANGE_LEN};
use eyot_model::Digest;
use eyot_wire::{BlobReply, stream_code};
use quinn::{ReadError, ReadExactError, RecvStream, SendStream, VarInt};
use tokio::sync::mpsc;

/// Ranges that wait to be verified and written.
const AHEAD: usize = 4;

/// Reads the outline and proves it.
pub(super) async fn outline(recv: &mut RecvStream, digest: Digest, size: u64) -> Result<Outline, TransferError> {
    // Bounded by the largest blob that is accepted.
    let len = usize::try_from(Outline::encoded_len(size)).map_err(|_| TransferError::Corrupt { digest })?;
    let mut bytes = Vec::new();
    // Grows with what came, not with what was announced.
    while bytes.len() < len {
        let filled = bytes.len();
        bytes.resize(len.min(filled + (64 << 10)), 0);
        match tokio::time::timeout(STALL, recv.read_exact(&mut bytes[filled..])).await {
            Ok(Ok(())) => {}
            Ok(Err(ReadExactError::FinishedEarly(_))) | Err(_) => return Err(TransferError::Cut { digest }),
            Ok(Err(ReadExactError::ReadError(e))) => return Err(read_error(e, digest)),
        }
    }
    decode_outline(digest, size, &bytes).inspect_err(|_| {
        let _ = recv.stop(VarInt::from_u32(stream_code::CORRUPT));
    })
}

/// Who hears how many bytes are verified and written, after each range.
pub(super) enum Listener<'a> {
    /// Somebody here.
    Progress(&'a mut (dyn FnMut(u64) + Send)),
    /// The sender.
    Peer(&'a mut SendStream),
}

impl Listener<'_> {
    async fn verified(&mut self, offset: u64) -> Result<(), TransferError> {
        match self {
            Self::Progress(progress) => progress(offset),
            Self::Peer(stream) => frames::write_frame(stream, &BlobReply::Stored { offset }).await?,
        }
        Ok(())
    }
}

/// Takes all ranges that are missing, and makes the blob durable. Whatever goes wrong, what was verified is kept. That the
/// blob is here whole, a [`Listener::Peer`] does not hear.
pub(super) async fn ranges(recv: &mut RecvStream, arrival: Arrival, mut listener: Listener<'_>) -> Result<(), TransferError> {
    let outline = arrival.outline().clone();
    let (digest, size) = (outline.digest(), outline.size());
    // Of a blob that came whole and was cut before it got its name, nothing is missing.
    let first = arrival.verified().div_ceil(RANGE_LEN);
    let (full, written, worker) = start_writer(arrival);
    let mut written = written;
    let mut free = Vec::new();
    let mut received = Ok(());
    'ranges: for range in first..outline.ranges() {
        let mut buf: Vec<u8> = free.pop().unwrap_or_default();
        buf.resize(usize::try_from(outline.range_len(range)).unwrap_or_default(), 0);
        let mut filled = 0;
        while filled < buf.len() {
            tokio::select! {
                Some((at, empty)) = written.recv() => {
                    free.push(empty);
                    listener.verified(at).await?;
                }
                read = tokio::time::timeout(STALL, recv.read(&mut buf[filled..])) => match read {
                    Ok(Ok(Some(n))) => filled += n,
                    Ok(Ok(None)) | Err(_) => {
                        received = Err(TransferError::Cut { digest });
                        break 'ranges;
                    }
                    Ok(Err(e)) => {
                        received = Err(read_error(e, digest));
                        break 'ranges;
                    }
                },
            }
        }
        if full.send(buf).await.is_err() {
            // The writer says why.
            break;
        }
    }
    drop(full);
    while let Some((at, _)) = written.recv().await {
        // The last word follows once the blob is durable.
        if at < size {
            listener.verified(at).await?;
        }
    }
    let stored = match worker.await {
        Ok(stored) => stored,
        Err(panicked) => match panicked.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            Err(_) => return Err(Error::Closed.into()),
        },
    };
    match stored {
        Err(eyot_blob::Error::WrongRange { range, .. }) => {
            tracing::warn!(%digest, range, "refused a blob: a range has the wrong bytes");
            let _ = recv.stop(VarInt::from_u32(stream_code::CORRUPT));
            return Err(TransferError::Corrupt { digest });
        }
        // Of interest only if nothing else went wrong before.
        Err(eyot_blob::Error::Incomplete { .. }) => received?,
        Err(error) => {
            let _ = recv.stop(VarInt::from_u32(stream_code::CANCELLED));
            return Err(error.into());
        }
        Ok(()) => {}
    }
    match listener {
        Listener::Progress(progress) => progress(size),
        // The last word is the caller's.
        Listener::Peer(_) => {}
    }
    Ok(())
}

type Full = mpsc::Sender<Vec<u8>>;
type Written = mpsc::UnboundedReceiver<(u64, Vec<u8>)>;
type Worker = tokio::task::JoinHandle<Result<(), eyot_blob::Error>>;

/// A thread that verifies and writes ranges, gives their buffers back, and at the end of them all names the blob.
fn start_writer(mut arrival: Arrival) -> (Full, Written, Worker) {
    let (full, mut ranges) = mpsc::channel::<Vec<u8>>(AHEAD);
    let (done, written) = mpsc::unbounded_channel();
    let worker = tokio::task::spawn_blocking(move || {
        while let Some(range) = ranges.blocking_recv() {
            arrival.write(&range)?;
            // Nobody may listen any more; what came is kept all the same.
            let _ = done.send((arrival.verified(), range));
        }
        drop(done);
        arrival.finish()
    });
    (full, written, worker)
}

fn read_error(error: ReadError, digest: Digest) -> TransferError {
    match error {
        ReadError::Reset(code) if code == VarInt::from_u32(stream_code::CORRUPT) => TransferError::Corrupt { digest },
        ReadError::ConnectionLost(e) => TransferError::Link(e.into()),
        _ => TransferError::Cut { digest },
    }
}

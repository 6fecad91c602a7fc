//! The sending end of a blob's bytes.

use super::{STALL, TransferError};
use crate::Error;
use bytes::Bytes;
use eyot_blob::{RANGE_LEN, Source, Store};
use eyot_model::Digest;
use eyot_wire::stream_code;
use quinn::{SendStream, VarInt, WriteError};
use tokio::sync::mpsc;

/// Ranges that are read ahead of the network.
const AHEAD: usize = 2;

/// Why not all was sent.
pub(super) enum Stopped {
    /// The peer wants no more, with this code.
    ByPeer(VarInt),
    /// The blob stopped arriving here.
    Interrupted,
    Disk(eyot_blob::Error),
    Link(Error),
}

impl Stopped {
    pub(super) fn explain(self, digest: Digest) -> TransferError {
        match self {
            Self::ByPeer(code) if code == VarInt::from_u32(stream_code::CORRUPT) => TransferError::Corrupt { digest },
            Self::ByPeer(_) | Self::Interrupted => TransferError::Cut { digest },
            Self::Disk(error) => error.into(),
            Self::Link(error) => error.into(),
        }
    }
}

impl From<WriteError> for Stopped {
    fn from(error: WriteError) -> Self {
        match error {
            WriteError::Stopped(code) => Self::ByPeer(code),
            WriteError::ConnectionLost(e) => Self::Link(e.into()),
            other => Self::Link(Error::Connection(other.to_string())),
        }
    }
}

/// Sends everything from `offset` on; resets the stream if the bytes run dry.
pub(super) async fn ranges(stream: &mut SendStream, source: &Source, offset: u64) -> Result<(), Stopped> {
    let mut read = read_ahead(source.clone(), offset);
    while let Some(range) = read.recv().await {
        match range {
            Ok(bytes) => write(stream, bytes).await?,
            Err(stopped) => {
                let _ = stream.reset(VarInt::from_u32(stream_code::CUT));
                return Err(stopped);
            }
        }
    }
    Ok(())
}

/// Writes all of it, however slow the way is, as long as the peer takes some of it.
async fn write(stream: &mut SendStream, bytes: Bytes) -> Result<(), Stopped> {
    let mut rest = [bytes];
    while !rest[0].is_empty() {
        match tokio::time::timeout(STALL, stream.write_chunks(&mut rest)).await {
            Ok(written) => drop(written?),
            Err(_) => {
                let _ = stream.reset(VarInt::from_u32(stream_code::CUT));
                return Err(Stopped::Interrupted);
            }
        }
    }
    Ok(())
}

fn read_ahead(mut source: Source, mut offset: u64) -> mpsc::Receiver<Result<Bytes, Stopped>> {
    let (sender, receiver) = mpsc::channel(AHEAD);
    tokio::spawn(async move {
        let size = source.outline().size();
        while offset < size {
            let read = match source.ready(offset).await {
                Ok(ready) => read_range(source.clone(), offset, ready).await,
                Err(_) => Err(Stopped::Interrupted),
            };
            offset += read.as_ref().map_or(0, |bytes| bytes.len() as u64);
            let failed = read.is_err();
            if sender.send(read).await.is_err() || failed {
                return;
            }
        }
    });
    receiver
}

async fn read_range(source: Source, offset: u64, ready: u64) -> Result<Bytes, Stopped> {
    let len = usize::try_from((ready - offset).min(RANGE_LEN)).unwrap_or_default();
    let digest = source.outline().digest();
    let read = tokio::task::spawn_blocking(move || {
        let mut buf = vec![0; len];
        source.read_at(offset, &mut buf).map(|read| (buf, read))
    });
    match read.await {
        Ok(Ok((buf, read))) if read == len => Ok(Bytes::from(buf)),
        Ok(Ok(_)) => Err(Stopped::Disk(eyot_blob::Error::Corrupt { digest })),
        Ok(Err(e)) => {
            tracing::error!(%digest, error = %e, "cannot read a blob");
            Err(Stopped::Interrupted)
        }
        Err(panicked) => match panicked.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            Err(_) => Err(Stopped::Link(Error::Closed)),
        },
    }
}

/// The peer says that our bytes are wrong: hash them again, which quarantines the file if they are.
pub(super) fn doubt(store: &Store, digest: Digest) {
    let store = store.clone();
    tokio::task::spawn_blocking(move || match store.verify(&digest) {
        Ok(()) => tracing::warn!(%digest, "a peer called a blob corrupt that is right here"),
        Err(error) => tracing::error!(%digest, %error, "a blob was found wrong after a peer refused it"),
    });
}

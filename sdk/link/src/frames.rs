//! Frames on QUIC streams.

use crate::Error;
use bytes::{Buf, Bytes, BytesMut};
use eyot_wire::{DecodeError, FRAME_LIMIT, HEADER_LEN, StreamKind};
use quinn::{ReadError, ReadExactError, RecvStream, SendStream, WriteError};
use serde::{Serialize, de::DeserializeOwned};

/// Longest frame where a single small message is expected, in bytes.
pub(crate) const SMALL_FRAME: usize = 64 << 10;
/// Read from a stream at a time, in bytes.
const CHUNK: usize = 256 << 10;

/// Reads one frame after the other. [`FrameReader::next`] may be dropped and called again without loss.
pub(crate) struct FrameReader {
    stream: RecvStream,
    limit: usize,
    /// Grows with what came, never by what a header announces.
    buf: BytesMut,
}

impl FrameReader {
    pub(crate) fn new(stream: RecvStream) -> Self {
        Self {
            stream,
            limit: FRAME_LIMIT,
            buf: BytesMut::new(),
        }
    }

    pub(crate) fn limited(mut self, limit: usize) -> Self {
        self.limit = limit;
        self
    }

    /// The body of the next frame; None at the end of the stream.
    pub(crate) async fn next(&mut self) -> Result<Option<Bytes>, Error> {
        loop {
            if let Some((header, _)) = self.buf.split_first_chunk::<HEADER_LEN>() {
                let len = bounded(*header, self.limit)?;
                if self.buf.len() >= HEADER_LEN + len {
                    self.buf.advance(HEADER_LEN);
                    return Ok(Some(self.buf.split_to(len).freeze()));
                }
            }
            match self.stream.read_chunk(CHUNK, true).await.map_err(read_error)? {
                Some(chunk) => self.buf.extend_from_slice(&chunk.bytes),
                None if self.buf.is_empty() => return Ok(None),
                None => return Err(Error::Protocol("a stream ended within a frame".into())),
            }
        }
    }
}

fn bounded(header: [u8; HEADER_LEN], limit: usize) -> Result<usize, DecodeError> {
    let len = eyot_wire::frame_len(header)?;
    if len > limit { Err(DecodeError::TooLong(len)) } else { Ok(len) }
}

/// Reads one frame and not a byte more. Not to be dropped half way.
pub(crate) async fn read_frame<T: DeserializeOwned>(stream: &mut RecvStream, limit: usize) -> Result<T, Error> {
    let mut header = [0; HEADER_LEN];
    stream.read_exact(&mut header).await.map_err(exact_error)?;
    let mut body = vec![0; bounded(header, limit.min(SMALL_FRAME))?];
    stream.read_exact(&mut body).await.map_err(exact_error)?;
    Ok(eyot_wire::decode(&body)?)
}

pub(crate) async fn write_frame<T: Serialize>(stream: &mut SendStream, message: &T) -> Result<(), Error> {
    stream.write_all(&eyot_wire::encode(message)?).await.map_err(write_error)
}

pub(crate) async fn write_kind(stream: &mut SendStream, kind: StreamKind) -> Result<(), Error> {
    stream.write_all(&[kind as u8]).await.map_err(write_error)
}

pub(crate) async fn read_kind(stream: &mut RecvStream) -> Result<StreamKind, Error> {
    let mut byte = [0];
    stream.read_exact(&mut byte).await.map_err(exact_error)?;
    StreamKind::from_byte(byte[0]).ok_or_else(|| Error::Protocol(format!("a stream of the unknown kind {}", byte[0])))
}

pub(crate) fn read_error(error: ReadError) -> Error {
    match error {
        ReadError::ConnectionLost(e) => e.into(),
        ReadError::Reset(code) => Error::Protocol(format!("a stream was reset with code {code}")),
        other => Error::Connection(other.to_string()),
    }
}

pub(crate) fn exact_error(error: ReadExactError) -> Error {
    match error {
        ReadExactError::ReadError(e) => read_error(e),
        ReadExactError::FinishedEarly(_) => Error::Protocol("a stream ended too early".into()),
    }
}

pub(crate) fn write_error(error: WriteError) -> Error {
    match error {
        WriteError::ConnectionLost(e) => e.into(),
        WriteError::Stopped(code) => Error::Protocol(format!("a stream was stopped with code {code}")),
        other => Error::Connection(other.to_string()),
    }
}

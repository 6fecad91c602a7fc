//! `blobs`: content-addressed bytes, read and written piece by piece.

use super::State;
use crate::bindings::eyot::task::blobs::{BlobError as GuestError, Host, HostBlob, HostWriter};
use crate::limits::{Meter, Stop};
use crate::{BlobError, BlobRead, BlobWrite};
use eyot_model::{Digest, Value};
use std::collections::BTreeMap;
use wasmtime::component::Resource;

/// What a blob counts at least: a file takes a block of the disk, however short it is.
const LEAST_BYTES: u64 = 4 << 10;
/// Most bytes that one `read` gives; a guest that asks for more gets this much.
const MAX_READ_BYTES: u64 = 64 << 20;

/// An open blob of a guest.
#[expect(unreachable_pub, reason = "the generated bindings re-export it")]
pub struct Blob {
    digest: Digest,
    reader: Box<dyn BlobRead>,
}

/// A blob that a guest is writing.
#[derive(Default)]
#[expect(unreachable_pub, reason = "the generated bindings re-export it")]
pub struct Writer {
    /// None when nothing was written since the last `finish`.
    open: Option<Box<dyn BlobWrite>>,
    /// Bytes since then.
    bytes: u64,
}

/// The blobs that an attempt may read and name in its outputs, with their sizes in bytes: those that its inputs name
/// and those that it wrote.
#[derive(Default)]
pub(crate) struct Known {
    blobs: BTreeMap<Digest, u64>,
    /// Bytes that the attempt wrote to blobs, each of at least [`LEAST_BYTES`].
    written: u64,
}

impl Known {
    pub(crate) fn note(&mut self, value: &Value) {
        value.for_each_blob(&mut |blob| {
            self.blobs.insert(blob.digest, blob.size);
        });
    }

    /// Length of a blob that the attempt may name.
    pub(crate) fn size(&self, digest: &Digest) -> Option<u64> {
        self.blobs.get(digest).copied()
    }
}

impl State {
    /// Opens a blob for the guest, if it may read it.
    pub(crate) fn open_blob(&mut self, digest: &str) -> Result<(Digest, Box<dyn BlobRead>), GuestError> {
        let digest: Digest = digest.parse().map_err(|_| GuestError::Denied)?;
        if self.blobs.size(&digest).is_none() {
            return Err(GuestError::Denied);
        }
        match self.services.blobs().open(&digest) {
            Ok(reader) => Ok((digest, reader)),
            Err(e) => Err(unavailable(&mut self.meter, &e)),
        }
    }

    /// Counts bytes that go to blobs.
    fn charge(&mut self, bytes: u64) -> Result<(), GuestError> {
        let limit = self.meter.limits().output_bytes;
        let written = self.blobs.written.saturating_add(bytes);
        if written > limit {
            // Noted, so that a guest which gives up for this reason is seen to have met its limit.
            let what = format!("{written} bytes written to blobs");
            let stop = self.meter.stop_for(Stop::Output { what, limit });
            return Err(GuestError::Limit(stop.to_string()));
        }
        self.blobs.written = written;
        Ok(())
    }
}

impl Host for State {
    fn open(&mut self, digest: String) -> wasmtime::Result<Result<Resource<Blob>, GuestError>> {
        match self.open_blob(&digest) {
            Ok((digest, reader)) => Ok(Ok(self.table.push(Blob { digest, reader })?)),
            Err(e) => Ok(Err(e)),
        }
    }
}

impl HostBlob for State {
    fn size(&mut self, blob: Resource<Blob>) -> wasmtime::Result<u64> {
        Ok(self.table.get(&blob)?.reader.size())
    }

    fn digest(&mut self, blob: Resource<Blob>) -> wasmtime::Result<String> {
        Ok(self.table.get(&blob)?.digest.to_string())
    }

    fn read(&mut self, blob: Resource<Blob>, offset: u64, len: u32) -> wasmtime::Result<Result<Vec<u8>, GuestError>> {
        let blob = self.table.get_mut(&blob)?;
        let len = u64::from(len).min(MAX_READ_BYTES).min(blob.reader.size().saturating_sub(offset));
        let mut bytes = vec![0; usize::try_from(len)?];
        match blob.reader.read_at(offset, &mut bytes) {
            Ok(got) => {
                bytes.truncate(got);
                Ok(Ok(bytes))
            }
            Err(e) => Ok(Err(unavailable(&mut self.meter, &e))),
        }
    }

    fn drop(&mut self, blob: Resource<Blob>) -> wasmtime::Result<()> {
        self.table.delete(blob)?;
        Ok(())
    }
}

impl HostWriter for State {
    fn new(&mut self) -> wasmtime::Result<Resource<Writer>> {
        Ok(self.table.push(Writer::default())?)
    }

    fn write(&mut self, writer: Resource<Writer>, bytes: Vec<u8>) -> wasmtime::Result<Result<(), GuestError>> {
        if let Err(over) = self.charge(bytes.len() as u64) {
            return Ok(Err(over));
        }
        let writer = self.table.get_mut(&writer)?;
        writer.bytes += bytes.len() as u64;
        let open = match &mut writer.open {
            Some(open) => open,
            None => match self.services.blobs().writer() {
                Ok(new) => writer.open.insert(new),
                Err(e) => return Ok(Err(unavailable(&mut self.meter, &e))),
            },
        };
        Ok(open.write(&bytes).map_err(|e| unavailable(&mut self.meter, &e)))
    }

    fn finish(&mut self, writer: Resource<Writer>) -> wasmtime::Result<Result<Resource<Blob>, GuestError>> {
        let Writer { open, bytes } = std::mem::take(self.table.get_mut(&writer)?);
        if let Err(over) = self.charge(LEAST_BYTES.saturating_sub(bytes)) {
            return Ok(Err(over));
        }
        let blobs = self.services.blobs();
        let finished = open
            .map_or_else(|| blobs.writer(), Ok)
            .and_then(BlobWrite::finish)
            .and_then(|(digest, size)| blobs.open(&digest).map(|reader| (digest, size, reader)));
        match finished {
            Ok((digest, size, reader)) => {
                self.blobs.blobs.insert(digest, size);
                Ok(Ok(self.table.push(Blob { digest, reader })?))
            }
            Err(e) => Ok(Err(unavailable(&mut self.meter, &e))),
        }
    }

    fn drop(&mut self, writer: Resource<Writer>) -> wasmtime::Result<()> {
        self.table.delete(writer)?;
        Ok(())
    }
}

/// What the guest is told. The reason is noted, so that a guest which gives up for it is seen to have failed by the agent's
/// doing and not by its own.
fn unavailable(meter: &mut Meter, error: &BlobError) -> GuestError {
    match error {
        BlobError::Full => GuestError::Limit(meter.stop_for(Stop::NoRoom(error.to_string())).to_string()),
        BlobError::Missing(_) | BlobError::Damaged(_) => {
            GuestError::Unavailable(meter.stop_for(Stop::NoBlob(error.to_string())).to_string())
        }
        BlobError::Store(cause) => GuestError::Unavailable(format!("{error}: {cause}")),
    }
}

//! The agent's blob store as tasks see it.

use crate::{BlobAccess, BlobError, BlobRead, BlobWrite};
use eyot_blob::{Blob, Error, Store, Writer};
use eyot_model::Digest;

/// Most bytes of one blob; an attempt's own limit is usually far below.
const MAX_BLOB_BYTES: u64 = 1 << 40;

impl BlobAccess for Store {
    fn open(&self, digest: &Digest) -> Result<Box<dyn BlobRead>, BlobError> {
        Ok(Box::new(self.open_sound(digest).map_err(store_error)?))
    }

    fn writer(&self) -> Result<Box<dyn BlobWrite>, BlobError> {
        Ok(Box::new(Self::writer(self, MAX_BLOB_BYTES)))
    }
}

impl BlobRead for Blob {
    fn size(&self) -> u64 {
        Self::size(self)
    }

    fn read_at(&mut self, offset: u64, buffer: &mut [u8]) -> Result<usize, BlobError> {
        // One call of the store may stop short of the end; one of ours may not.
        let mut got = 0;
        while got < buffer.len() {
            match Self::read_at(self, offset + got as u64, &mut buffer[got..]) {
                Ok(0) => break,
                Ok(n) => got += n,
                Err(e) if e.kind() == std::io::ErrorKind::Interrupted => {}
                Err(e) => return Err(BlobError::Store(e.into())),
            }
        }
        Ok(got)
    }
}

impl BlobWrite for Writer {
    fn write(&mut self, bytes: &[u8]) -> Result<(), BlobError> {
        self.append(bytes).map_err(store_error)
    }

    fn finish(self: Box<Self>) -> Result<(Digest, u64), BlobError> {
        let stored = Self::finish(*self).map_err(store_error)?;
        Ok((stored.digest, stored.size))
    }
}

fn store_error(error: Error) -> BlobError {
    match error {
        Error::Missing { digest } => BlobError::Missing(digest),
        Error::Corrupt { digest } => BlobError::Damaged(digest),
        full if full.is_full() => BlobError::Full,
        other => BlobError::Store(other.into()),
    }
}

//! An open blob.

use eyot_model::Digest;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::sync::Arc;

/// An open blob: reads stay right even while the blob is deleted or made durable. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Blob {
    pub(crate) digest: Digest,
    pub(crate) size: u64,
    pub(crate) file: Arc<File>,
}

impl Blob {
    #[must_use]
    pub fn digest(&self) -> Digest {
        self.digest
    }

    /// Length in bytes.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Fills `buf` from `offset` on; fewer bytes only at the end of the blob. The bytes are what the disk gives: see
    /// [`crate::Store::read`] and [`crate::Store::verify`] for checked ones.
    ///
    /// # Errors
    /// What the disk reports.
    pub fn read_at(&self, offset: u64, buf: &mut [u8]) -> io::Result<usize> {
        read_full(&self.file, offset, buf)
    }
}

pub(crate) fn read_full(file: &File, offset: u64, buf: &mut [u8]) -> io::Result<usize> {
    let mut done = 0;
    while done < buf.len() {
        match file.read_at(&mut buf[done..], offset + done as u64) {
            Ok(0) => break,
            Ok(n) => done += n,
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
    }
    Ok(done)
}

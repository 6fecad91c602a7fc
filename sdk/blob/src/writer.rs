//! Writing a blob whose digest is not known yet.

use crate::outline::{RANGE_LEN, range_value};
use crate::{Error, Outline, Store};
use blake3::hazmat::ChainingValue;
use eyot_model::{BlobForm, BlobRef, Digest};
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::PathBuf;

/// What became of bytes that were put in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stored {
    pub digest: Digest,
    /// Bytes.
    pub size: u64,
    /// It was here before.
    pub known: bool,
}

impl Stored {
    #[must_use]
    pub fn reference(&self, form: BlobForm) -> BlobRef {
        BlobRef {
            digest: self.digest,
            size: self.size,
            form,
        }
    }
}

/// Takes a blob's bytes piece by piece, hashing as it writes. Dropped before [`Writer::finish`], it leaves nothing.
pub struct Writer {
    store: Store,
    path: PathBuf,
    file: Option<File>,
    limit: u64,
    size: u64,
    /// The range that is being filled: a full one is flushed when the next byte comes.
    range: Vec<u8>,
    values: Vec<ChainingValue>,
}

impl Writer {
    pub(crate) fn new(store: Store, path: PathBuf, limit: u64) -> Self {
        Self {
            store,
            path,
            file: None,
            limit,
            size: 0,
            range: Vec::new(),
            values: Vec::new(),
        }
    }

    /// Bytes so far.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.size
    }

    /// # Errors
    /// [`Error::TooLarge`] beyond the limit that the writer was made with; what the disk reports.
    pub fn append(&mut self, mut bytes: &[u8]) -> Result<(), Error> {
        let size = self.size.saturating_add(bytes.len() as u64);
        if size > self.limit {
            return Err(Error::TooLarge { size, limit: self.limit });
        }
        self.size = size;
        while !bytes.is_empty() {
            let room = RANGE_LEN as usize - self.range.len();
            if room == 0 {
                self.flush_range()?;
                continue;
            }
            let (now, later) = bytes.split_at(room.min(bytes.len()));
            self.range.extend_from_slice(now);
            bytes = later;
        }
        Ok(())
    }

    /// Names the blob. It is whole from now on and durable after [`Store::sync`].
    ///
    /// # Errors
    /// What the disk reports.
    pub fn finish(mut self) -> Result<Stored, Error> {
        let outline = if self.values.is_empty() {
            Outline::small(Digest::of(&self.range), self.size)
        } else {
            self.flush_range()?;
            let values = std::mem::take(&mut self.values);
            Outline::from_values(self.size, values).unwrap_or_else(|| Outline::small(Digest::of(&self.range), self.size))
        };
        if self.store.is_sound(&outline.digest())? {
            return Ok(Stored {
                digest: outline.digest(),
                size: self.size,
                known: true,
            });
        }
        if self.file.is_none() {
            self.write_range()?;
        }
        self.file = None;
        self.store.adopt(&self.path, &outline)
    }

    /// As [`Writer::finish`], and durable when it returns.
    ///
    /// # Errors
    /// What the disk reports.
    pub fn finish_durable(self) -> Result<Stored, Error> {
        let store = self.store.clone();
        let stored = self.finish()?;
        store.sync(&[stored.digest])?;
        Ok(stored)
    }

    fn flush_range(&mut self) -> Result<(), Error> {
        self.values.push(range_value(self.values.len() as u64, &self.range));
        self.write_range()
    }

    fn write_range(&mut self) -> Result<(), Error> {
        let file = match &mut self.file {
            Some(file) => file,
            none => none.insert(File::create_new(&self.path).map_err(Error::io("create", &self.path))?),
        };
        file.write_all(&self.range).map_err(Error::io("write", &self.path))?;
        self.range.clear();
        Ok(())
    }
}

impl Write for Writer {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        self.append(buf).map_err(io::Error::other)?;
        Ok(buf.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        // After `finish` the file has another name and this finds nothing.
        let _ = fs::remove_file(&self.path);
    }
}

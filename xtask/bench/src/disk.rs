//! What the disk takes to make an append durable.

use anyhow::Result;
use std::fs::File;
use std::io::{Seek, Write};
use std::path::Path;
use std::time::Instant;

/// The room that appends go into; it is there before, as in a journal and in a write-ahead log.
const ROOM: usize = 4 << 20;

/// A file whose appends are made durable one by one.
pub(crate) struct SyncedFile {
    file: File,
    at: usize,
}

impl SyncedFile {
    /// Makes the file `floor` in `folder`.
    pub(crate) fn create(folder: &Path) -> Result<Self> {
        let mut file = File::create(folder.join("floor"))?;
        file.write_all(&vec![0; ROOM])?;
        file.sync_all()?;
        file.rewind()?;
        Ok(Self { file, at: 0 })
    }

    /// Seconds of one append of `bytes` with an fdatasync; the mean of `count`. At the end of its room it begins anew.
    pub(crate) fn append(&mut self, bytes: usize, count: u32) -> Result<f64> {
        let record = vec![1u8; bytes];
        let start = Instant::now();
        for _ in 0..count {
            if self.at + bytes > ROOM {
                self.file.rewind()?;
                self.at = 0;
            }
            self.file.write_all(&record)?;
            self.file.sync_data()?;
            self.at += bytes;
        }
        Ok(start.elapsed().as_secs_f64() / f64::from(count))
    }
}

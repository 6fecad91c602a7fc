//! Snapshots beside the database, `snap.*`: sled makes them from its log when it is opened, so that it reads less of it the next time.
//! They hold nothing of their own, and a bad one says nothing about the database.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

const PREFIX: &str = "snap.";
/// sled writes under a name that ends so, and takes such a file for the newest snapshot if it died before it was whole.
const UNFINISHED: &str = ".generating";
/// At the end of each: length of the content, then its CRC-32.
const TRAILER: usize = 12;

/// Removes what was being written when the process died, the power went or the disk was full.
pub(super) fn remove_unfinished(folder: &Path) -> io::Result<()> {
    remove(folder, |path| path.to_string_lossy().ends_with(UNFINISHED)).map(|_| ())
}

/// Removes snapshots whose bytes are not those that were written; true if there were any.
pub(super) fn remove_damaged(folder: &Path) -> io::Result<bool> {
    remove(folder, |path| fs::read(path).is_ok_and(|bytes| !is_whole(&bytes)))
}

fn is_whole(bytes: &[u8]) -> bool {
    let Some(at) = bytes.len().checked_sub(TRAILER).filter(|at| *at > 0) else {
        return false;
    };
    let (content, trailer) = bytes.split_at(at);
    let length = u64::try_from(content.len()).unwrap_or(u64::MAX);
    trailer[..8] == length.to_le_bytes() && trailer[8..] == crc32fast::hash(content).to_le_bytes()
}

fn remove(folder: &Path, which: impl Fn(&Path) -> bool) -> io::Result<bool> {
    let mut removed = false;
    for path in snapshots(folder)?.into_iter().filter(|path| which(path)) {
        fs::remove_file(&path)?;
        tracing::warn!(path = %path.display(), "removed a snapshot of the checkpoint store that is not whole; the store makes another");
        removed = true;
    }
    Ok(removed)
}

fn snapshots(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        if entry.file_name().to_string_lossy().starts_with(PREFIX) {
            found.push(entry.path());
        }
    }
    Ok(found)
}

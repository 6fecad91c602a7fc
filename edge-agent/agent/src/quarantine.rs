//! What was found damaged and set aside: kept for whoever wants to look at it, but not without bound.

use crate::disk_status::bytes_in;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

/// Damaged copies of the checkpoint store, and of segments of the journal, that are kept.
const KEPT: usize = 3;

/// Bytes that it takes, damaged blobs included.
pub(crate) fn bytes(data: &Path) -> u64 {
    let sizes = checkpoints(data).into_iter().chain(segments(data)).map(|(_, path)| size(&path));
    sizes.sum::<u64>() + bytes_in(&data.join("blobs").join("quarantine"))
}

/// Removes all but the newest few: at each start.
pub(crate) fn tidy(data: &Path) {
    for mut found in [checkpoints(data), segments(data)] {
        found.sort();
        found.truncate(found.len().saturating_sub(KEPT));
        for (_, path) in found {
            match remove(&path) {
                Ok(()) => tracing::info!(path = %path.display(), "removed a damaged copy that was set aside long ago"),
                Err(error) => tracing::warn!(path = %path.display(), %error, "a damaged copy that was set aside cannot be removed"),
            }
        }
    }
}

type Found = Vec<(SystemTime, PathBuf)>;

fn checkpoints(data: &Path) -> Found {
    // `checkpoint.rewrite` is the store's own, in the making.
    let aside = |name: &str| name.starts_with("checkpoint.") && !name.ends_with(".rewrite");
    matching(data, aside)
}

fn segments(data: &Path) -> Found {
    matching(&data.join("journal"), |name| name.ends_with(".damaged"))
}

fn matching(folder: &Path, wanted: impl Fn(&str) -> bool) -> Found {
    let Ok(entries) = fs::read_dir(folder) else { return Vec::new() };
    entries
        .flatten()
        .filter(|entry| entry.file_name().to_str().is_some_and(&wanted))
        .map(|entry| {
            let at = entry.metadata().and_then(|m| m.modified()).unwrap_or(SystemTime::UNIX_EPOCH);
            (at, entry.path())
        })
        .collect()
}

fn size(path: &Path) -> u64 {
    if path.is_dir() {
        bytes_in(path)
    } else {
        fs::metadata(path).map_or(0, |m| m.len())
    }
}

fn remove(path: &Path) -> io::Result<()> {
    if path.is_dir() {
        fs::remove_dir_all(path)
    } else {
        fs::remove_file(path)
    }
}

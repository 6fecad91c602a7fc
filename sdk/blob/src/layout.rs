//! Where things lie in a store's folder.
//!
//! ```text
//! blobs/ab/cdef…      durable blobs, by the first two and the other 62 hexadecimal digits
//! fresh/abcdef…       whole, but not known to be on disk
//! partial/abcdef…     arriving, with abcdef….outline beside it
//! outlines/abcdef…    outlines of blobs of more than one range: a cache
//! tmp/                being written; emptied at each start
//! quarantine/         found to be corrupt
//! ```

use crate::Error;
use eyot_model::Digest;
use std::ffi::OsStr;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

pub(crate) struct Layout {
    pub(crate) root: PathBuf,
    next_tmp: AtomicU64,
}

impl Layout {
    pub(crate) fn new(root: &Path) -> Self {
        Self {
            root: root.to_owned(),
            next_tmp: AtomicU64::new(0),
        }
    }

    pub(crate) fn create(&self) -> Result<(), Error> {
        for dir in ["blobs", "fresh", "partial", "outlines", "tmp", "quarantine"] {
            let path = self.root.join(dir);
            fs::create_dir_all(&path).map_err(Error::io("create", &path))?;
        }
        for entry in files_in(&self.root.join("tmp"))? {
            let _ = fs::remove_file(entry);
        }
        sync_dir(&self.root)
    }

    pub(crate) fn blob_dir(&self, digest: &Digest) -> PathBuf {
        self.root.join("blobs").join(&digest.to_hex()[..2])
    }

    pub(crate) fn blob(&self, digest: &Digest) -> PathBuf {
        self.blob_dir(digest).join(&digest.to_hex()[2..])
    }

    pub(crate) fn fresh(&self, digest: &Digest) -> PathBuf {
        self.root.join("fresh").join(digest.to_hex())
    }

    pub(crate) fn partial(&self, digest: &Digest) -> PathBuf {
        self.root.join("partial").join(digest.to_hex())
    }

    pub(crate) fn partial_outline(&self, digest: &Digest) -> PathBuf {
        self.root.join("partial").join(format!("{}.outline", digest.to_hex()))
    }

    pub(crate) fn outline(&self, digest: &Digest) -> PathBuf {
        self.root.join("outlines").join(digest.to_hex())
    }

    pub(crate) fn quarantined(&self, digest: &Digest) -> PathBuf {
        let n = self.next_tmp.fetch_add(1, Ordering::Relaxed);
        self.root.join("quarantine").join(format!("{}.{n}", digest.to_hex()))
    }

    /// A name that nothing has.
    pub(crate) fn tmp(&self) -> PathBuf {
        let n = self.next_tmp.fetch_add(1, Ordering::Relaxed);
        self.root.join("tmp").join(n.to_string())
    }
}

/// The digest that a file's name means, from 64 hexadecimal digits.
pub(crate) fn digest_of_name(name: &str) -> Option<Digest> {
    format!("b3:{name}").parse().ok()
}

/// The plain files of a folder.
pub(crate) fn files_in(dir: &Path) -> Result<Vec<PathBuf>, Error> {
    let mut files = Vec::new();
    for entry in fs::read_dir(dir).map_err(Error::io("list", dir))? {
        let entry = entry.map_err(Error::io("list", dir))?;
        if entry.file_type().is_ok_and(|t| t.is_file()) {
            files.push(entry.path());
        }
    }
    Ok(files)
}

pub(crate) fn name_of(path: &Path) -> &str {
    path.file_name().and_then(OsStr::to_str).unwrap_or_default()
}

/// Makes the names in a folder durable.
pub(crate) fn sync_dir(dir: &Path) -> Result<(), Error> {
    File::open(dir).and_then(|d| d.sync_all()).map_err(Error::io("sync", dir))
}

/// Makes the folder of a durable blob; true if it is new, so that its own name needs a sync too.
pub(crate) fn ensure_dir(dir: &Path) -> Result<bool, Error> {
    match fs::create_dir(dir) {
        Ok(()) => Ok(true),
        Err(e) if e.kind() == std::io::ErrorKind::AlreadyExists => Ok(false),
        Err(e) => Err(Error::io("create", dir)(e)),
    }
}

//! What can go wrong with a store.

use eyot_model::Digest;
use std::io;
use std::path::{Path, PathBuf};

#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    #[error("cannot {action} {}", path.display())]
    Io {
        action: &'static str,
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("no blob {digest} here")]
    Missing { digest: Digest },
    /// The file was moved to `quarantine/`.
    #[error("blob {digest} is corrupt on disk and was quarantined")]
    Corrupt { digest: Digest },
    #[error("range {range} of blob {digest} has the wrong bytes")]
    WrongRange { digest: Digest, range: u64 },
    #[error("the outline given for blob {digest} is not that of the digest")]
    WrongOutline { digest: Digest },
    #[error("blob of {size} bytes is over the limit of {limit} bytes")]
    TooLarge { size: u64, limit: u64 },
    /// Whoever brought the bytes stopped; what came so far is kept.
    #[error("blob {digest} stopped arriving at {verified} bytes")]
    Interrupted { digest: Digest, verified: u64 },
    #[error("blob {digest} is not all here: {verified} of {size} bytes")]
    Incomplete { digest: Digest, verified: u64, size: u64 },
}

impl Error {
    pub(crate) fn io(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Io { action, path, source }
    }

    /// The disk has no room: free some and try again.
    #[must_use]
    pub fn is_full(&self) -> bool {
        matches!(self, Self::Io { source, .. } if matches!(source.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded))
    }

    /// Trying again, maybe later or with the bytes of another holder, can succeed.
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        !matches!(self, Self::TooLarge { .. })
    }
}

//! Why the host could not be set up or a component not be made ready.

use eyot_model::{Digest, Failure, FailureKind};
use std::path::PathBuf;

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("engine does not start: {0}")]
    Engine(String),
    #[error("cache of compiled code at {path} is not usable")]
    Cache { path: PathBuf, source: std::io::Error },
    #[error("component {digest} is not usable: {message}")]
    Component { digest: Digest, message: String },
    #[error("component {digest} was not compiled: {message}")]
    Compile { digest: Digest, message: String },
}

impl Error {
    /// The failure of an attempt that could not start for this reason.
    #[must_use]
    pub fn to_failure(&self) -> Failure {
        let kind = match self {
            Self::Cache { source, .. } if is_full(source) => FailureKind::DiskFull,
            Self::Engine(_) | Self::Cache { .. } | Self::Compile { .. } => FailureKind::Agent,
            Self::Component { .. } => FailureKind::Component,
        };
        let mut message = self.to_string();
        if let Some(source) = std::error::Error::source(self) {
            message = format!("{message}: {source}");
        }
        Failure::new(kind, message)
    }
}

/// Whether the disk had no room.
pub(crate) fn is_full(error: &std::io::Error) -> bool {
    matches!(error.kind(), std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded)
}

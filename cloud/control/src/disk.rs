//! Whether the control plane can write: how its commits fare, and how much room its disk has.
//!
//! Below a mark nothing new is taken, so that what goes on can still be stored. When a commit finds no room, nothing is
//! acknowledged until one succeeds; whoever asks for a change is refused at once instead of waiting for that.

use crate::api::Error;
use axum::http::StatusCode;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tokio::sync::watch;

/// Nothing new is taken below it: bytes that are free, or this part of a small disk.
const LOW_BYTES: u64 = 64 << 20;
const LOW_PART: u64 = 40;

/// What the disk lets the control plane do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum State {
    /// Everything.
    Working,
    /// There is little room: what goes on is stored, nothing new is taken.
    Low,
    /// The last commit found no room.
    Full,
    /// The last commit failed for another reason.
    Failing,
}

impl State {
    pub(crate) const ALL: [Self; 4] = [Self::Working, Self::Low, Self::Full, Self::Failing];

    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Working => "working",
            Self::Low => "low",
            Self::Full => "full",
            Self::Failing => "failing",
        }
    }

    /// The answer to somebody who wants something stored.
    pub(crate) fn refusal(self) -> Error {
        match self {
            Self::Full | Self::Low => no_room(),
            Self::Failing | Self::Working => failing(),
        }
    }
}

/// The disk has no room for what was asked.
pub(crate) fn no_room() -> Error {
    Error::new(
        StatusCode::INSUFFICIENT_STORAGE,
        "store.no-room",
        "the control plane's disk has no room, so nothing is acknowledged: free some on it (docs/disk.md says how) and ask again, with the \
         same idempotency key where you gave one; nothing has to be restarted",
    )
    .after(5)
}

/// The disk fails.
pub(crate) fn failing() -> Error {
    Error::new(
        StatusCode::SERVICE_UNAVAILABLE,
        "store.failing",
        "the control plane's disk fails, so nothing is acknowledged: its log says how; it tries again by itself",
    )
    .after(5)
}

/// Cheap to clone; clones share it.
#[derive(Clone, Debug)]
pub(crate) struct Disk {
    folder: Arc<PathBuf>,
    /// How the last commit fared: anything but low.
    commits: Arc<watch::Sender<State>>,
}

impl Disk {
    /// Of the file system that the folder is on.
    pub(crate) fn new(folder: &Path) -> Self {
        Self {
            folder: Arc::new(folder.to_owned()),
            commits: Arc::new(watch::Sender::new(State::Working)),
        }
    }

    pub(crate) fn state(&self) -> State {
        match *self.commits.borrow() {
            State::Working if !self.has_room() => State::Low,
            state => state,
        }
    }

    /// Bytes that may still be written; None where the system does not say.
    pub(crate) fn free(&self) -> Option<u64> {
        self.room().map(|(free, _)| free)
    }

    pub(crate) fn has_room(&self) -> bool {
        self.room().is_none_or(|(free, all)| free >= LOW_BYTES.min(all / LOW_PART))
    }

    fn room(&self) -> Option<(u64, u64)> {
        let found = rustix::fs::statvfs(self.folder.as_path()).ok()?;
        Some((
            found.f_bavail.saturating_mul(found.f_frsize),
            found.f_blocks.saturating_mul(found.f_frsize),
        ))
    }

    /// How a commit fared. True if the one before fared otherwise.
    pub(crate) fn note(&self, state: State) -> bool {
        self.commits.send_if_modified(|known| std::mem::replace(known, state) != state)
    }

    /// Resolves once commits do not succeed.
    pub(crate) async fn stuck(&self) -> State {
        let mut commits = self.commits.subscribe();
        let stuck = commits.wait_for(|state| *state != State::Working).await.map(|state| *state);
        match stuck {
            Ok(state) => state,
            // Its sender is here.
            Err(_) => std::future::pending().await,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn whoever_waits_for_a_commit_is_told_when_there_is_no_room() {
        let folder = tempfile::tempdir().unwrap();
        let disk = Disk::new(folder.path());
        assert!(disk.free().is_some());
        let waiting = tokio::spawn({
            let disk = disk.clone();
            async move { disk.stuck().await }
        });
        assert!(!disk.note(State::Working));
        assert!(disk.note(State::Full));
        assert_eq!(waiting.await.unwrap(), State::Full);
        assert_eq!((disk.state(), disk.stuck().await), (State::Full, State::Full));
        assert!(disk.note(State::Working));
        assert_ne!(disk.state(), State::Full);
    }
}

//! The agent's data folder: closed to everybody else, and one program's at a time.

use std::fs::{self, DirBuilder, File, Permissions, TryLockError};
use std::io;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};

#[derive(Debug, thiserror::Error)]
pub enum FolderError {
    #[error("cannot make the folder `{path}`")]
    Make { path: PathBuf, source: io::Error },
    #[error("cannot write to `{path}`")]
    Write { path: PathBuf, source: io::Error },
    #[error("an agent runs on `{0}`")]
    InUse(PathBuf),
}

/// Makes the folder if need be, and takes it until the file is dropped: two agents would write the same journal, and one
/// that joins would change what an agent that runs has read. What lies in it (inputs, results, names of brokers) is for
/// this user alone.
///
/// # Errors
/// [`FolderError::InUse`] while an agent runs on it; as the disk fails.
pub fn take(data: &Path) -> Result<File, FolderError> {
    let make = |source| FolderError::Make {
        path: data.to_owned(),
        source,
    };
    let write = |source| FolderError::Write {
        path: data.to_owned(),
        source,
    };
    DirBuilder::new().recursive(true).mode(0o700).create(data).map_err(make)?;
    close(data);
    let lock = File::create(data.join("lock")).map_err(write)?;
    match lock.try_lock() {
        Ok(()) => Ok(lock),
        Err(TryLockError::WouldBlock) => Err(FolderError::InUse(data.to_owned())),
        Err(TryLockError::Error(source)) => Err(write(source)),
    }
}

/// A folder that somebody made before, as `mkdir` does it.
fn close(data: &Path) {
    let open = fs::metadata(data).is_ok_and(|m| m.permissions().mode() & 0o077 != 0);
    if open && let Err(error) = fs::set_permissions(data, Permissions::from_mode(0o700)) {
        tracing::warn!(folder = %data.display(), %error, "other users can look into the data folder, and it cannot be closed to them");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_folder_is_closed_to_others_and_taken_once() {
        let outer = tempfile::tempdir().unwrap();
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        let new = outer.path().join("new");
        let held = take(&new).unwrap();
        assert_eq!(mode(&new), 0o700);
        assert!(matches!(take(&new), Err(FolderError::InUse(_))));
        drop(held);
        take(&new).unwrap();
        let made = outer.path().join("made");
        fs::create_dir(&made).unwrap();
        fs::set_permissions(&made, Permissions::from_mode(0o755)).unwrap();
        take(&made).unwrap();
        assert_eq!(mode(&made), 0o700);
    }
}

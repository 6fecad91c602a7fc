//! Private folders of attempts on disk. Whatever a guest leaves in one (trees of any depth, names of any length), it is
//! measured and removed with a few descriptors and short paths.

use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};

/// Deepest tree that a guest may make.
const MAX_DEPTH: usize = 64;
/// What a file takes at least, in bytes: even an empty one has an inode.
const LEAST: u64 = 512;
/// How the system ends the name of an open file that has no name any more.
const DELETED: &str = " (deleted)";

/// The folder of one attempt. It goes with this value.
pub(crate) struct Scratch(PathBuf);

impl Scratch {
    /// # Errors
    /// What the disk reports.
    pub(crate) fn make(parent: &Path) -> io::Result<Self> {
        let folder = tempfile::Builder::new().tempdir_in(parent)?;
        // As the system names it, by which open files are known.
        let path = folder.path().canonicalize()?;
        let _ = folder.keep();
        Ok(Self(path))
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }

    /// Bytes on disk that it takes, with the files that were removed and are still open.
    ///
    /// # Errors
    /// What the disk reports; a tree that is too deep.
    pub(crate) fn bytes(&self) -> io::Result<u64> {
        Ok(named_bytes(&self.0)?.saturating_add(unnamed_bytes(&self.0)?))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        if let Err(error) = clear(&self.0).and_then(|()| fs::remove_dir(&self.0)) {
            tracing::warn!(folder = %self.0.display(), %error, "the scratch folder of an attempt cannot be removed");
        }
    }
}

/// Makes the folder of these folders private and empty. One that is there stays: a full disk may have no room to make it
/// again. One that cannot be emptied is put aside, and tried again at the next start.
pub(crate) fn open(path: &Path) {
    let make = || DirBuilder::new().recursive(true).mode(0o700).create(path);
    let emptied = make().and_then(|()| clear(path)).or_else(|error| {
        tracing::warn!(folder = %path.display(), %error, "the scratch folder cannot be emptied; it is put aside");
        fs::rename(path, aside(path)).and_then(|()| make())
    });
    if let Err(error) = emptied {
        tracing::error!(folder = %path.display(), %error, "there is no scratch folder; tasks that need one fail");
    }
    let aside = aside(path);
    if fs::symlink_metadata(&aside).is_ok()
        && let Err(error) = clear(&aside).and_then(|()| fs::remove_dir(&aside))
    {
        tracing::warn!(folder = %aside.display(), %error, "what was put aside cannot be removed");
    }
}

fn aside(path: &Path) -> PathBuf {
    let mut aside = path.as_os_str().to_owned();
    aside.push(".old");
    aside.into()
}

/// Empties a folder. Folders within are moved up beside those that are removed, so no path is longer than three names and
/// no descriptor is held for a level.
fn clear(root: &Path) -> io::Result<()> {
    let mut moved = 0u64;
    loop {
        let mut folders = Vec::new();
        for entry in fs::read_dir(root)? {
            let entry = entry?;
            if entry.file_type()?.is_dir() {
                folders.push(entry.path());
            } else {
                fs::remove_file(entry.path())?;
            }
        }
        if folders.is_empty() {
            return Ok(());
        }
        for folder in folders {
            for entry in fs::read_dir(&folder)? {
                let entry = entry?;
                if entry.file_type()?.is_dir() {
                    move_up(&entry.path(), root, &mut moved)?;
                } else {
                    fs::remove_file(entry.path())?;
                }
            }
            fs::remove_dir(&folder)?;
        }
    }
}

/// Gives a folder a name in `root` that nothing has yet.
fn move_up(folder: &Path, root: &Path, moved: &mut u64) -> io::Result<()> {
    loop {
        let to = root.join(moved.to_string());
        *moved += 1;
        if fs::symlink_metadata(&to).is_err_and(|error| error.kind() == io::ErrorKind::NotFound) {
            return fs::rename(folder, to);
        }
    }
}

/// What files and folders under `path` take on disk, in bytes; links are not followed.
fn named_bytes(path: &Path) -> io::Result<u64> {
    let mut total = 0u64;
    let mut open = vec![(path.to_owned(), 0)];
    while let Some((folder, depth)) = open.pop() {
        if depth > MAX_DEPTH {
            return Err(io::Error::other(format!("folders more than {MAX_DEPTH} deep")));
        }
        for entry in fs::read_dir(folder)? {
            let entry = entry?;
            let metadata = entry.metadata()?;
            total = total.saturating_add((metadata.blocks() * 512).max(LEAST));
            if metadata.is_dir() {
                open.push((entry.path(), depth + 1));
            }
        }
    }
    Ok(total)
}

/// What files take that were under `path`, have no name any more, and are open in this process.
fn unnamed_bytes(path: &Path) -> io::Result<u64> {
    let mut counted = std::collections::BTreeSet::new();
    let mut total = 0u64;
    for entry in fs::read_dir("/proc/self/fd")? {
        let descriptor = entry?.path();
        // Other threads close theirs meanwhile.
        let Ok(name) = fs::read_link(&descriptor) else { continue };
        if !name.starts_with(path) || !name.as_os_str().as_encoded_bytes().ends_with(DELETED.as_bytes()) {
            continue;
        }
        let Ok(metadata) = fs::metadata(&descriptor) else { continue };
        if metadata.nlink() == 0 && counted.insert((metadata.dev(), metadata.ino())) {
            total = total.saturating_add((metadata.blocks() * 512).max(LEAST));
        }
    }
    Ok(total)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Made from the inside, as a guest does it: no path to the deepest one is short enough to use.
    fn deepen(folder: &Path, levels: usize, name: &str) {
        use rustix::fs::{CWD, Mode, OFlags, mkdirat, openat};
        let flags = OFlags::RDONLY | OFlags::DIRECTORY;
        let mut at = openat(CWD, folder, flags, Mode::empty()).unwrap();
        for _ in 0..levels {
            mkdirat(&at, name, Mode::RWXU).unwrap();
            at = openat(&at, name, flags, Mode::empty()).unwrap();
        }
        openat(&at, "file", OFlags::CREATE | OFlags::WRONLY, Mode::RUSR | Mode::WUSR).unwrap();
    }

    fn entries(folder: &Path) -> usize {
        fs::read_dir(folder).unwrap().count()
    }

    #[test]
    fn a_tree_of_any_depth_and_with_long_names_is_removed() {
        let parent = tempfile::tempdir().unwrap();
        for (levels, name) in [(3_000, "d".to_owned()), (40, "n".repeat(255))] {
            let scratch = Scratch::make(parent.path()).unwrap();
            deepen(scratch.path(), levels, &name);
            // Names that a folder might be given when it is moved.
            fs::create_dir(scratch.path().join("0")).unwrap();
            fs::write(scratch.path().join("0/1"), b"x").unwrap();
            fs::write(scratch.path().join("1"), b"x").unwrap();
            assert!(scratch.bytes().is_err(), "it cannot be measured, so it is over any limit");
            drop(scratch);
            assert_eq!(entries(parent.path()), 0);
        }
    }

    #[test]
    fn what_is_left_from_before_is_removed_at_the_start() {
        let data = tempfile::tempdir().unwrap();
        let folder = data.path().join("scratch");
        fs::create_dir_all(folder.join("of-an-attempt")).unwrap();
        deepen(&folder.join("of-an-attempt"), 3_000, "d");
        fs::create_dir_all(aside(&folder).join("of-an-older-one")).unwrap();
        open(&folder);
        assert_eq!((entries(&folder), entries(data.path())), (0, 1));
        Scratch::make(&folder).unwrap();
    }

    #[test]
    fn a_folder_that_cannot_be_emptied_is_put_aside() {
        let data = tempfile::tempdir().unwrap();
        let folder = data.path().join("scratch");
        // No folder at all.
        fs::write(&folder, b"x").unwrap();
        open(&folder);
        assert_eq!(entries(&folder), 0);
    }

    #[test]
    fn files_that_were_removed_count_while_they_are_open() {
        let parent = tempfile::tempdir().unwrap();
        let scratch = Scratch::make(parent.path()).unwrap();
        let empty = scratch.bytes().unwrap();
        let path = scratch.path().join("file");
        fs::write(&path, vec![1; 1 << 20]).unwrap();
        let open = fs::File::open(&path).unwrap();
        open.sync_all().unwrap();
        let again = open.try_clone().unwrap();
        let named = scratch.bytes().unwrap();
        assert!(named >= empty + (1 << 20), "{named}");
        fs::remove_file(&path).unwrap();
        let unnamed = scratch.bytes().unwrap();
        assert!(unnamed >= empty + (1 << 20) && unnamed < empty + (2 << 20), "{unnamed}");
        drop((open, again));
        assert_eq!(scratch.bytes().unwrap(), empty);
    }
}

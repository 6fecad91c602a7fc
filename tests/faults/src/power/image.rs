//! The content of a folder: read whole, and put back.

use anyhow::{Context, Result};
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// Content of files by their paths; None for folders.
pub(super) type Image = BTreeMap<PathBuf, Option<Vec<u8>>>;

/// All that is in a folder: content of files, None for folders. Sockets are left out.
pub(super) fn read(root: &Path) -> Result<Image> {
    let (mut image, mut folders) = (Image::new(), vec![root.to_owned()]);
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).with_context(|| format!("cannot read {}", folder.display()))? {
            let entry = entry?;
            let (path, kind) = (entry.path(), entry.file_type()?);
            if kind.is_dir() {
                folders.push(path.clone());
                image.insert(path, None);
            } else if kind.is_file() {
                let content = fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?;
                image.insert(path, Some(content));
            }
        }
    }
    Ok(image)
}

/// Puts a folder into the state of an image; rights of files that are there stay as they are.
///
/// # Errors
/// When it cannot be written.
pub(super) fn put(root: &Path, image: &Image) -> Result<()> {
    let there = read(root)?;
    for (path, content) in there.iter().rev() {
        if !image.contains_key(path) {
            let gone = if content.is_some() {
                fs::remove_file(path)
            } else {
                fs::remove_dir(path)
            };
            gone.with_context(|| format!("cannot remove {}", path.display()))?;
        }
    }
    for (path, content) in image {
        let done = match content {
            None if path.is_dir() => Ok(()),
            None => fs::create_dir(path),
            Some(bytes) if there.get(path).is_some_and(|old| old.as_ref() == Some(bytes)) => Ok(()),
            Some(bytes) => fs::write(path, bytes),
        };
        done.with_context(|| format!("cannot write {}", path.display()))?;
    }
    Ok(())
}

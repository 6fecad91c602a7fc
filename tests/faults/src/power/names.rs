//! Names of files, and changes to them that the disk may not hold yet.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// What a name stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Entry {
    Folder,
    File(usize),
}

pub(super) type Names = BTreeMap<PathBuf, Entry>;

/// A change to the names that the disk may not hold yet.
#[derive(Clone, Debug)]
pub(super) struct Change {
    pub(super) number: usize,
    pub(super) kind: Kind,
}

#[derive(Clone, Debug)]
pub(super) enum Kind {
    Put(PathBuf, Entry),
    Remove(PathBuf),
    Move { from: PathBuf, to: PathBuf, entry: Entry },
    Swap(PathBuf, PathBuf),
}

impl Kind {
    pub(super) fn apply(&self, names: &mut Names) {
        match self {
            Self::Put(path, entry) => drop(names.insert(path.clone(), *entry)),
            Self::Remove(path) => drop(names.remove(path)),
            Self::Move { from, to, entry } => {
                let below = take_below(names, from);
                names.remove(from);
                names.insert(to.clone(), *entry);
                names.extend(below.into_iter().map(|(rest, entry)| (to.join(rest), entry)));
            }
            Self::Swap(one, other) => {
                let (a, b) = (names.remove(one), names.remove(other));
                let (below_a, below_b) = (take_below(names, one), take_below(names, other));
                names.extend(a.map(|entry| (other.clone(), entry)));
                names.extend(b.map(|entry| (one.clone(), entry)));
                names.extend(below_a.into_iter().map(|(rest, entry)| (other.join(rest), entry)));
                names.extend(below_b.into_iter().map(|(rest, entry)| (one.join(rest), entry)));
            }
        }
    }

    /// Whether a sync of this folder makes it durable.
    pub(super) fn is_of(&self, folder: &Path) -> bool {
        let is = |path: &PathBuf| path.parent() == Some(folder);
        match self {
            Self::Put(path, _) | Self::Remove(path) => is(path),
            Self::Move { from, to, .. } => is(from) || is(to),
            Self::Swap(one, other) => is(one) || is(other),
        }
    }

    pub(super) fn folder(&self) -> PathBuf {
        let path = match self {
            Self::Put(path, _) | Self::Remove(path) | Self::Move { to: path, .. } | Self::Swap(path, _) => path,
        };
        path.parent().unwrap_or(path).to_owned()
    }

    /// The file that it is about.
    pub(super) fn entry(&self) -> Option<Entry> {
        match self {
            Self::Put(_, entry @ Entry::File(_))
            | Self::Move {
                entry: entry @ Entry::File(_),
                ..
            } => Some(*entry),
            _ => None,
        }
    }
}

fn take_below(names: &mut Names, folder: &Path) -> Vec<(PathBuf, Entry)> {
    let below: Vec<PathBuf> = names
        .keys()
        .filter(|path| path.starts_with(folder) && *path != folder)
        .cloned()
        .collect();
    let rest = |path: PathBuf| {
        let entry = names.remove(&path)?;
        Some((path.strip_prefix(folder).ok()?.to_owned(), entry))
    };
    below.into_iter().filter_map(rest).collect()
}

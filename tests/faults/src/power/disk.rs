//! A folder as the programs see it, and as the disk holds it: what is durable, and what would be lost with the power.
//!
//! The model is as unkind as POSIX allows, and a little kinder than that where no file system is so unkind: a file's
//! content is durable from the return of an `fsync` or `fdatasync` of it that began after the write; a name is durable from
//! the return of an `fsync` of its folder. `sync_file_range` makes nothing durable. Of what came later, any pages of
//! 4 KiB may be there, with the length that they need, and of the changes to a folder's names any first part.

use super::content::{Content, Found};
use super::image::{Image, read};
use super::names::{Change, Entry, Kind, Names};
use super::trace::{Call, Line};
use anyhow::{Context, Result, ensure};
use std::collections::{BTreeSet, HashMap};
use std::path::{Path, PathBuf};

/// A sync that has begun: what it makes durable when it ends.
#[derive(Debug)]
enum Syncing {
    File { node: usize, found: Found },
    Folder { path: PathBuf, before: usize },
}

#[derive(Debug)]
pub(super) struct Disk {
    root: PathBuf,
    nodes: Vec<Content>,
    names: Names,
    durable: Names,
    changes: Vec<Change>,
    next: usize,
    under_way: HashMap<u32, (Call, Vec<Syncing>)>,
}

impl Disk {
    /// A folder whose content is all on the disk.
    ///
    /// # Errors
    /// When it cannot be read.
    pub(super) fn of(root: &Path) -> Result<Self> {
        let mut disk = Self {
            root: root.to_owned(),
            nodes: Vec::new(),
            names: Names::new(),
            durable: Names::new(),
            changes: Vec::new(),
            next: 0,
            under_way: HashMap::new(),
        };
        for (path, content) in read(root)? {
            let entry = match content {
                None => Entry::Folder,
                Some(bytes) => {
                    disk.nodes.push(Content::durable(bytes));
                    Entry::File(disk.nodes.len() - 1)
                }
            };
            disk.names.insert(path, entry);
        }
        disk.durable = disk.names.clone();
        Ok(disk)
    }

    /// Takes in a line of the trace.
    ///
    /// # Errors
    /// When it does not fit to what was before.
    pub(super) fn take(&mut self, line: Line) -> Result<()> {
        match line {
            Line::Begun { thread, call } => {
                let syncing = self.begin(&call);
                self.under_way.insert(thread, (call, syncing));
            }
            Line::Ended { thread, gave } => {
                if let Some((call, syncing)) = self.under_way.remove(&thread) {
                    self.end(call, syncing, gave)?;
                }
            }
            Line::Done { call, gave, .. } => {
                let syncing = self.begin(&call);
                self.end(call, syncing, gave)?;
            }
            Line::Killed { .. } => {}
        }
        Ok(())
    }

    fn file(&self, path: &Path) -> Option<usize> {
        match self.names.get(path) {
            Some(Entry::File(node)) => Some(*node),
            Some(Entry::Folder) | None => None,
        }
    }

    fn begin(&mut self, call: &Call) -> Vec<Syncing> {
        match call {
            Call::Sync { path } => self.sync_of(path).into_iter().collect(),
            Call::SyncAll => {
                let all: Vec<PathBuf> = self.names.keys().cloned().collect();
                all.iter().filter_map(|path| self.sync_of(path)).collect()
            }
            _ => Vec::new(),
        }
    }

    fn sync_of(&mut self, path: &Path) -> Option<Syncing> {
        match self.names.get(path) {
            Some(Entry::File(node)) => Some(Syncing::File {
                node: *node,
                found: self.nodes[*node].begin_sync(),
            }),
            Some(Entry::Folder) => Some(Syncing::Folder {
                path: path.to_owned(),
                before: self.next,
            }),
            None if path == self.root => Some(Syncing::Folder {
                path: path.to_owned(),
                before: self.next,
            }),
            None => None,
        }
    }

    fn end(&mut self, call: Call, syncing: Vec<Syncing>, gave: i64) -> Result<()> {
        if gave < 0 {
            return Ok(());
        }
        match call {
            Call::Sync { .. } | Call::SyncAll => syncing.into_iter().for_each(|one| self.synced(one)),
            Call::Open {
                path,
                create,
                truncate,
                append,
            } if path.starts_with(&self.root) => {
                if self.names.get(&path) == Some(&Entry::Folder) {
                    return Ok(());
                }
                let node = match self.file(&path) {
                    Some(node) => node,
                    None if create => {
                        self.nodes.push(Content::default());
                        let entry = Entry::File(self.nodes.len() - 1);
                        self.change(Kind::Put(path, entry));
                        self.nodes.len() - 1
                    }
                    // Gone again already, by another thread.
                    None => return Ok(()),
                };
                if truncate {
                    self.nodes[node].resize(0);
                }
                let end = self.nodes[node].now().len();
                self.nodes[node].seek(if append { end } else { 0 });
            }
            Call::Write { path, offset, bytes } => {
                if let Some(node) = self.file(&path) {
                    let length = usize::try_from(gave)?.min(bytes.len());
                    let at = offset.map(usize::try_from).transpose()?;
                    self.nodes[node].write(at, &bytes[..length]);
                }
            }
            Call::Seek { path } => {
                if let Some(node) = self.file(&path) {
                    self.nodes[node].seek(usize::try_from(gave)?);
                }
            }
            Call::Resize { path, length } => {
                if let Some(node) = self.file(&path) {
                    self.nodes[node].resize(usize::try_from(length)?);
                }
            }
            Call::Allocate { path, end } => {
                if let Some(node) = self.file(&path) {
                    let length = self.nodes[node].now().len().max(usize::try_from(end)?);
                    self.nodes[node].resize(length);
                }
            }
            Call::Rename { from, to, swap: true } if self.names.contains_key(&from) => self.change(Kind::Swap(from, to)),
            Call::Rename { from, to, swap: false } => {
                if let Some(entry) = self.names.get(&from).copied() {
                    self.change(Kind::Move { from, to, entry });
                }
            }
            Call::Remove { path } => {
                if self.names.contains_key(&path) {
                    self.change(Kind::Remove(path));
                }
            }
            Call::MakeFolder { path } if path.starts_with(&self.root) => self.change(Kind::Put(path, Entry::Folder)),
            Call::Open { .. } | Call::MakeFolder { .. } | Call::Rename { .. } => {}
        }
        Ok(())
    }

    fn change(&mut self, kind: Kind) {
        kind.apply(&mut self.names);
        self.changes.push(Change { number: self.next, kind });
        self.next += 1;
    }

    fn synced(&mut self, syncing: Syncing) {
        match syncing {
            Syncing::File { node, found } => self.nodes[node].end_sync(found),
            Syncing::Folder { path, before } => {
                let (held, left): (Vec<Change>, Vec<Change>) = std::mem::take(&mut self.changes)
                    .into_iter()
                    .partition(|change| change.number < before && change.kind.is_of(&path));
                self.changes = left;
                for change in held {
                    change.kind.apply(&mut self.durable);
                    // What a file was called before is settled by that too.
                    if let Kind::Move { entry, .. } = change.kind {
                        self.changes
                            .retain(|other| other.number > change.number || other.kind.entry() != Some(entry));
                    }
                }
            }
        }
    }

    /// What the disk holds if the power goes now.
    #[must_use]
    pub(super) fn after_power_loss(&self, random: &mut fastrand::Rng) -> Image {
        let mut names = self.durable.clone();
        let mut left: HashMap<PathBuf, usize> = HashMap::new();
        for change in &self.changes {
            let folder = change.kind.folder();
            let all = self.changes.iter().filter(|other| other.kind.folder() == folder).count();
            let kept = left.entry(folder).or_insert_with(|| random.usize(..=all));
            if *kept > 0 {
                *kept -= 1;
                change.kind.apply(&mut names);
            }
        }
        let mut image = Image::new();
        for (path, entry) in &names {
            let above = path.ancestors().skip(1).take_while(|folder| *folder != self.root);
            if !above.into_iter().all(|folder| names.contains_key(folder)) || !path.starts_with(&self.root) {
                continue;
            }
            let content = match entry {
                Entry::Folder => None,
                Entry::File(node) => Some(self.nodes[*node].after_power_loss(random)),
            };
            image.insert(path.clone(), content);
        }
        image
    }

    /// That the model knows what the programs did: the folder is as it says, but for calls that were cut off.
    ///
    /// # Errors
    /// Names the first file that differs.
    pub(super) fn agrees(&self, spared: impl Fn(&Path) -> bool) -> Result<()> {
        let real = read(&self.root)?;
        let cut_off: BTreeSet<&Path> = self.under_way.values().flat_map(|(call, _)| call.paths()).collect();
        let names: BTreeSet<&PathBuf> = self.names.keys().chain(real.keys()).collect();
        for path in names {
            if spared(path) || cut_off.contains(path.as_path()) {
                continue;
            }
            let real = real.get(path).with_context(|| format!("{} is not there", path.display()))?;
            let model = match self.names.get(path).with_context(|| format!("{} is not known", path.display()))? {
                Entry::Folder => None,
                Entry::File(node) => Some(self.nodes[*node].now()),
            };
            if let (Some(real), Some(model)) = (real, model) {
                ensure!(
                    real.len() == model.len(),
                    "{} has {} bytes, not {}",
                    path.display(),
                    real.len(),
                    model.len()
                );
                let differs = real.iter().zip(model).position(|(a, b)| a != b);
                ensure!(differs.is_none(), "{} differs at byte {differs:?}", path.display());
            }
        }
        Ok(())
    }
}

impl Call {
    fn paths(&self) -> Vec<&Path> {
        match self {
            Self::Rename { from, to, .. } => vec![from, to],
            Self::SyncAll => Vec::new(),
            Self::Open { path, .. }
            | Self::Write { path, .. }
            | Self::Seek { path }
            | Self::Resize { path, .. }
            | Self::Allocate { path, .. }
            | Self::Sync { path }
            | Self::Remove { path }
            | Self::MakeFolder { path } => vec![path],
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn disk() -> (tempfile::TempDir, Disk) {
        let folder = tempfile::tempdir().unwrap();
        let disk = Disk::of(folder.path()).unwrap();
        (folder, disk)
    }

    fn run(disk: &mut Disk, calls: Vec<Call>) {
        for call in calls {
            let gave = match &call {
                Call::Write { bytes, .. } => bytes.len().try_into().unwrap(),
                _ => 0,
            };
            disk.take(Line::Done { thread: 1, call, gave }).unwrap();
        }
    }

    #[test]
    fn what_was_synced_survives_and_nothing_else_must() {
        let (folder, mut disk) = disk();
        let path = folder.path().join("a");
        let open = Call::Open {
            path: path.clone(),
            create: true,
            truncate: false,
            append: false,
        };
        let write = |text: &[u8]| Call::Write {
            path: path.clone(),
            offset: Some(0),
            bytes: text.to_vec(),
        };
        let sync = |path: &Path| Call::Sync { path: path.to_owned() };
        run(&mut disk, vec![open, write(b"one"), sync(&path)]);
        // Its name is not durable.
        let mut seen = BTreeSet::new();
        for seed in 0..50 {
            seen.insert(disk.after_power_loss(&mut fastrand::Rng::with_seed(seed)).contains_key(&path));
        }
        assert_eq!(seen.len(), 2);
        run(&mut disk, vec![sync(folder.path()), write(b"two")]);
        let mut seen = BTreeSet::new();
        for seed in 0..50 {
            let image = disk.after_power_loss(&mut fastrand::Rng::with_seed(seed));
            seen.insert(image[&path].clone().unwrap());
        }
        assert_eq!(seen, BTreeSet::from([b"one".to_vec(), b"two".to_vec()]));
    }

    #[test]
    fn a_rename_is_durable_with_its_folder_and_never_leaves_both_names() {
        let (folder, mut disk) = disk();
        let (from, to) = (folder.path().join("new"), folder.path().join("file"));
        let calls = vec![
            Call::Open {
                path: from.clone(),
                create: true,
                truncate: false,
                append: false,
            },
            Call::Sync { path: from.clone() },
            Call::Rename {
                from: from.clone(),
                to: to.clone(),
                swap: false,
            },
        ];
        run(&mut disk, calls);
        for seed in 0..50 {
            let image = disk.after_power_loss(&mut fastrand::Rng::with_seed(seed));
            assert!(!(image.contains_key(&from) && image.contains_key(&to)));
        }
        run(
            &mut disk,
            vec![Call::Sync {
                path: folder.path().to_owned(),
            }],
        );
        let image = disk.after_power_loss(&mut fastrand::Rng::with_seed(1));
        assert!(image.contains_key(&to) && !image.contains_key(&from));
    }
}

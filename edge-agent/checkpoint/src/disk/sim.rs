//! A disk in memory that forgets what was not synced, and fails when told to. Deterministic.

use super::{Disk, DiskFile};
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::sync::Arc;

use parking_lot::Mutex;

/// What a power cut keeps or loses as a whole, in bytes.
const SECTOR: u64 = 512;

/// A simulated folder. A clone is another view of the same disk. [`SimDisk::crash`] imitates a power cut: handles
/// opened before it fail from then on.
#[derive(Clone, Debug, Default)]
pub struct SimDisk(Arc<Mutex<State>>);

#[derive(Clone, Debug, Default)]
struct State {
    inodes: BTreeMap<u64, Inode>,
    next_inode: u64,
    /// What a process sees.
    names: BTreeMap<String, u64>,
    /// What a power cut leaves.
    durable_names: BTreeMap<String, u64>,
    boots: u64,
    capacity: Option<u64>,
    faults: Faults,
}

#[derive(Clone, Debug, Default)]
struct Inode {
    content: Vec<u8>,
    durable: Vec<u8>,
    /// Sectors written since they were last synced. A failed sync empties this without making them durable, as
    /// systems do.
    dirty: BTreeSet<u64>,
    length_changed: bool,
}

#[derive(Clone, Debug, Default)]
struct Faults {
    failed_syncs: u32,
    failed_writes: u32,
    failed_creates: u32,
    syncs: u64,
    /// Changes that are still made before the power is gone.
    until_cut: Option<u64>,
}

impl Faults {
    /// Counts a change of the disk.
    fn change(&mut self) -> io::Result<()> {
        match &mut self.until_cut {
            None => Ok(()),
            Some(0) => Err(io::Error::other("the power is gone")),
            Some(left) => {
                *left -= 1;
                Ok(())
            }
        }
    }
}

impl SimDisk {
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Another disk that holds the same now.
    #[must_use]
    pub fn copy(&self) -> Self {
        Self(Arc::new(Mutex::new(self.0.lock().clone())))
    }

    /// Cuts the power: what was not synced is kept or lost sector by sector, as `seed` says, and so are names
    /// created, moved or removed since the last [`Disk::sync_dir`].
    pub fn crash(&self, seed: u64) {
        let mut dice = Dice(seed);
        let state = &mut *self.0.lock();
        state.boots += 1;
        state.faults.until_cut = None;
        let changed: BTreeSet<&String> = state.names.keys().chain(state.durable_names.keys()).collect();
        let mut names = BTreeMap::new();
        for name in changed {
            let (now, durable) = (state.names.get(name), state.durable_names.get(name));
            if let Some(inode) = if now == durable || dice.half() { now } else { durable } {
                names.insert(name.clone(), *inode);
            }
        }
        state.names.clone_from(&names);
        state.durable_names = names;
        for inode in state.inodes.values_mut() {
            inode.lose(&mut dice);
        }
        let named: BTreeSet<u64> = state.names.values().copied().collect();
        state.inodes.retain(|id, _| named.contains(id));
    }

    /// Ends the process but not the machine: everything written is kept, handles stop working.
    pub fn kill(&self) {
        self.0.lock().boots += 1;
    }

    /// Nothing changes any more after the next `count` changes (writes, syncs, and what is done to names): the power is gone, and
    /// [`SimDisk::crash`] says what is left.
    pub fn cut_after(&self, count: u64) {
        self.0.lock().faults.until_cut = Some(count);
    }

    /// The next `count` calls of [`DiskFile::sync_data`] fail, and what they should have synced never gets durable
    /// by a later call.
    pub fn fail_syncs(&self, count: u32) {
        self.0.lock().faults.failed_syncs = count;
    }

    /// The next `count` writes fail after a part of their bytes.
    pub fn fail_writes(&self, count: u32) {
        self.0.lock().faults.failed_writes = count;
    }

    /// The next `count` creations of a file fail.
    pub fn fail_creates(&self, count: u32) {
        self.0.lock().faults.failed_creates = count;
    }

    /// Limits the sum of all file lengths; None takes the limit away.
    pub fn set_capacity(&self, bytes: Option<u64>) {
        self.0.lock().capacity = bytes;
    }

    /// Successful calls of [`DiskFile::sync_data`] so far.
    #[must_use]
    pub fn syncs(&self) -> u64 {
        self.0.lock().faults.syncs
    }

    /// The sum of all file lengths.
    #[must_use]
    pub fn used(&self) -> u64 {
        self.0.lock().used()
    }

    /// Turns one bit of a file over, on the medium and in the cache; nothing happens beyond its end.
    pub fn flip_bit(&self, name: &str, offset: u64, bit: u8) {
        let state = &mut *self.0.lock();
        let Some(inode) = state.names.get(name).and_then(|id| state.inodes.get_mut(id)) else {
            return;
        };
        let Ok(at) = usize::try_from(offset) else { return };
        for bytes in [&mut inode.content, &mut inode.durable] {
            if let Some(byte) = bytes.get_mut(at) {
                *byte ^= 1 << (bit % 8);
            }
        }
    }

    /// Puts a file there, durable, as a restore or a careless hand would.
    pub fn plant(&self, name: &str, content: Vec<u8>) {
        let state = &mut *self.0.lock();
        let id = state.next_inode;
        state.next_inode += 1;
        state.inodes.insert(
            id,
            Inode {
                durable: content.clone(),
                content,
                ..Inode::default()
            },
        );
        state.names.insert(name.to_owned(), id);
        state.durable_names.insert(name.to_owned(), id);
    }
}

impl State {
    fn used(&self) -> u64 {
        self.names
            .values()
            .filter_map(|id| self.inodes.get(id))
            .map(|i| i.content.len() as u64)
            .sum()
    }

    fn room_for(&self, more: u64) -> io::Result<()> {
        match self.capacity {
            Some(capacity) if self.used().saturating_add(more) > capacity => Err(io::ErrorKind::StorageFull.into()),
            _ => Ok(()),
        }
    }
}

impl Inode {
    fn write(&mut self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let start = usize::try_from(offset).map_err(|_| io::Error::from(io::ErrorKind::FileTooLarge))?;
        self.resize(start.saturating_add(bytes.len()).max(self.content.len()));
        self.content[start..start + bytes.len()].copy_from_slice(bytes);
        self.touch(offset, offset + bytes.len() as u64);
        Ok(())
    }

    fn resize(&mut self, len: usize) {
        let old = self.content.len();
        if len != old {
            self.content.resize(len, 0);
            self.length_changed = true;
            self.touch(old.min(len) as u64, old.max(len) as u64);
        }
    }

    fn touch(&mut self, from: u64, to: u64) {
        if from < to {
            self.dirty.extend(from / SECTOR..=(to - 1) / SECTOR);
        }
    }

    fn sync(&mut self) {
        self.durable.resize(self.content.len(), 0);
        for sector in std::mem::take(&mut self.dirty) {
            copy_sector(&self.content, &mut self.durable, sector);
        }
        self.length_changed = false;
    }

    fn lose(&mut self, dice: &mut Dice) {
        let mut left = std::mem::take(&mut self.durable);
        if self.length_changed && dice.half() {
            left.resize(self.content.len(), 0);
        }
        for sector in std::mem::take(&mut self.dirty) {
            if dice.half() {
                copy_sector(&self.content, &mut left, sector);
            }
        }
        self.length_changed = false;
        self.content.clone_from(&left);
        self.durable = left;
    }
}

fn copy_sector(from: &[u8], to: &mut [u8], sector: u64) {
    // Sectors of a file in memory are in the range of usize.
    let start = usize::try_from(sector * SECTOR).unwrap_or(usize::MAX);
    let end = start.saturating_add(512).min(from.len()).min(to.len());
    if start < end {
        to[start..end].copy_from_slice(&from[start..end]);
    }
}

/// A small generator (splitmix64): the seed is all its state.
#[derive(Debug)]
struct Dice(u64);

impl Dice {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn half(&mut self) -> bool {
        self.next() & 1 == 1
    }
}

impl Disk for SimDisk {
    fn create(&self, name: &str) -> io::Result<Arc<dyn DiskFile>> {
        let mut state = self.0.lock();
        state.faults.change()?;
        if state.names.contains_key(name) {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        if state.faults.failed_creates > 0 {
            state.faults.failed_creates -= 1;
            return Err(io::Error::other("injected failure of a creation"));
        }
        let id = state.next_inode;
        state.next_inode += 1;
        state.inodes.insert(id, Inode::default());
        state.names.insert(name.to_owned(), id);
        Ok(self.file(&state, id))
    }

    fn open(&self, name: &str) -> io::Result<Arc<dyn DiskFile>> {
        let state = self.0.lock();
        let id = *state.names.get(name).ok_or(io::ErrorKind::NotFound)?;
        Ok(self.file(&state, id))
    }

    fn list(&self) -> io::Result<Vec<String>> {
        Ok(self.0.lock().names.keys().cloned().collect())
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let mut state = self.0.lock();
        state.faults.change()?;
        let id = state.names.remove(from).ok_or(io::ErrorKind::NotFound)?;
        state.names.insert(to.to_owned(), id);
        Ok(())
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        let mut state = self.0.lock();
        state.faults.change()?;
        state.names.remove(name).ok_or(io::ErrorKind::NotFound)?;
        Ok(())
    }

    fn sync_dir(&self) -> io::Result<()> {
        let state = &mut *self.0.lock();
        state.faults.change()?;
        state.durable_names.clone_from(&state.names);
        let named: BTreeSet<u64> = state.names.values().copied().collect();
        // A removed file goes here even when a handle is still open; nobody reads through one.
        state.inodes.retain(|id, _| named.contains(id));
        Ok(())
    }

    fn available(&self) -> io::Result<u64> {
        let state = self.0.lock();
        Ok(state.capacity.map_or(u64::MAX, |capacity| capacity.saturating_sub(state.used())))
    }
}

impl SimDisk {
    fn file(&self, state: &State, inode: u64) -> Arc<dyn DiskFile> {
        Arc::new(SimFile {
            disk: self.clone(),
            inode,
            boot: state.boots,
        })
    }
}

#[derive(Debug)]
struct SimFile {
    disk: SimDisk,
    inode: u64,
    boot: u64,
}

impl SimFile {
    fn with<T>(&self, act: impl FnOnce(&mut State, u64) -> io::Result<T>) -> io::Result<T> {
        let mut state = self.disk.0.lock();
        if state.boots != self.boot || !state.inodes.contains_key(&self.inode) {
            return Err(io::Error::other("this handle was opened before the machine went down"));
        }
        act(&mut state, self.inode)
    }

    fn change<T>(&self, act: impl FnOnce(&mut State, u64) -> io::Result<T>) -> io::Result<T> {
        self.with(|state, id| {
            state.faults.change()?;
            act(state, id)
        })
    }
}

fn inode(state: &mut State, id: u64) -> io::Result<&mut Inode> {
    state.inodes.get_mut(&id).ok_or_else(|| io::ErrorKind::NotFound.into())
}

impl DiskFile for SimFile {
    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.change(|state, id| {
            let growth = (offset + bytes.len() as u64).saturating_sub(inode(state, id)?.content.len() as u64);
            state.room_for(growth)?;
            if state.faults.failed_writes > 0 {
                state.faults.failed_writes -= 1;
                inode(state, id)?.write(offset, &bytes[..bytes.len() / 2])?;
                return Err(io::Error::other("injected failure of a write"));
            }
            inode(state, id)?.write(offset, bytes)
        })
    }

    fn read_at(&self, offset: u64, into: &mut [u8]) -> io::Result<usize> {
        self.with(|state, id| {
            let content = &inode(state, id)?.content;
            let start = usize::try_from(offset).unwrap_or(usize::MAX).min(content.len());
            let n = into.len().min(content.len() - start);
            into[..n].copy_from_slice(&content[start..start + n]);
            Ok(n)
        })
    }

    fn sync_data(&self) -> io::Result<()> {
        self.change(|state, id| {
            if state.faults.failed_syncs > 0 {
                state.faults.failed_syncs -= 1;
                inode(state, id)?.dirty.clear();
                return Err(io::Error::other("injected failure of fdatasync"));
            }
            state.faults.syncs += 1;
            inode(state, id)?.sync();
            Ok(())
        })
    }

    fn len(&self) -> io::Result<u64> {
        self.with(|state, id| Ok(inode(state, id)?.content.len() as u64))
    }

    fn truncate(&self, len: u64) -> io::Result<()> {
        self.change(|state, id| {
            let growth = len.saturating_sub(inode(state, id)?.content.len() as u64);
            state.room_for(growth)?;
            inode(state, id)?.resize(usize::try_from(len).map_err(|_| io::Error::from(io::ErrorKind::FileTooLarge))?);
            Ok(())
        })
    }

    fn preallocate(&self, len: u64) -> io::Result<()> {
        self.change(|state, id| {
            let growth = len.saturating_sub(inode(state, id)?.content.len() as u64);
            state.room_for(growth)?;
            if growth > 0 {
                inode(state, id)?.resize(usize::try_from(len).map_err(|_| io::Error::from(io::ErrorKind::FileTooLarge))?);
            }
            Ok(())
        })
    }
}

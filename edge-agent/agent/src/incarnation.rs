//! The number of this start, by which the control plane tells this device from a copy of its disk.
//!
//! The file holds the number that the control plane is known to have taken and, after it, those that were presented since
//! without an answer; its last line is a digest of the others. There are two of it, so that one that is damaged does not
//! make this device a copy. The rule is the control plane's (`eyot-coordinator`); here it only has to be kept that a number is on
//! disk before it is presented.

use eyot_model::Digest;
use eyot_wire::Hello;
use parking_lot::Mutex;
use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};

const FILE: &str = "incarnation";
const SECOND: &str = "incarnation.second";

/// The numbers of this start and of those before it.
pub struct Incarnation {
    /// Written in this order.
    paths: [PathBuf; 2],
    new: u64,
    /// As the file has them, oldest first.
    numbers: Mutex<Vec<u64>>,
}

impl Incarnation {
    /// Reads what earlier starts left under `data`. `new` is random. Where neither file can be read, it is as if there were
    /// none: the control plane will then take this device for a copy, and say so.
    #[must_use]
    pub fn open(data: &Path, new: u64) -> Self {
        let paths = [data.join(FILE), data.join(SECOND)];
        let mut numbers = None;
        for path in &paths {
            match read(path) {
                Ok(found) => numbers = numbers.or(Some(found)),
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
                Err(error) => {
                    tracing::error!(file = %path.display(), %error, "a file with the numbers of earlier starts is damaged");
                }
            }
        }
        Self {
            paths,
            new,
            numbers: Mutex::new(numbers.unwrap_or_default()),
        }
    }

    /// The number of this start, synced, and those before it that the control plane may have taken last.
    ///
    /// # Errors
    /// When the disk takes nothing: then the number must not be presented.
    pub fn propose(&self) -> std::io::Result<(u64, Vec<u64>)> {
        let mut numbers = self.numbers.lock();
        if !numbers.contains(&self.new) {
            let mut longer = numbers.clone();
            // The first is the one that was taken; of the others the oldest goes.
            if longer.len() >= Hello::BEFORE_LIMIT {
                longer.remove(1);
            }
            longer.push(self.new);
            self.write(&longer)?;
            *numbers = longer;
        }
        let before = numbers.iter().copied().filter(|n| *n != self.new).collect();
        Ok((self.new, before))
    }

    /// The control plane has taken this start's number, so those before it are needed no more.
    pub fn taken(&self) {
        let mut numbers = self.numbers.lock();
        if *numbers == [self.new] {
            return;
        }
        match self.write(&[self.new]) {
            Ok(()) => *numbers = vec![self.new],
            // The longer list is right too.
            Err(error) => tracing::warn!(%error, "the number of this start was not written down as taken"),
        }
    }

    fn write(&self, numbers: &[u64]) -> std::io::Result<()> {
        self.paths.iter().try_for_each(|path| write(path, numbers))
    }
}

fn read(path: &Path) -> std::io::Result<Vec<u64>> {
    let damaged = |what: &str| std::io::Error::new(std::io::ErrorKind::InvalidData, what);
    let text = std::fs::read_to_string(path)?;
    let (lines, digest) = text.trim_end().rsplit_once('\n').ok_or_else(|| damaged("it is too short"))?;
    if Digest::of(lines.as_bytes()).to_string() != digest {
        return Err(damaged("its digest is another"));
    }
    let numbers = lines.lines().map(|line| u64::from_str_radix(line, 16)).collect::<Result<_, _>>();
    numbers.map_err(|_| damaged("it holds something else than numbers"))
}

/// The whole file or none of it.
fn write(path: &Path, numbers: &[u64]) -> std::io::Result<()> {
    let mut next = path.as_os_str().to_owned();
    next.push(".new");
    let next = PathBuf::from(next);
    let mut file = File::create(&next)?;
    let lines: Vec<String> = numbers.iter().map(|number| format!("{number:016x}")).collect();
    let lines = lines.join("\n");
    writeln!(file, "{lines}\n{}", Digest::of(lines.as_bytes()))?;
    file.sync_all()?;
    std::fs::rename(&next, path)?;
    match path.parent() {
        Some(folder) => File::open(folder)?.sync_all(),
        None => Ok(()),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn what_was_presented_is_on_disk_until_the_next_one_is_taken() {
        let dir = tempfile::tempdir().unwrap();
        let first = Incarnation::open(dir.path(), 1);
        assert_eq!(first.propose().unwrap(), (1, vec![]));
        first.taken();
        let second = Incarnation::open(dir.path(), 2);
        assert_eq!(second.propose().unwrap(), (2, vec![1]));
        let third = Incarnation::open(dir.path(), 3);
        assert_eq!(third.propose().unwrap(), (3, vec![1, 2]), "nobody said that 2 was taken");
        assert_eq!(third.propose().unwrap(), (3, vec![1, 2]), "the same at each link of a start");
        third.taken();
        assert_eq!(Incarnation::open(dir.path(), 4).propose().unwrap(), (4, vec![3]));
        for n in 5..500 {
            let (_, before) = Incarnation::open(dir.path(), n).propose().unwrap();
            assert_eq!(before[0], 3, "the one that was taken stays");
            assert!(before.len() <= Hello::BEFORE_LIMIT);
        }
    }

    #[test]
    fn a_flipped_bit_in_one_of_the_files_is_found_and_the_other_one_counts() {
        for file in [FILE, SECOND] {
            let dir = tempfile::tempdir().unwrap();
            Incarnation::open(dir.path(), 7).propose().unwrap();
            let path = dir.path().join(file);
            let mut bytes = std::fs::read(&path).unwrap();
            bytes[15] ^= 1;
            std::fs::write(&path, bytes).unwrap();
            assert_eq!(Incarnation::open(dir.path(), 8).propose().unwrap(), (8, vec![7]), "{file}");
        }
        let dir = tempfile::tempdir().unwrap();
        for file in [FILE, SECOND] {
            std::fs::write(dir.path().join(file), "not a number").unwrap();
        }
        assert_eq!(Incarnation::open(dir.path(), 9).propose().unwrap(), (9, vec![]));
    }
}

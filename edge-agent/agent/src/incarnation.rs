//! The number of this start, by which the control plane tells this device from a copy of its disk.
//!
//! The file holds the number that the control plane is known to have taken and, after it, those that were presented since
//! without an answer. The rule is the control plane's (`eyot-coordinator`); here it only has to be kept that a number is on
//! disk before it is presented.

use eyot_wire::Hello;
use parking_lot::Mutex;
use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};

const FILE: &str = "incarnation";

/// The numbers of this start and of those before it.
pub struct Incarnation {
    path: PathBuf,
    new: u64,
    /// As the file has them, oldest first.
    numbers: Mutex<Vec<u64>>,
}

impl Incarnation {
    /// Reads what earlier starts left under `data`. `new` is random. A file that cannot be read is as none: the control plane
    /// will then take this device for a copy, and say so.
    #[must_use]
    pub fn open(data: &Path, new: u64) -> Self {
        let path = data.join(FILE);
        let numbers = match std::fs::read_to_string(&path) {
            Ok(text) => text
                .lines()
                .map(|line| u64::from_str_radix(line, 16))
                .collect::<Result<Vec<u64>, _>>(),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Vec::new()),
            Err(error) => {
                tracing::error!(path = %path.display(), %error, "the numbers of earlier starts cannot be read");
                Ok(Vec::new())
            }
        };
        let numbers = numbers.unwrap_or_else(|error| {
            tracing::error!(path = %path.display(), %error, "the file with the numbers of earlier starts is damaged");
            Vec::new()
        });
        Self {
            path,
            new,
            numbers: Mutex::new(numbers),
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
            write(&self.path, &longer)?;
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
        match write(&self.path, &[self.new]) {
            Ok(()) => *numbers = vec![self.new],
            // The longer list is right too.
            Err(error) => tracing::warn!(path = %self.path.display(), %error, "the number of this start was not written down as taken"),
        }
    }
}

/// The whole file or none of it.
fn write(path: &Path, numbers: &[u64]) -> std::io::Result<()> {
    let next = path.with_extension("new");
    let mut file = File::create(&next)?;
    for number in numbers {
        writeln!(file, "{number:016x}")?;
    }
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
        std::fs::write(dir.path().join(FILE), "not a number").unwrap();
        assert_eq!(Incarnation::open(dir.path(), 9).propose().unwrap(), (9, vec![]));
    }
}

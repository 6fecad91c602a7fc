//! The few file operations that the journal needs, over one flat folder.

mod os;
mod sim;

pub use os::OsDisk;
pub use sim::SimDisk;

use std::fmt::Debug;
use std::io;
use std::sync::Arc;

/// A folder of files. Names are plain file names, never paths. What is created, renamed or removed is durable only
/// after [`Disk::sync_dir`]; what is written only after [`DiskFile::sync_data`].
pub trait Disk: Debug + Send + Sync {
    /// Makes a new, empty file.
    ///
    /// # Errors
    /// `AlreadyExists` when the name is taken, `StorageFull`, or what the system says.
    fn create(&self, name: &str) -> io::Result<Arc<dyn DiskFile>>;

    /// # Errors
    /// `NotFound`, or what the system says.
    fn open(&self, name: &str) -> io::Result<Arc<dyn DiskFile>>;

    /// Names of all plain files, sorted.
    ///
    /// # Errors
    /// What the system says.
    fn list(&self) -> io::Result<Vec<String>>;

    /// Replaces `to` where it exists.
    ///
    /// # Errors
    /// `NotFound`, or what the system says.
    fn rename(&self, from: &str, to: &str) -> io::Result<()>;

    /// # Errors
    /// `NotFound`, or what the system says.
    fn remove(&self, name: &str) -> io::Result<()>;

    /// Makes creations, renames and removals durable.
    ///
    /// # Errors
    /// What the system says.
    fn sync_dir(&self) -> io::Result<()>;

    /// Bytes that can still be written by this process.
    ///
    /// # Errors
    /// What the system says.
    fn available(&self) -> io::Result<u64>;
}

/// An open file. All positions are given: there is no cursor.
pub trait DiskFile: Debug + Send + Sync {
    /// Writes all of `bytes`, making the file longer where needed. After it returns, the bytes survive the death of
    /// this process, but not of the machine. After an error, any part of them may have been written.
    ///
    /// # Errors
    /// `StorageFull`, or what the system says.
    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()>;

    /// Reads until `into` is full or the file ends; gives the number of bytes read.
    ///
    /// # Errors
    /// What the system says.
    fn read_at(&self, offset: u64, into: &mut [u8]) -> io::Result<usize>;

    /// Makes what was written durable. After an error the same file must never be trusted again: the system has
    /// forgotten which of its bytes are not on disk, and a second call would succeed without writing them.
    ///
    /// # Errors
    /// What the system says.
    fn sync_data(&self) -> io::Result<()>;

    /// # Errors
    /// What the system says.
    fn len(&self) -> io::Result<u64>;

    /// # Errors
    /// What the system says.
    fn is_empty(&self) -> io::Result<bool> {
        Ok(self.len()? == 0)
    }

    /// Cuts the file, or extends it with zeros.
    ///
    /// # Errors
    /// What the system says.
    fn truncate(&self, len: u64) -> io::Result<()>;

    /// Reserves room for `len` bytes; the file is then at least that long, with zeros where nothing was written.
    ///
    /// # Errors
    /// `StorageFull`, or what the system says.
    fn preallocate(&self, len: u64) -> io::Result<()>;
}

/// The whole content of a file.
///
/// # Errors
/// What the disk says.
pub fn read_all(file: &dyn DiskFile) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    read_all_into(file, &mut bytes)?;
    Ok(bytes)
}

/// The whole content of a file, in place of what was in `bytes`.
///
/// # Errors
/// What the disk says.
pub fn read_all_into(file: &dyn DiskFile, bytes: &mut Vec<u8>) -> io::Result<()> {
    let len = usize::try_from(file.len()?).map_err(|_| io::Error::from(io::ErrorKind::FileTooLarge))?;
    bytes.clear();
    bytes.resize(len, 0);
    let read = file.read_at(0, bytes)?;
    bytes.truncate(read);
    Ok(())
}

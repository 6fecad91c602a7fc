//! A small file system for one folder, in the mount namespace that this program was given of its own.

use anyhow::{Context, Result, ensure};
use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

const BALLAST: &str = "ballast";
const BLOCK: usize = 64 << 10;

/// A tmpfs on a folder, unmounted when this is dropped.
#[derive(Debug)]
pub struct Room {
    folder: PathBuf,
}

impl Room {
    /// # Errors
    /// When the system refuses.
    pub fn make(folder: &Path, bytes: u64) -> Result<Self> {
        fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
        let mut mount = Command::new("mount");
        mount
            .args(["-t", "tmpfs", "-o", &format!("size={bytes}"), "eyot-faults"])
            .arg(folder);
        let done = mount.output().context("cannot run mount")?;
        ensure!(done.status.success(), "mount: {}", String::from_utf8_lossy(&done.stderr).trim());
        Ok(Self { folder: folder.to_owned() })
    }

    /// Takes all the room that is left, to the last byte.
    ///
    /// # Errors
    /// When the file cannot be made at all.
    pub fn fill(&self) -> Result<()> {
        let mut file = File::options()
            .append(true)
            .create(true)
            .open(self.folder.join(BALLAST))
            .context("cannot make the ballast")?;
        let block = vec![0x5A; BLOCK];
        let mut length = BLOCK;
        while length > 0 {
            if file.write_all(&block[..length]).is_err() {
                length /= 2;
            }
        }
        Ok(())
    }

    /// Gives back what was taken.
    ///
    /// # Errors
    /// When nothing was taken.
    pub fn free(&self) -> Result<()> {
        fs::remove_file(self.folder.join(BALLAST)).context("there is no ballast")
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        // Lazily: a process that still holds a file there does not keep the name. It goes with this program at the latest.
        let _ = Command::new("umount").arg("--lazy").arg(&self.folder).output();
    }
}

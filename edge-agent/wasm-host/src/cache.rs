//! Compiled code on disk.
//!
//! Mapping compiled code is running it, so nothing is mapped that this device did not make: each file ends with a MAC
//! under the device's key over its name and its code, checked first. Its name follows from the component, the engine,
//! its flags and the CPU.

use crate::{Error, engine};
use eyot_model::Digest;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::fd::AsRawFd;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::SystemTime;
use wasmtime::Engine;
use wasmtime::component::Component;

const MAC_BYTES: usize = 32;

pub(crate) struct Cache {
    folder: PathBuf,
    mac_key: [u8; 32],
    flags: [u8; 32],
    max_bytes: u64,
    next_temporary: AtomicU64,
}

impl Cache {
    /// Opens the cache, makes its folder if need be, and makes it private.
    pub(crate) fn open(folder: PathBuf, device_key: &[u8; 32], max_bytes: u64) -> Result<Self, Error> {
        let failed = |source| Error::Cache {
            path: folder.clone(),
            source,
        };
        fs::DirBuilder::new().recursive(true).mode(0o700).create(&folder).map_err(failed)?;
        fs::set_permissions(&folder, fs::Permissions::from_mode(0o700)).map_err(failed)?;
        let cache = Self {
            mac_key: blake3::derive_key("eyot 2026 MAC of compiled code", device_key),
            flags: engine::flags_digest(),
            folder: folder.clone(),
            max_bytes,
            next_temporary: AtomicU64::new(0),
        };
        cache.prune(true).map_err(failed)?;
        Ok(cache)
    }

    pub(crate) fn failed(&self, source: io::Error) -> Error {
        Error::Cache {
            path: self.folder.clone(),
            source,
        }
    }

    /// The compiled component, if it is here and ours. What is here and not ours is removed.
    pub(crate) fn load(&self, engine: &Engine, digest: &Digest) -> Option<Component> {
        let path = self.path(digest);
        let mut file = OpenOptions::new()
            .read(true)
            .custom_flags(rustix::fs::OFlags::NOFOLLOW.bits().cast_signed())
            .open(&path)
            .ok()?;
        match self.check(digest, &mut file).and_then(|()| map(engine, &file)) {
            Ok(component) => {
                // Only orders what is removed first when space is short.
                drop(file.set_modified(SystemTime::now()));
                Some(component)
            }
            Err(error) => {
                tracing::warn!(%digest, path = %path.display(), %error, "compiled code in the cache is not usable: compiling again");
                if let Err(error) = fs::remove_file(&path) {
                    tracing::warn!(path = %path.display(), %error, "unusable compiled code cannot be removed");
                }
                None
            }
        }
    }

    /// A path in the cache's folder for the compiler to write to.
    pub(crate) fn temporary(&self) -> PathBuf {
        let n = self.next_temporary.fetch_add(1, Ordering::Relaxed);
        self.folder.join(format!("{}-{n}.tmp", std::process::id()))
    }

    /// Takes what the compiler wrote to a temporary path into the cache.
    pub(crate) fn store(&self, digest: &Digest, temporary: &Path) -> Result<(), Error> {
        let kept = self.seal(digest, temporary).and_then(|()| fs::rename(temporary, self.path(digest)));
        if kept.is_err() {
            drop(fs::remove_file(temporary));
        }
        kept.and_then(|()| self.prune(false)).map_err(|source| self.failed(source))
    }

    fn seal(&self, digest: &Digest, temporary: &Path) -> io::Result<()> {
        let mut file = OpenOptions::new().read(true).append(true).open(temporary)?;
        file.set_permissions(fs::Permissions::from_mode(0o600))?;
        let length = file.metadata()?.len();
        let mac = self.mac(digest, &mut file, length)?;
        file.write_all(mac.as_bytes())
    }

    /// Checks that the file ends with the MAC of what it holds.
    fn check(&self, digest: &Digest, file: &mut File) -> io::Result<()> {
        let wrong = || io::Error::new(io::ErrorKind::InvalidData, "its MAC is wrong");
        let code = file.metadata()?.len().checked_sub(MAC_BYTES as u64).ok_or_else(wrong)?;
        let expected = self.mac(digest, file, code)?;
        let mut found = [0; MAC_BYTES];
        file.read_exact(&mut found)?;
        // Compares in constant time.
        if expected == blake3::Hash::from_bytes(found) {
            Ok(())
        } else {
            Err(wrong())
        }
    }

    /// The MAC over the entry's name and the next `length` bytes of the file.
    fn mac(&self, digest: &Digest, file: &mut File, length: u64) -> io::Result<blake3::Hash> {
        let mut hasher = blake3::Hasher::new_keyed(&self.mac_key);
        hasher.update(self.name(digest).as_bytes());
        let mut rest = length;
        let mut buffer = vec![0; 64 << 10];
        while rest > 0 {
            let want = buffer.len().min(usize::try_from(rest).unwrap_or(usize::MAX));
            file.read_exact(&mut buffer[..want])?;
            hasher.update(&buffer[..want]);
            rest -= want as u64;
        }
        Ok(hasher.finalize())
    }

    fn name(&self, digest: &Digest) -> String {
        let mut hasher = blake3::Hasher::new();
        hasher.update(&digest.0).update(&self.flags);
        format!("{}.code", hasher.finalize().to_hex())
    }

    fn path(&self, digest: &Digest) -> PathBuf {
        self.folder.join(self.name(digest))
    }

    /// Removes the entries longest unused until the rest has at most `keep_bytes`, but for those of `in_use`; gives the
    /// bytes that went. What is removed is compiled again when it is needed.
    pub(crate) fn trim(&self, keep_bytes: u64, in_use: &[Digest]) -> io::Result<u64> {
        let mut entries = self.entries()?;
        let kept: Vec<PathBuf> = in_use.iter().map(|digest| self.path(digest)).collect();
        entries.sort();
        let mut total: u64 = entries.iter().map(|(_, length, _)| length).sum();
        let mut freed = 0;
        for (_, length, path) in entries {
            if total <= keep_bytes {
                break;
            }
            if !kept.contains(&path) {
                fs::remove_file(&path)?;
                total -= length;
                freed += length;
            }
        }
        Ok(freed)
    }

    /// Bytes of compiled code on disk.
    pub(crate) fn bytes(&self) -> io::Result<u64> {
        Ok(self.entries()?.iter().map(|(_, length, _)| length).sum())
    }

    /// Last use, length and path of each entry.
    fn entries(&self) -> io::Result<Vec<(SystemTime, u64, PathBuf)>> {
        let mut entries = Vec::new();
        for entry in fs::read_dir(&self.folder)? {
            let entry = entry?;
            let path = entry.path();
            if path.extension().is_some_and(|e| e == "code")
                && let Ok(metadata) = entry.metadata()
            {
                entries.push((metadata.modified().unwrap_or(SystemTime::UNIX_EPOCH), metadata.len(), path));
            }
        }
        Ok(entries)
    }

    /// Removes the entries longest unused until the rest fits or one is left, and at the start what a crash left behind.
    fn prune(&self, starting: bool) -> io::Result<()> {
        if starting {
            for entry in fs::read_dir(&self.folder)? {
                let path = entry?.path();
                if path.extension().is_some_and(|e| e == "tmp") {
                    fs::remove_file(&path)?;
                }
            }
        }
        let mut entries = self.entries()?;
        entries.sort();
        let mut total: u64 = entries.iter().map(|(_, length, _)| length).sum();
        let _last = entries.pop();
        for (_, length, path) in entries {
            if total <= self.max_bytes {
                break;
            }
            fs::remove_file(&path)?;
            total -= length;
        }
        Ok(())
    }
}

/// Maps the code in a file whose MAC was checked through the same descriptor.
#[expect(
    unsafe_code,
    reason = "loading compiled code is unsafe by nature; the comment says why it is sound here"
)]
fn map(engine: &Engine, file: &File) -> io::Result<Component> {
    // The path of the descriptor, not of the file: the file that was checked is the file that is mapped, whatever
    // happens to its name.
    let path = format!("/proc/self/fd/{}", file.as_raw_fd());
    // SAFETY: the bytes were made by `Engine::precompile_component` in a child of this agent, as their MAC under the
    // device's key shows, and only processes of this very user can change the file: its folder has mode 0700, it has
    // mode 0600, and it is never written to after it got its name.
    unsafe { Component::deserialize_file(engine, path) }.map_err(|e| io::Error::new(io::ErrorKind::InvalidData, format!("{e:#}")))
}

//! Second copies of the small files that an agent cannot do without: its configuration, its keys, its certificate.
//!
//! A flipped bit in one of them would cut the device off from its control plane until somebody came by. So each has a copy
//! with a digest in `copies/`. At the start the two are compared: a file that is not what it was and cannot be right is
//! set aside and taken from its copy; one that was changed on purpose (a setting, a renewed certificate) is copied.
//!
//! A setting with a flipped bit may read well all the same (another name, another address). But whoever edits a file changes
//! the time at which it was written last, and what rots on the medium does not. So a copy has the time of its file.

use crate::chain;
use crate::config::{AgentConfig, write_durable};
use eyot_link::Identity;
use eyot_model::Digest;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

const CONFIG: &str = "agent.json";
const KEY: &str = "agent-key.pem";
const CERTIFICATE: &str = "agent.pem";
const DEVICE_KEY: &str = "device.key";
/// The certificate comes after the key that it is for.
const FILES: [&str; 4] = [CONFIG, DEVICE_KEY, KEY, CERTIFICATE];
/// Longer files are none of these, in bytes.
const LONGEST: u64 = 1 << 20;

/// Compares each file with its copy, at the start and before anything is read: takes damaged files from their copies.
pub fn settle(data: &Path) {
    for name in FILES {
        if let Err(error) = settle_one(data, name) {
            tracing::error!(
                file = %data.join(name).display(),
                error = chain(&error),
                "a file cannot be compared with its copy, or taken from it"
            );
        }
    }
}

/// Copies the files as they are now: after joining, and after a renewal.
///
/// # Errors
/// What the disk reports.
pub fn keep(data: &Path) -> io::Result<()> {
    for name in FILES {
        match read(&data.join(name)) {
            Ok(bytes) => write_copy(data, name, &bytes)?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

fn settle_one(data: &Path, name: &str) -> io::Result<()> {
    let path = data.join(name);
    let bytes = match read(&path) {
        Ok(bytes) => Some(bytes),
        // Whoever removed it meant it.
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => {
            tracing::error!(file = %path.display(), %error, "a file cannot be read");
            None
        }
    };
    let copy = read_copy(data, name);
    match (bytes, copy) {
        // Somebody may have written what was there.
        (Some(bytes), Some(copy)) if bytes == copy => align(data, name),
        (Some(bytes), Some(_)) if may_replace(data, name, &bytes) => {
            tracing::info!(file = %path.display(), "a file was changed since the last start");
            write_copy(data, name, &bytes)
        }
        (Some(_) | None, Some(copy)) => {
            restore(&path, &copy)?;
            align(data, name)
        }
        (Some(bytes), None) => write_copy(data, name, &bytes),
        (None, None) => Ok(()),
    }
}

fn restore(path: &Path, copy: &[u8]) -> io::Result<()> {
    let mut aside = path.as_os_str().to_owned();
    aside.push(".damaged");
    tracing::error!(
        file = %path.display(),
        set_aside = %Path::new(&aside).display(),
        "a file is damaged; it is taken from its copy"
    );
    fs::rename(path, &aside)?;
    write_durable(path, copy, 0o600)
}

/// Whether a file that is another than its copy can have been changed on purpose.
fn may_replace(data: &Path, name: &str, bytes: &[u8]) -> bool {
    match name {
        // Whoever edits it, edits it well, and at some time; what cannot be read is no edit.
        CONFIG => AgentConfig::parse(bytes).is_ok() && !was_written_at_once(data, name).unwrap_or(false),
        // Made once.
        DEVICE_KEY | KEY => false,
        _ => renews(data).unwrap_or(false),
    }
}

/// Whether a file was written last when its copy was made.
fn was_written_at_once(data: &Path, name: &str) -> io::Result<bool> {
    let written = |path: PathBuf| fs::metadata(path)?.modified();
    Ok(written(data.join(name))? == written(copy_path(data, name))?)
}

/// Gives the copy the time at which its file was written last.
fn align(data: &Path, name: &str) -> io::Result<()> {
    if was_written_at_once(data, name)? {
        return Ok(());
    }
    let written = fs::metadata(data.join(name))?.modified()?;
    fs::OpenOptions::new()
        .write(true)
        .open(copy_path(data, name))?
        .set_modified(written)
}

/// Whether a certificate is genuine, of the same CA as the copy's, and ends no earlier: a renewal whose copy was not made.
fn renews(data: &Path) -> Option<bool> {
    let present = Identity::load(data).ok()??;
    present.check_genuine().ok()?;
    let before = Identity::load(&data.join(FOLDER)).ok()??;
    let later = present.credential().validity.not_after >= before.credential().validity.not_after;
    Some(later && present.ca_digest() == before.ca_digest())
}

const FOLDER: &str = "copies";

fn copy_path(data: &Path, name: &str) -> PathBuf {
    data.join(FOLDER).join(name)
}

fn digest_path(data: &Path, name: &str) -> PathBuf {
    data.join(FOLDER).join(format!("{name}.digest"))
}

fn read(path: &Path) -> io::Result<Vec<u8>> {
    if fs::metadata(path)?.len() > LONGEST {
        return Err(io::ErrorKind::FileTooLarge.into());
    }
    fs::read(path)
}

/// A copy that is what it was; None where there is none or it is damaged.
fn read_copy(data: &Path, name: &str) -> Option<Vec<u8>> {
    let bytes = read(&copy_path(data, name)).ok()?;
    let digest = read(&digest_path(data, name)).ok()?;
    let right = digest == Digest::of(&bytes).to_hex().into_bytes();
    if !right {
        tracing::warn!(file = %copy_path(data, name).display(), "a copy is damaged; it is made again");
    }
    right.then_some(bytes)
}

/// A crash between the two leaves a copy that does not count and is made again.
fn write_copy(data: &Path, name: &str, bytes: &[u8]) -> io::Result<()> {
    use std::os::unix::fs::DirBuilderExt;
    fs::DirBuilder::new().recursive(true).mode(0o700).create(data.join(FOLDER))?;
    write_durable(&copy_path(data, name), bytes, 0o600)?;
    write_durable(&digest_path(data, name), Digest::of(bytes).to_hex().as_bytes(), 0o600)?;
    align(data, name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(name: &str) -> Vec<u8> {
        format!(r#"{{"name":"{name}","addresses":["127.0.0.1:1"]}}"#).into_bytes()
    }

    #[test]
    fn an_edit_is_copied_and_damage_is_undone() {
        let data = tempfile::tempdir().unwrap();
        let path = data.path().join(CONFIG);
        fs::write(&path, config("one")).unwrap();
        settle(data.path());
        fs::write(&path, config("two")).unwrap();
        settle(data.path());
        assert_eq!(read_copy(data.path(), CONFIG).unwrap(), config("two"));
        fs::write(&path, b"{\"name\":").unwrap();
        settle(data.path());
        assert_eq!(fs::read(&path).unwrap(), config("two"));
        assert!(data.path().join("agent.json.damaged").exists());
        fs::remove_file(&path).unwrap();
        settle(data.path());
        assert!(!path.exists(), "what was removed stays removed");
    }

    /// What rots on the medium leaves the time of the last write as it was.
    fn rot(path: &Path, bytes: &[u8]) {
        let written = fs::metadata(path).unwrap().modified().unwrap();
        fs::write(path, bytes).unwrap();
        fs::OpenOptions::new()
            .write(true)
            .open(path)
            .unwrap()
            .set_modified(written)
            .unwrap();
    }

    #[test]
    fn a_flipped_bit_that_reads_well_is_no_edit() {
        let data = tempfile::tempdir().unwrap();
        let path = data.path().join(CONFIG);
        fs::write(&path, config("left")).unwrap();
        settle(data.path());
        for _ in 0..2 {
            rot(&path, &config("lent"));
            settle(data.path());
            assert_eq!(fs::read(&path).unwrap(), config("left"));
        }
        fs::write(&path, config("left")).unwrap();
        settle(data.path());
        rot(&path, &config("lent"));
        settle(data.path());
        assert_eq!(fs::read(&path).unwrap(), config("left"), "it was written with what it had");
        fs::write(&path, config("lent")).unwrap();
        settle(data.path());
        assert_eq!(read_copy(data.path(), CONFIG).unwrap(), config("lent"));
    }

    #[test]
    fn a_key_is_taken_from_its_copy_and_a_damaged_copy_from_the_file() {
        let data = tempfile::tempdir().unwrap();
        let path = data.path().join(DEVICE_KEY);
        fs::write(&path, [7; 32]).unwrap();
        settle(data.path());
        let mut bytes = [7; 32];
        bytes[3] ^= 16;
        fs::write(&path, bytes).unwrap();
        settle(data.path());
        assert_eq!(fs::read(&path).unwrap(), [7; 32]);
        fs::write(copy_path(data.path(), DEVICE_KEY), bytes).unwrap();
        settle(data.path());
        assert_eq!(fs::read(&path).unwrap(), [7; 32]);
        assert_eq!(read_copy(data.path(), DEVICE_KEY).unwrap(), [7; 32]);
    }
}

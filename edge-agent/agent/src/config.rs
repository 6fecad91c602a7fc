//! What an agent is told when it joins, and keeps in its data folder.

mod disk;
mod logs;

pub use disk::{DiskConfig, DiskLimits};
pub use logs::LogConfig;

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::io::Write;
use std::path::{Path, PathBuf};

const FILE: &str = "agent.json";

#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    #[error(
        "this device has not joined a control plane: `{0}` is missing. Run `eyot agents invite` where the control plane is, and the command that it prints here; or `eyot-agent init`, for a device that works by itself"
    )]
    NotJoined(PathBuf),
    #[error("`{path}` cannot be read")]
    Read { path: PathBuf, source: std::io::Error },
    #[error("`{path}` is not what `eyot-agent join` writes: put it right, or remove it and join again")]
    Malformed { path: PathBuf, source: serde_json::Error },
    #[error("`{path}` cannot be written")]
    Write { path: PathBuf, source: std::io::Error },
}

/// The contents of `agent.json`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct AgentConfig {
    pub name: String,
    /// `host:port` of the control plane, tried in turn. None: the device works by itself.
    pub addresses: Vec<String>,
    #[serde(default)]
    pub labels: BTreeMap<String, String>,
    /// Agents of one site can reach each other without the cloud.
    #[serde(default)]
    pub site: Option<String>,
    #[serde(default)]
    pub disk: DiskConfig,
    #[serde(default)]
    pub logs: LogConfig,
}

impl AgentConfig {
    /// Where it is kept.
    #[must_use]
    pub fn path(data: &Path) -> PathBuf {
        data.join(FILE)
    }

    /// # Errors
    /// When the file is missing, unreadable or not of this form.
    pub fn load(data: &Path) -> Result<Self, ConfigError> {
        let path = Self::path(data);
        let bytes = std::fs::read(&path).map_err(|source| match source.kind() {
            std::io::ErrorKind::NotFound => ConfigError::NotJoined(path.clone()),
            _ => ConfigError::Read {
                path: path.clone(),
                source,
            },
        })?;
        Self::parse(&bytes).map_err(|source| ConfigError::Malformed { path, source })
    }

    pub(crate) fn parse(bytes: &[u8]) -> Result<Self, serde_json::Error> {
        serde_json::from_slice(bytes)
    }

    /// What an agent runs with whose file cannot be read: everything by default, and no address to dial.
    #[must_use]
    pub fn without_file(name: String) -> Self {
        Self {
            name,
            addresses: Vec::new(),
            labels: BTreeMap::new(),
            site: None,
            disk: DiskConfig::default(),
            logs: LogConfig::default(),
        }
    }

    /// Writes the file whole or not at all.
    ///
    /// # Errors
    /// As the disk fails.
    pub fn save(&self, data: &Path) -> Result<(), ConfigError> {
        let path = Self::path(data);
        let wrong = |source| ConfigError::Write {
            path: path.clone(),
            source,
        };
        let bytes = serde_json::to_vec_pretty(self).map_err(|e| wrong(e.into()))?;
        write_durable(&path, &bytes, 0o600).map_err(wrong)
    }
}

/// The device's own secret: compiled code is authenticated under it. Made at the first start, never sent anywhere.
///
/// # Errors
/// As the disk or the system's randomness fails.
pub fn device_key(data: &Path) -> Result<[u8; 32], ConfigError> {
    let path = data.join("device.key");
    if let Ok(bytes) = std::fs::read(&path)
        && let Ok(key) = <[u8; 32]>::try_from(bytes.as_slice())
    {
        return Ok(key);
    }
    let mut key = [0; 32];
    let wrong = |source| ConfigError::Write {
        path: path.clone(),
        source,
    };
    getrandom::fill(&mut key).map_err(|e| wrong(std::io::Error::other(e.to_string())))?;
    write_durable(&path, &key, 0o600).map_err(wrong)?;
    Ok(key)
}

pub(crate) fn write_durable(path: &Path, bytes: &[u8], mode: u32) -> std::io::Result<()> {
    use std::os::unix::fs::OpenOptionsExt;
    let temporary = path.with_extension("new");
    let mut file = std::fs::OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(mode)
        .open(&temporary)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    std::fs::rename(&temporary, path)?;
    match path.parent() {
        Some(folder) => std::fs::File::open(folder)?.sync_all(),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_back_and_says_what_to_do_when_it_is_missing() {
        let folder = tempfile::tempdir().unwrap();
        let missing = AgentConfig::load(folder.path()).unwrap_err().to_string();
        assert!(missing.contains("eyot agents invite"), "{missing}");
        let config = AgentConfig {
            name: "camera".into(),
            addresses: vec!["127.0.0.1:7341".into()],
            labels: BTreeMap::from([("role".into(), "camera".into())]),
            site: None,
            disk: DiskConfig::default(),
            logs: LogConfig::default(),
        };
        config.save(folder.path()).unwrap();
        assert_eq!(AgentConfig::load(folder.path()).unwrap(), config);
    }

    #[test]
    fn the_device_key_is_made_once_and_private() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        let key = device_key(folder.path()).unwrap();
        assert_eq!(device_key(folder.path()).unwrap(), key);
        let mode = std::fs::metadata(folder.path().join("device.key")).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }
}

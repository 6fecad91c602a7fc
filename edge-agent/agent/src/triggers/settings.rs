//! What the device's owner lets triggers reach: brokers by name, and folders. A workflow names a broker and never its
//! address or password; what is not listed here is not listened to.

use eyot_model::TriggerSource;
use eyot_spec::FilePattern;
use serde::Deserialize;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

const FILE: &str = "triggers.json";

/// The contents of `triggers.json` in the agent's data folder.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Settings {
    #[serde(default)]
    pub brokers: BTreeMap<String, Broker>,
    /// Files of these folders, and of those below them, may start runs.
    #[serde(default)]
    pub folders: Vec<PathBuf>,
}

#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Broker {
    pub host: String,
    #[serde(default = "mqtt_port")]
    pub port: u16,
    #[serde(default)]
    pub user: Option<String>,
    /// A file that only the agent's user may read.
    #[serde(default)]
    pub password_file: Option<PathBuf>,
}

fn mqtt_port() -> u16 {
    1883
}

#[derive(Debug, thiserror::Error)]
pub enum SettingsError {
    #[error("`{path}` cannot be read")]
    Read { path: PathBuf, source: std::io::Error },
    #[error("`{path}` is not what it should be: {source}")]
    Malformed { path: PathBuf, source: serde_json::Error },
}

impl Settings {
    /// Without the file nothing is allowed.
    ///
    /// # Errors
    /// When the file is there and cannot be used.
    pub fn load(data: &Path) -> Result<Self, SettingsError> {
        let path = data.join(FILE);
        let bytes = match std::fs::read(&path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Self::default()),
            Err(source) => return Err(SettingsError::Read { path, source }),
        };
        serde_json::from_slice(&bytes).map_err(|source| SettingsError::Malformed { path, source })
    }

    /// Why a source is not listened to, in words; None if it may be.
    #[must_use]
    pub fn unmet(&self, source: &TriggerSource) -> Option<String> {
        match source {
            TriggerSource::Schedule { .. } => None,
            TriggerSource::Mqtt { broker, .. } => {
                (!self.brokers.contains_key(broker)).then(|| format!("the device's {FILE} lists no broker `{broker}` under `brokers`"))
            }
            TriggerSource::File { pattern, .. } => {
                let pattern = match FilePattern::parse(pattern) {
                    Ok(pattern) => pattern,
                    Err(error) => return Some(error.to_string()),
                };
                let folder = Path::new(pattern.folder());
                if !folder.is_dir() {
                    Some(format!("there is no folder `{}`", folder.display()))
                } else if !self.allows(folder) {
                    Some(format!("the device's {FILE} does not list `{}` under `folders`", folder.display()))
                } else {
                    None
                }
            }
        }
    }

    /// Whether files of a folder may start runs: it lies in one that is listed, links followed.
    #[must_use]
    pub fn allows(&self, folder: &Path) -> bool {
        let Ok(folder) = folder.canonicalize() else { return false };
        let within = |allowed: &PathBuf| allowed.canonicalize().is_ok_and(|allowed| folder.starts_with(allowed));
        self.folders.iter().any(within)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_listed_folders_are_allowed_and_links_do_not_lead_out() {
        let folder = tempfile::tempdir().unwrap();
        let (inside, outside) = (folder.path().join("in"), folder.path().join("out"));
        std::fs::create_dir_all(inside.join("deep")).unwrap();
        std::fs::create_dir_all(&outside).unwrap();
        std::os::unix::fs::symlink(&outside, inside.join("link")).unwrap();
        let settings = Settings {
            folders: vec![inside.clone()],
            ..Settings::default()
        };
        for (path, allowed) in [
            (inside.clone(), true),
            (inside.join("deep"), true),
            (inside.join("link"), false),
            (inside.join("../out"), false),
            (outside, false),
            (folder.path().to_owned(), false),
            (inside.join("missing"), false),
        ] {
            assert_eq!(settings.allows(&path), allowed, "{}", path.display());
        }
    }

    #[test]
    fn what_a_trigger_misses_is_said_in_words() {
        let folder = tempfile::tempdir().unwrap();
        let inside = folder.path().join("in");
        std::fs::create_dir(&inside).unwrap();
        let mqtt = TriggerSource::Mqtt {
            broker: "line".into(),
            topic: "doors/#".into(),
        };
        let file = |folder: &Path| TriggerSource::File {
            pattern: folder.join("*.png").display().to_string(),
            settle: eyot_model::Millis(0),
        };
        let mut settings = Settings::default();
        let wrong = |settings: &Settings, source: &TriggerSource| settings.unmet(source).unwrap_or_default();
        assert!(wrong(&settings, &mqtt).contains("no broker `line`"));
        assert!(wrong(&settings, &file(&inside)).contains("under `folders`"));
        assert!(wrong(&settings, &file(&folder.path().join("missing"))).contains("there is no folder"));
        settings.folders.push(inside.clone());
        settings.brokers.insert(
            "line".into(),
            Broker {
                host: "127.0.0.1".into(),
                port: 1,
                user: None,
                password_file: None,
            },
        );
        assert_eq!(settings.unmet(&mqtt), None);
        assert_eq!(settings.unmet(&file(&inside)), None);
    }

    #[test]
    fn without_the_file_nothing_is_allowed_and_unknown_fields_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(Settings::load(folder.path()).unwrap(), Settings::default());
        std::fs::write(
            folder.path().join(FILE),
            r#"{"brokers": {"line": {"host": "127.0.0.1"}}, "folders": ["/data"]}"#,
        )
        .unwrap();
        assert_eq!(Settings::load(folder.path()).unwrap().brokers["line"].port, 1883);
        std::fs::write(folder.path().join(FILE), r#"{"folder": []}"#).unwrap();
        assert!(Settings::load(folder.path()).is_err());
    }
}

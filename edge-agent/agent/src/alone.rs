//! A device that works by itself: it has a configuration and a key, and no control plane. It may join one later, and tells it
//! then of the runs that it coordinated before.

use crate::config::{AgentConfig, ConfigError};
use crate::copies;
use eyot_link::{AgentKey, Identity};
use eyot_model::AgentId;
use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

#[derive(Debug, thiserror::Error)]
pub enum SetUpError {
    #[error("this device is set up already: `{0}` is there. `eyot-agent run` starts it; edit the file to change its name or labels")]
    Already(PathBuf),
    /// What it has done and not told would count as told to nobody, and go in time.
    #[error("this device has joined a control plane: `{0}` holds its certificate. Join again, with a token of `eyot agents invite`")]
    Joined(PathBuf),
    #[error(transparent)]
    Config(#[from] ConfigError),
    #[error("the key of this device cannot be made")]
    Key(#[source] eyot_link::Error),
    #[error("cannot copy the configuration and the key")]
    Copy(#[source] io::Error),
}

/// Sets a device up that works by itself; the caller has taken its folder. Its id is that of its key, so that it stays the same
/// when it joins a control plane, and what its triggers start has ids that no other device's have.
///
/// # Errors
/// [`SetUpError::Already`] where there is a configuration, [`SetUpError::Joined`] where there is a certificate, whatever is in
/// them; as the disk fails.
pub fn set_up(data: &Path, name: String, labels: BTreeMap<String, String>, site: Option<String>) -> Result<AgentId, SetUpError> {
    match AgentConfig::load(data) {
        Err(ConfigError::NotJoined(_)) => {}
        Ok(_) | Err(ConfigError::Malformed { .. }) => return Err(SetUpError::Already(AgentConfig::path(data))),
        Err(error) => return Err(error.into()),
    }
    if !matches!(Identity::load(data), Ok(None)) {
        return Err(SetUpError::Joined(data.to_owned()));
    }
    let key = AgentKey::open_or_create(data).map_err(SetUpError::Key)?;
    let config = AgentConfig {
        labels,
        site,
        ..AgentConfig::without_file(name)
    };
    config.save(data)?;
    copies::keep(data).map_err(SetUpError::Copy)?;
    Ok(key.agent())
}

/// The id of a device that has no certificate to say it; none where its key cannot be read either.
#[must_use]
pub fn id(data: &Path) -> Option<AgentId> {
    AgentKey::open(data).ok().flatten().map(|key| key.agent())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_keeps_its_id_and_is_set_up_once() {
        let data = tempfile::tempdir().unwrap();
        assert_eq!(id(data.path()), None);
        let labels = BTreeMap::from([("role".to_owned(), "gate".to_owned())]);
        let agent = set_up(data.path(), "gate".into(), labels.clone(), None).unwrap();
        assert_eq!(id(data.path()), Some(agent));
        let config = AgentConfig::load(data.path()).unwrap();
        assert_eq!((config.name.as_str(), config.labels, config.addresses.len()), ("gate", labels, 0));
        let again = set_up(data.path(), "other".into(), BTreeMap::new(), None).unwrap_err();
        assert!(matches!(again, SetUpError::Already(_)), "{again}");
        std::fs::write(AgentConfig::path(data.path()), "{").unwrap();
        let damaged = set_up(data.path(), "other".into(), BTreeMap::new(), None).unwrap_err();
        assert!(
            matches!(damaged, SetUpError::Already(_)),
            "what is there is not written over: {damaged}"
        );
        std::fs::remove_file(AgentConfig::path(data.path())).unwrap();
        std::fs::write(data.path().join("agent.pem"), "").unwrap();
        let joined = set_up(data.path(), "other".into(), BTreeMap::new(), None).unwrap_err();
        assert!(
            matches!(joined, SetUpError::Joined(_)),
            "a certificate, whatever is in it: {joined}"
        );
        // Joining takes the same key.
        assert_eq!(AgentKey::open_or_create(data.path()).unwrap().agent(), agent);
    }
}

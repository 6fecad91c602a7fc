//! What a component's name in a text means: the newest registered version that fits, or a file that came along.

use crate::{ComponentInfo, Components};
use eyot_model::Digest;
use eyot_model::api::WorkflowSource;
use std::collections::BTreeMap;

/// `major.minor.patch`; parts that are left out count as 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Version([u32; 3]);

impl Version {
    /// None for a text that is no version.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let (version, given) = Self::parts(text)?;
        (given > 0).then_some(version)
    }

    fn parts(text: &str) -> Option<(Self, usize)> {
        let mut parts = [0; 3];
        let mut given = 0;
        for part in text.split('.') {
            if !part.bytes().all(|b| b.is_ascii_digit()) || part.is_empty() {
                return None;
            }
            *parts.get_mut(given)? = part.parse().ok()?;
            given += 1;
        }
        Some((Self(parts), given))
    }

    /// Whether this is a version that `wanted` (`1`, `1.4`, `1.4.2`) means.
    fn is_meant_by(self, wanted: &str) -> bool {
        Self::parts(wanted).is_some_and(|(version, given)| self.0[..given] == version.0[..given])
    }
}

/// A component under its name and version.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Registered {
    pub name: String,
    pub version: String,
    pub digest: Digest,
    /// Bytes.
    pub size: u64,
    /// JSON: what the component says of itself.
    pub description: String,
}

/// The components that one text may name: registered ones, and the files that came along.
#[derive(Clone, Debug, Default)]
pub struct Registry {
    components: BTreeMap<String, Vec<Registered>>,
    files: BTreeMap<String, (Digest, u64)>,
}

impl Registry {
    /// `files`: digest and size of each file that the text may name, by its path.
    #[must_use]
    pub fn new(registered: impl IntoIterator<Item = Registered>, files: BTreeMap<String, (Digest, u64)>) -> Self {
        let mut components: BTreeMap<String, Vec<Registered>> = BTreeMap::new();
        for component in registered {
            components.entry(component.name.clone()).or_default().push(component);
        }
        Self { components, files }
    }

    /// What is known of the component with this digest, whatever its name.
    #[must_use]
    pub fn of_digest(&self, digest: &Digest) -> Option<ComponentInfo> {
        self.components.values().flatten().find(|record| record.digest == *digest).map(info)
    }

    fn registered(&self, name: &str) -> Option<&Registered> {
        let (name, version) = name.split_once('@').unwrap_or((name, ""));
        let versions = self.components.get(name)?;
        if let Ok(digest) = version.parse::<Digest>() {
            return versions.iter().find(|record| record.digest == digest);
        }
        let meant = |record: &&Registered| {
            version.is_empty() || record.version == version || Version::parse(&record.version).is_some_and(|v| v.is_meant_by(version))
        };
        versions.iter().filter(meant).max_by_key(|record| Version::parse(&record.version))
    }
}

impl Components for Registry {
    fn resolve(&self, name: &str) -> Option<ComponentInfo> {
        if let Some((digest, size)) = self.files.get(name) {
            return Some(self.of_digest(digest).unwrap_or_else(|| plain(*digest, *size)));
        }
        self.registered(name).map(info)
    }

    fn names(&self) -> Vec<String> {
        let newest = |versions: &Vec<Registered>| {
            let newest = versions.iter().max_by_key(|record| Version::parse(&record.version))?;
            let major = newest.version.split('.').next().unwrap_or(&newest.version);
            Some(format!("{}@{major}", newest.name))
        };
        self.components
            .values()
            .filter_map(newest)
            .chain(self.files.keys().cloned())
            .collect()
    }
}

/// A component that says nothing of itself.
fn plain(digest: Digest, size: u64) -> ComponentInfo {
    ComponentInfo {
        digest,
        size,
        inputs: serde_json::Value::Null,
        outputs: serde_json::Value::Null,
        idempotent: true,
        needs: Vec::new(),
    }
}

fn info(record: &Registered) -> ComponentInfo {
    let described: serde_json::Value = serde_json::from_str(&record.description).unwrap_or_default();
    // The component itself gives its schemas as texts; whoever registers it may have read them.
    let schema = |name: &str| match described.get(name) {
        Some(serde_json::Value::String(text)) => serde_json::from_str(text).unwrap_or_default(),
        Some(other) => other.clone(),
        None => serde_json::Value::Null,
    };
    let needs = described
        .get("needs")
        .and_then(|needs| needs.as_array())
        .map(Vec::as_slice)
        .unwrap_or_default();
    ComponentInfo {
        inputs: schema("inputs"),
        outputs: schema("outputs"),
        idempotent: described.get("idempotent").and_then(serde_json::Value::as_bool).unwrap_or(true),
        needs: needs.iter().filter_map(|need| need.as_str().map(str::to_owned)).collect(),
        ..plain(record.digest, record.size)
    }
}

/// The digest of a text and of the files that it names.
#[must_use]
pub fn source_digest(source: &WorkflowSource) -> Digest {
    let mut whole = Vec::with_capacity(source.text.len() + 64);
    whole.extend((source.text.len() as u64).to_le_bytes());
    whole.extend(source.text.as_bytes());
    for (path, digest) in &source.files {
        whole.extend((path.len() as u64).to_le_bytes());
        whole.extend(path.as_bytes());
        whole.extend(digest.0);
    }
    Digest::of(&whole)
}

/// The version under which a text that came with a run goes: its own, and what it means. The same text names other
/// components once newer ones are registered; so it never gets in the way of a version that is stored for itself.
#[must_use]
pub fn direct_version(source: &WorkflowSource, workflow: &eyot_model::Workflow) -> String {
    let mut whole = source_digest(source).0.to_vec();
    for task in &workflow.tasks {
        whole.extend(task.uses.digest.map_or([0; 32], |d| d.0));
    }
    let meaning = Digest::of(&whole);
    let hex: String = meaning.0[..6].iter().map(|byte| format!("{byte:02x}")).collect();
    format!("{}+{hex}", workflow.version)
}

/// Whether a component may be registered under this name: lower-case words and `-`, with `/` between them.
#[must_use]
pub fn is_component_name(name: &str) -> bool {
    let part = |part: &str| {
        !part.is_empty() && part.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-') && !part.starts_with('-')
    };
    name.len() <= 128 && name.split('/').count() <= 3 && name.split('/').all(part)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_mean_the_newest_that_fits() {
        let record = |version: &str| Registered {
            name: "eyot/image".into(),
            version: version.into(),
            digest: Digest::of(version.as_bytes()),
            size: 1,
            description: r#"{"inputs": "{\"type\":\"object\"}", "idempotent": false, "needs": ["inference"]}"#.into(),
        };
        let known = Registry::new(["1.0.0", "1.10.0", "1.9.3", "2.0.0"].map(record), BTreeMap::new());
        let version = |name: &str| known.registered(name).map(|r| r.version.as_str());
        for (name, expected) in [
            ("eyot/image@1", Some("1.10.0")),
            ("eyot/image@1.9", Some("1.9.3")),
            ("eyot/image@1.9.3", Some("1.9.3")),
            ("eyot/image", Some("2.0.0")),
            ("eyot/image@3", None),
            ("eyot/image@1.", None),
            ("eyot/other@1", None),
        ] {
            assert_eq!(version(name), expected, "{name}");
        }
        let by_digest = format!("eyot/image@{}", Digest::of(b"1.0.0"));
        assert_eq!(version(&by_digest), Some("1.0.0"));
        let info = known.resolve("eyot/image@1").unwrap();
        assert_eq!(info.inputs, serde_json::json!({"type": "object"}));
        assert_eq!((info.idempotent, info.needs), (false, vec!["inference".to_owned()]));
        assert_eq!(known.names(), ["eyot/image@2"]);
    }
}

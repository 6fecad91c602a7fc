//! From what a client names to a workflow that can run: texts are read and checked against the registry of components,
//! and every component's digest is fixed.

use crate::api::Error;
use crate::clock;
use crate::store::{ComponentRecord, Store, WorkflowRecord};
use eyot_model::api::{Diagnostic, WorkflowChoice, WorkflowSource};
use eyot_model::{Digest, Inputs, Workflow};
use eyot_spec::{ComponentInfo, Components, Parsed};
use std::collections::BTreeMap;
use std::sync::Arc;

/// Longest workflow text, in bytes.
const TEXT_LIMIT: usize = 4 << 20;
const DEFAULT_NAMESPACE: &str = "default";

/// `major.minor.patch`; parts that are left out count as 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Version([u32; 3]);

impl Version {
    pub(crate) fn parse(text: &str) -> Option<Self> {
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

/// The components that one text may name: the registry's, and the files that came along.
struct Known {
    components: BTreeMap<String, Vec<ComponentRecord>>,
    files: BTreeMap<String, (Digest, u64)>,
}

impl Known {
    async fn load(store: &Store, blobs: &eyot_blob::Store, files: &BTreeMap<String, Digest>) -> Result<Self, Error> {
        let mut components: BTreeMap<String, Vec<ComponentRecord>> = BTreeMap::new();
        for record in store.components(None).await? {
            components.entry(record.name.clone()).or_default().push(record);
        }
        let mut known = BTreeMap::new();
        for (path, digest) in files {
            let size = blobs.size(digest).ok_or_else(|| {
                Error::invalid(
                    "component.not-uploaded",
                    format!("the component of file `{path}` ({digest}) was not uploaded"),
                    Vec::new(),
                )
            })?;
            known.insert(path.clone(), (*digest, size));
        }
        Ok(Self { components, files: known })
    }

    fn registered(&self, name: &str) -> Option<&ComponentRecord> {
        let (name, version) = name.split_once('@').unwrap_or((name, ""));
        let versions = self.components.get(name)?;
        if let Ok(digest) = version.parse::<Digest>() {
            return versions.iter().find(|record| record.digest == digest);
        }
        let meant = |record: &&ComponentRecord| {
            version.is_empty() || record.version == version || Version::parse(&record.version).is_some_and(|v| v.is_meant_by(version))
        };
        versions.iter().filter(meant).max_by_key(|record| Version::parse(&record.version))
    }
}

impl Components for Known {
    fn resolve(&self, name: &str) -> Option<ComponentInfo> {
        if let Some((digest, size)) = self.files.get(name) {
            let described = self.components.values().flatten().find(|record| record.digest == *digest);
            return Some(described.map_or_else(|| plain(*digest, *size), info));
        }
        self.registered(name).map(info)
    }

    fn names(&self) -> Vec<String> {
        let newest = |versions: &Vec<ComponentRecord>| {
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

fn info(record: &ComponentRecord) -> ComponentInfo {
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

/// Reads a text against the registry. The inner result is what the text's author has to know.
pub(crate) async fn read(
    store: &Store,
    blobs: &eyot_blob::Store,
    source: &WorkflowSource,
) -> Result<Result<Parsed, Vec<Diagnostic>>, Error> {
    if source.text.len() > TEXT_LIMIT {
        return Err(Error::invalid(
            "workflow.too-long",
            format!("a workflow text has at most {TEXT_LIMIT} bytes"),
            Vec::new(),
        ));
    }
    let known = Known::load(store, blobs, &source.files).await?;
    let text = source.text.clone();
    crate::api::blocking(move || eyot_spec::parse(&text, &known)).await
}

/// What a run request means: the workflow, and what of it has to be stored.
pub(crate) struct Chosen {
    pub(crate) workflow: Arc<Workflow>,
    /// A text that came with the request and is not stored yet.
    pub(crate) to_store: Option<WorkflowRecord>,
}

/// Finds or reads the workflow that a request names.
pub(crate) async fn choose(store: &Store, blobs: &eyot_blob::Store, choice: &WorkflowChoice) -> Result<Chosen, Error> {
    match choice {
        WorkflowChoice::Ref(name) => {
            let record = find(store, name).await?;
            Ok(Chosen {
                workflow: record.workflow,
                to_store: None,
            })
        }
        WorkflowChoice::Source(source) => {
            let parsed = read(store, blobs, source).await?.map_err(invalid)?;
            let record = direct(source, parsed.workflow);
            Ok(Chosen {
                workflow: Arc::clone(&record.workflow),
                to_store: Some(record),
            })
        }
    }
}

/// A text that came with a run: stored under its version and what it means, so that it never gets in the way of a
/// version that is stored for itself.
fn direct(source: &WorkflowSource, mut workflow: Workflow) -> WorkflowRecord {
    let text = digest(source);
    let mut hasher = blake3::Hasher::new();
    hasher.update(&text.0);
    // The same text names other components once newer ones are registered.
    for task in &workflow.tasks {
        hasher.update(&task.uses.digest.map_or([0; 32], |d| d.0));
    }
    let meaning = hasher.finalize().to_hex();
    workflow.version = format!("{}+{}", workflow.version, &meaning[..12]);
    record(source, workflow, true)
}

/// A text that is stored for itself.
pub(crate) fn record(source: &WorkflowSource, workflow: Workflow, direct: bool) -> WorkflowRecord {
    WorkflowRecord {
        workflow: Arc::new(workflow),
        digest: digest(source),
        text: source.text.clone(),
        stored_at: clock::now(),
        direct,
    }
}

fn digest(source: &WorkflowSource) -> Digest {
    let mut hasher = blake3::Hasher::new();
    hasher.update(&(source.text.len() as u64).to_le_bytes());
    hasher.update(source.text.as_bytes());
    for (path, digest) in &source.files {
        hasher.update(&(path.len() as u64).to_le_bytes());
        hasher.update(path.as_bytes());
        hasher.update(&digest.0);
    }
    Digest(*hasher.finalize().as_bytes())
}

/// `name`, `name@version`, or either with `namespace/` before it.
async fn find(store: &Store, name: &str) -> Result<WorkflowRecord, Error> {
    let (path, version) = match name.split_once('@') {
        Some((path, version)) => (path, Some(version)),
        None => (name, None),
    };
    let (namespace, workflow) = path.rsplit_once('/').unwrap_or((DEFAULT_NAMESPACE, path));
    let found = match version {
        Some(version) => store.workflow(namespace, workflow, version).await?,
        None => store.newest_workflow(namespace, workflow).await?,
    };
    found.ok_or_else(|| {
        let shown: String = name.chars().take(120).collect();
        Error::not_found("workflow.not-found", format!("there is no workflow `{shown}`"))
    })
}

/// A problem with everything that is wrong in the text.
pub(crate) fn invalid(diagnostics: Vec<Diagnostic>) -> Error {
    let message = match diagnostics.as_slice() {
        [] => "the workflow is not valid".to_owned(),
        [one] => format!("line {}, column {}: {}", one.line, one.column, one.message),
        [first, rest @ ..] => format!(
            "line {}, column {}: {}; and {} more",
            first.line,
            first.column,
            first.message,
            rest.len()
        ),
    };
    Error::invalid("workflow.invalid", message, diagnostics)
}

/// The inputs of a run, held against the workflow's declarations, with defaults filled in.
pub(crate) fn inputs(workflow: &Workflow, given: Inputs) -> Result<Inputs, Error> {
    eyot_spec::check_inputs(workflow, given).map_err(|problems| {
        let message = problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ");
        Error::invalid("run.inputs-invalid", message, Vec::new())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_mean_the_newest_that_fits() {
        let record = |version: &str| ComponentRecord {
            name: "eyot/image".into(),
            version: version.into(),
            digest: Digest::of(version.as_bytes()),
            size: 1,
            description: r#"{"inputs": "{\"type\":\"object\"}", "idempotent": false, "needs": ["inference"]}"#.into(),
            pushed_at: clock::now(),
        };
        let versions = ["1.0.0", "1.10.0", "1.9.3", "2.0.0"].map(record);
        let known = Known {
            components: BTreeMap::from([("eyot/image".into(), versions.to_vec())]),
            files: BTreeMap::new(),
        };
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

//! From what a client names to a workflow that can run: texts are read and checked against the registry of components,
//! and every component's digest is fixed.

use crate::api::Error;
use crate::clock;
use crate::store::{Store, WorkflowRecord};
use eyot_model::api::{Diagnostic, WorkflowChoice, WorkflowSource};
use eyot_model::{Digest, Inputs, Workflow};
use eyot_spec::{Parsed, Registered, Registry};
use std::collections::BTreeMap;
use std::sync::Arc;

/// Longest workflow text, in bytes.
const TEXT_LIMIT: usize = 4 << 20;
const DEFAULT_NAMESPACE: &str = "default";

/// The components that one text may name: the registry's, and the files that came along.
pub(crate) async fn known(store: &Store, blobs: &eyot_blob::Store, files: &BTreeMap<String, Digest>) -> Result<Registry, Error> {
    let registered = store.components(None).await?.into_iter().map(|record| Registered {
        name: record.name,
        version: record.version,
        digest: record.digest,
        size: record.size,
        description: record.description,
    });
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
    Ok(Registry::new(registered, known))
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
    let known = known(store, blobs, &source.files).await?;
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
        WorkflowChoice::Ref(name) => Ok(Chosen {
            workflow: find(store, name).await?,
            to_store: None,
        }),
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
    workflow.version = eyot_spec::direct_version(source, &workflow);
    record(source, workflow, true)
}

/// A text that is stored for itself.
pub(crate) fn record(source: &WorkflowSource, workflow: Workflow, direct: bool) -> WorkflowRecord {
    WorkflowRecord {
        workflow: Arc::new(workflow),
        digest: eyot_spec::source_digest(source),
        text: source.text.clone(),
        stored_at: clock::now(),
        direct,
    }
}

/// The workflow of this name, with the text that it came from.
pub(crate) async fn stored(store: &Store, name: &str) -> Result<WorkflowRecord, Error> {
    let (namespace, workflow, version) = parts(name);
    let found = match version {
        Some(version) => store.workflow(namespace, workflow, version).await?,
        None => store.newest_workflow(namespace, workflow).await?,
    };
    found.ok_or_else(|| unknown(name))
}

async fn find(store: &Store, name: &str) -> Result<Arc<Workflow>, Error> {
    let (namespace, workflow, version) = parts(name);
    store.spec(namespace, workflow, version).await?.ok_or_else(|| unknown(name))
}

/// Namespace, name and version of `name`, `name@version`, or either with `namespace/` before it.
fn parts(name: &str) -> (&str, &str, Option<&str>) {
    let (path, version) = match name.split_once('@') {
        Some((path, version)) => (path, Some(version)),
        None => (name, None),
    };
    let (namespace, workflow) = path.rsplit_once('/').unwrap_or((DEFAULT_NAMESPACE, path));
    (namespace, workflow, version)
}

fn unknown(name: &str) -> Error {
    let shown: String = name.chars().take(120).collect();
    Error::not_found("workflow.not-found", format!("there is no workflow `{shown}`"))
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

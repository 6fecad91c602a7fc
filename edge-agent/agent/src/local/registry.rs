//! The components and workflows that this agent knows by itself.

use super::problem::Error;
use super::{App, Body, Params, blocking, durable, runs};
use crate::triggers::Settings;
use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use eyot_model::api::{ComponentView, Diagnostic, Page, Validation, WorkflowChoice, WorkflowSource, WorkflowView};
use eyot_model::{Digest, Timestamp, Workflow};
use eyot_node::{OwnComponent, OwnWorkflow};
use eyot_spec::{Parsed, Registered, Registry};
use serde::Deserialize;
use std::collections::BTreeMap;
use std::sync::Arc;

/// Longest workflow text, in bytes.
const TEXT_LIMIT: usize = 4 << 20;
/// Longest description of a component, in bytes.
const DESCRIPTION_LIMIT: usize = 256 << 10;
/// What every WebAssembly binary begins with.
const MAGIC: &[u8; 4] = b"\0asm";

/// Reads a text against the components of this agent. The inner result is what the text's author has to know.
async fn read(app: &App, source: &WorkflowSource) -> Result<Result<Parsed, Vec<Diagnostic>>, Error> {
    if source.text.len() > TEXT_LIMIT {
        return Err(Error::invalid(
            "workflow.too-long",
            format!("a workflow text has at most {TEXT_LIMIT} bytes"),
            Vec::new(),
        ));
    }
    let mut files = BTreeMap::new();
    for (path, digest) in &source.files {
        let size = app.runtime.blobs.size(digest).ok_or_else(|| {
            Error::invalid(
                "component.not-uploaded",
                format!("the component of file `{path}` ({digest}) was not uploaded"),
                Vec::new(),
            )
        })?;
        files.insert(path.clone(), (*digest, size));
    }
    let components: Vec<Registered> = app.runtime.look(|node| node.components().map(Registered::from).collect());
    let (known, text) = (Registry::new(components, files), source.text.clone());
    let mut read = blocking(move || eyot_spec::parse(&text, &known)).await?;
    if let Ok(parsed) = &mut read {
        parsed.workflow.namespace = app.namespace(&parsed.workflow.namespace);
    }
    Ok(read)
}

/// The workflow that a request names: a stored one, or a text.
pub(super) async fn choose(app: &App, choice: &WorkflowChoice) -> Result<Arc<Workflow>, Error> {
    match choice {
        WorkflowChoice::Ref(name) => {
            let (path, version) = match name.split_once('@') {
                Some((path, version)) => (path, Some(version)),
                None => (name.as_str(), None),
            };
            let (namespace, workflow) = path.rsplit_once('/').unwrap_or(("", path));
            let own = find(app, namespace, workflow, version)?;
            Ok(own.workflow)
        }
        WorkflowChoice::Source(source) => {
            let mut workflow = read(app, source).await?.map_err(invalid)?.workflow;
            workflow.version = eyot_spec::direct_version(source, &workflow);
            Ok(Arc::new(workflow))
        }
    }
}

fn find(app: &App, namespace: &str, name: &str, version: Option<&str>) -> Result<OwnWorkflow, Error> {
    let namespace = app.namespace(namespace);
    let found = app.runtime.look(|node| node.workflow(&namespace, name).cloned());
    found
        .filter(|own| version.is_none_or(|version| own.workflow.version == version))
        .ok_or_else(|| {
            let shown: String = format!("{namespace}/{name}").chars().take(120).collect();
            Error::not_found("workflow.not-found", format!("there is no such workflow on this agent: `{shown}`"))
        })
}

/// A problem with everything that is wrong in the text.
fn invalid(diagnostics: Vec<Diagnostic>) -> Error {
    let message = match diagnostics.first() {
        None => "the workflow is not valid".to_owned(),
        Some(first) => format!("line {}, column {}: {}", first.line, first.column, first.message),
    };
    Error::invalid("workflow.invalid", message, diagnostics)
}

fn view(own: &OwnWorkflow, with_text: bool) -> WorkflowView {
    let workflow = &own.workflow;
    WorkflowView {
        namespace: workflow.namespace.clone(),
        name: workflow.name.clone(),
        version: workflow.version.clone(),
        digest: own.digest,
        tasks: u32::try_from(workflow.tasks.len()).unwrap_or(u32::MAX),
        stored_at: own.stored_at,
        text: with_text.then(|| own.text.clone()),
        warnings: Vec::new(),
    }
}

/// The workflows that this agent owns, and whose triggers fire here.
pub(super) async fn workflows(State(app): State<App>) -> Json<Page<WorkflowView>> {
    let synced = app.runtime.synced();
    let items = app.runtime.look(|node| {
        let durable = node.workflows().filter(|own| node.owns_for_good(own, synced));
        durable.map(|own| view(own, false)).collect()
    });
    Json(Page { items, next: None })
}

/// Owns a workflow from now on, in place of the version that was there. Its triggers begin to fire.
pub(super) async fn store(State(app): State<App>, Body(source): Body<WorkflowSource>) -> Result<Json<WorkflowView>, Error> {
    let workflow = read(&app, &source).await?.map_err(invalid)?.workflow;
    app.runtime.look(eyot_node::Node::has_room).map_err(runs::refused)?;
    // A workflow whose triggers fire here has to run here.
    app.runtime.look(|node| node.check_needs(&workflow, None)).map_err(runs::refused)?;
    let digest = eyot_spec::source_digest(&source);
    let known = app.runtime.look(|node| node.workflow(&workflow.namespace, &workflow.name).cloned());
    if let Some(known) = known
        && known.workflow.version == workflow.version
        && known.digest != digest
    {
        return Err(Error::conflict(
            "workflow.version-exists",
            format!(
                "{}/{}@{} is stored with another text; give the new one a new version",
                workflow.namespace, workflow.name, workflow.version
            ),
        ));
    }
    let workflow = Arc::new(workflow);
    let mut own = OwnWorkflow {
        workflow: Arc::clone(&workflow),
        text: source.text,
        digest,
        stored_at: Timestamp::default(),
        revision: None,
    };
    let mut position = None;
    let mut stored = None;
    app.runtime.turn(|node, now| {
        own.stored_at = now;
        let shown = view(&own, false);
        stored = Some(node.has_room().map(|()| {
            node.put_workflow(own);
            shown
        }));
        position = Some(node.position());
    });
    let mut shown = stored
        .ok_or_else(|| Error::unavailable("the agent is stopping"))?
        .map_err(runs::refused)?;
    durable(&app, position.unwrap_or_default()).await?;
    app.runtime.workflows_changed();
    let data = app.runtime.data.clone();
    shown.warnings = blocking(move || unmet(&workflow, &data)).await?;
    Ok(Json(shown))
}

/// The triggers that cannot fire as the device is set up. The workflow is stored all the same: what is missing may come.
fn unmet(workflow: &Workflow, data: &std::path::Path) -> Vec<String> {
    let settings = match Settings::load(data) {
        Ok(settings) => settings,
        Err(error) => return vec![crate::chain(&error)],
    };
    let wrong = workflow.triggers.iter().filter_map(|trigger| {
        let why = settings.unmet(&trigger.source)?;
        Some(format!("trigger `{}` cannot fire: {why}", trigger.name))
    });
    wrong.collect()
}

pub(super) async fn validate(State(app): State<App>, Body(source): Body<WorkflowSource>) -> Result<Json<Validation>, Error> {
    let (valid, diagnostics) = match read(&app, &source).await? {
        Ok(parsed) => (true, parsed.warnings),
        Err(diagnostics) => (false, diagnostics),
    };
    Ok(Json(Validation { valid, diagnostics }))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Which {
    version: Option<String>,
}

pub(super) async fn show(
    State(app): State<App>,
    Path((namespace, name)): Path<(String, String)>,
    Params(which): Params<Which>,
) -> Result<Json<WorkflowView>, Error> {
    let own = find(&app, &namespace, &name, which.version.as_deref())?;
    let synced = app.runtime.synced();
    if app.runtime.look(|node| node.owns_for_good(&own, synced)) {
        Ok(Json(view(&own, true)))
    } else {
        Err(Error::unavailable("it is not on the disk yet; try again"))
    }
}

/// Owns a workflow no more: its triggers fire no more. Its runs go on.
pub(super) async fn remove(State(app): State<App>, Path((namespace, name)): Path<(String, String)>) -> Result<StatusCode, Error> {
    let own = find(&app, &namespace, &name, None)?;
    if own.revision.is_some() {
        return Err(Error::conflict(
            "workflow.deployed",
            format!("`{name}` was deployed by the control plane; `eyot workflow undeploy` there ends that"),
        ));
    }
    let mut position = None;
    app.runtime.turn(|node, _| {
        node.remove_workflow(&own.workflow.namespace, &own.workflow.name);
        position = Some(node.position());
    });
    durable(&app, position.unwrap_or_default()).await?;
    app.runtime.workflows_changed();
    Ok(StatusCode::NO_CONTENT)
}

/// An uploaded component, the name it is to go by, and what it says of itself.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct ComponentSpec {
    name: String,
    version: String,
    digest: Digest,
    #[serde(default)]
    description: serde_json::Value,
}

fn component_view(component: &OwnComponent) -> ComponentView {
    ComponentView {
        name: component.name.clone(),
        version: component.version.clone(),
        digest: component.digest,
        size: component.size,
        pushed_at: component.pushed_at,
    }
}

pub(super) async fn components(State(app): State<App>) -> Json<Page<ComponentView>> {
    let synced = app.runtime.synced();
    let items = app.runtime.look(|node| {
        let durable = node.components().filter(|component| node.has_component_for_good(component, synced));
        durable.map(component_view).collect()
    });
    Json(Page { items, next: None })
}

/// Gives an uploaded component its name and version on this agent. A version never changes its digest.
pub(super) async fn register(State(app): State<App>, Body(spec): Body<ComponentSpec>) -> Result<Json<ComponentView>, Error> {
    let wrong = |message: String| Error::invalid("component.invalid", message, Vec::new());
    if !eyot_spec::is_component_name(&spec.name) {
        return Err(wrong(format!(
            "`{}` is not a component's name: lower-case words and `-`, with `/` between them",
            spec.name.chars().take(80).collect::<String>()
        )));
    }
    if eyot_spec::Version::parse(&spec.version).is_none() {
        return Err(wrong("the version is not `major.minor.patch`".to_owned()));
    }
    let description = spec.description.to_string();
    if description.len() > DESCRIPTION_LIMIT {
        return Err(wrong(format!("the description is longer than {DESCRIPTION_LIMIT} bytes")));
    }
    let (blobs, digest) = (Arc::clone(&app.runtime.blobs), spec.digest);
    let size = blocking(move || {
        let blob = blobs.open_blob(&digest).ok()?;
        let mut head = [0; 8];
        let read = blob.read_at(0, &mut head).unwrap_or(0);
        (read == head.len() && head.starts_with(MAGIC)).then(|| blob.size())
    })
    .await?
    .ok_or_else(|| wrong(format!("blob {digest} was not uploaded, or is not WebAssembly")))?;
    let mut component = OwnComponent {
        name: spec.name,
        version: spec.version,
        digest,
        size,
        description,
        pushed_at: Timestamp::default(),
    };
    let mut position = None;
    let mut conflict = false;
    let mut room = Ok(());
    let shown = component.clone();
    app.runtime.turn(|node, now| {
        let same = |known: &&OwnComponent| known.name == component.name && known.version == component.version;
        conflict = node.components().find(same).is_some_and(|known| known.digest != component.digest);
        room = node.has_room();
        if !conflict && room.is_ok() {
            component.pushed_at = now;
            node.put_component(component);
            position = Some(node.position());
        }
    });
    room.map_err(runs::refused)?;
    if conflict {
        return Err(Error::conflict(
            "component.version-exists",
            format!(
                "{}@{} exists with another digest; give the new one a new version",
                shown.name, shown.version
            ),
        ));
    }
    durable(&app, position.unwrap_or_default()).await?;
    let found = app.runtime.look(|node| {
        let same = |known: &&OwnComponent| known.name == shown.name && known.version == shown.version;
        node.components().find(same).map(component_view)
    });
    found.map(Json).ok_or_else(|| Error::unavailable("the agent is stopping"))
}

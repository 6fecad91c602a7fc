//! Workflows: store, look, validate, plan.

use super::body::{Body, Params};
use super::{App, Error, blocking, page};
use crate::registry;
use crate::store::{self, Change, Guard, WorkflowRecord};
use axum::Json;
use axum::extract::{Path, State};
use eyot_model::api::{Page, PlanView, Problem, RunRequest, Unplaceable, Validation, WorkflowSource, WorkflowView};
use eyot_model::{AgentId, RunId};
use serde::Deserialize;
use std::collections::BTreeMap;
use utoipa::IntoParams;

fn view(record: WorkflowRecord, with_text: bool) -> WorkflowView {
    let workflow = &record.workflow;
    WorkflowView {
        namespace: workflow.namespace.clone(),
        name: workflow.name.clone(),
        version: workflow.version.clone(),
        digest: record.digest,
        tasks: u32::try_from(workflow.tasks.len()).unwrap_or(u32::MAX),
        stored_at: record.stored_at,
        text: with_text.then_some(record.text),
        warnings: Vec::new(),
    }
}

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
pub(super) struct Paging {
    /// Most versions on the page; 100 where it is not given.
    limit: Option<u32>,
    /// `next` of the page before.
    after: Option<u32>,
}

/// Stored workflow versions, by namespace and name, newest first.
#[utoipa::path(get, path = "/v1/workflows", tag = "workflows", params(Paging), responses((status = 200, body = Page<WorkflowView>)))]
pub(super) async fn list(State(app): State<App>, Params(paging): Params<Paging>) -> Result<Json<Page<WorkflowView>>, Error> {
    let (limit, skip) = (page(paging.limit), paging.after.unwrap_or(0));
    let mut records = app.store.workflows(skip, limit + 1).await?;
    let more = records.len() > limit as usize;
    records.truncate(limit as usize);
    let next = more.then(|| skip.saturating_add(limit).to_string());
    Ok(Json(Page {
        items: records.into_iter().map(|record| view(record, false)).collect(),
        next,
    }))
}

/// Stores a version of a workflow. A version never changes: another text needs another version.
#[utoipa::path(post, path = "/v1/workflows", tag = "workflows", request_body = WorkflowSource,
    responses((status = 200, body = WorkflowView), (status = 409, body = Problem), (status = 422, body = Problem)))]
pub(super) async fn store(State(app): State<App>, Body(source): Body<WorkflowSource>) -> Result<Json<WorkflowView>, Error> {
    let parsed = registry::read(&app.store, &app.blobs, &source).await?.map_err(registry::invalid)?;
    let record = registry::record(&source, parsed.workflow, false);
    let workflow = &record.workflow;
    let (namespace, name, version) = (workflow.namespace.clone(), workflow.name.clone(), workflow.version.clone());
    let guard = Guard::WorkflowUnchanged {
        namespace: namespace.clone(),
        name: name.clone(),
        version: version.clone(),
        digest: record.digest,
    };
    match app.store.commit(vec![guard], vec![Change::PutWorkflow(Box::new(record))]).await {
        Ok(()) => {}
        Err(store::Error::Guard(_)) => {
            return Err(Error::conflict(
                "workflow.version-exists",
                format!("{namespace}/{name}@{version} is stored with another text; give the new one a new version"),
            ));
        }
        Err(error) => return Err(error.into()),
    }
    let stored = app.store.workflow(&namespace, &name, &version).await?;
    stored
        .map(|record| Json(view(record, false)))
        .ok_or_else(|| not_found(&namespace, &name))
}

/// Checks a workflow against the registry of components and stores nothing.
#[utoipa::path(post, path = "/v1/workflows/validate", tag = "workflows", request_body = WorkflowSource, responses((status = 200, body = Validation)))]
pub(super) async fn validate(State(app): State<App>, Body(source): Body<WorkflowSource>) -> Result<Json<Validation>, Error> {
    let (valid, diagnostics) = match registry::read(&app.store, &app.blobs, &source).await? {
        Ok(parsed) => (true, parsed.warnings),
        Err(diagnostics) => (false, diagnostics),
    };
    Ok(Json(Validation { valid, diagnostics }))
}

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
pub(super) struct Which {
    /// The version that was stored last where it is not given.
    version: Option<String>,
}

/// One workflow version with its text.
#[utoipa::path(get, path = "/v1/workflows/{namespace}/{name}", tag = "workflows", params(("namespace" = String, Path), ("name" = String, Path), Which),
    responses((status = 200, body = WorkflowView), (status = 404, body = Problem)))]
pub(super) async fn show(
    State(app): State<App>,
    Path((namespace, name)): Path<(String, String)>,
    Params(which): Params<Which>,
) -> Result<Json<WorkflowView>, Error> {
    let found = match &which.version {
        Some(version) => app.store.workflow(&namespace, &name, version).await?,
        None => app.store.newest_workflow(&namespace, &name).await?,
    };
    found
        .map(|record| Json(view(record, true)))
        .ok_or_else(|| not_found(&namespace, &name))
}

fn not_found(namespace: &str, name: &str) -> Error {
    let shown: String = format!("{namespace}/{name}").chars().take(120).collect();
    Error::not_found("workflow.not-found", format!("there is no such version of workflow `{shown}`"))
}

/// What would run where, if this were submitted now. Nothing is stored.
#[utoipa::path(post, path = "/v1/plan", tag = "workflows", request_body = RunRequest,
    responses((status = 200, body = PlanView), (status = 404, body = Problem), (status = 422, body = Problem)))]
pub(super) async fn plan(State(app): State<App>, Body(request): Body<RunRequest>) -> Result<Json<PlanView>, Error> {
    let chosen = registry::choose(&app.store, &app.blobs, &request.workflow).await?;
    let inputs = registry::inputs(&chosen.workflow, request.inputs)?;
    let fleet = app.fleet.snapshot();
    let agents: BTreeMap<AgentId, String> = fleet.iter().map(|agent| (agent.profile.id, agent.profile.name.clone())).collect();
    let (planning, workflow) = (std::sync::Arc::clone(&app.planning), std::sync::Arc::clone(&chosen.workflow));
    // The same question gets the same answer.
    let outcome = blocking(move || planning.plan(RunId(0), &workflow, &inputs, &fleet)).await?;
    let (plan, unplaceable) = match outcome {
        Ok(plan) => (plan, Vec::new()),
        Err(unplaced) if !unplaced.unplaceable.is_empty() => {
            let tasks = unplaced
                .unplaceable
                .into_iter()
                .map(|(task, refusals)| Unplaceable { task, refusals });
            (eyot_model::Plan::default(), tasks.collect())
        }
        Err(unplaced) if unplaced.waits => return Err(Error::conflict("plan.no-agents", unplaced.why)),
        Err(unplaced) => return Err(Error::invalid("plan.impossible", unplaced.why, Vec::new())),
    };
    let workflow = &chosen.workflow;
    Ok(Json(PlanView {
        workflow: workflow.name.clone(),
        version: workflow.version.clone(),
        tasks: workflow.tasks.iter().map(|task| task.name.clone()).collect(),
        agents,
        plan,
        unplaceable,
    }))
}

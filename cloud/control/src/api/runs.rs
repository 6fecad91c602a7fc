//! Runs: start, look, cancel.

use super::body::{Body, Params};
use super::gate::Caller;
use super::{App, Error, blocking, page, views};
use crate::clock;
use crate::conductor::{Begun, Input, Submit};
use crate::registry;
use crate::store::{Change, RunFilter, RunRecord};
use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use eyot_coordinator::{Submission, Unresolvable};
use eyot_model::api::{BadResolution, LogLine, Page, Problem, ResolveRequest, RunDetail, RunRequest, RunView};
use eyot_model::{Digest, Outputs, Resolution, RunId, RunState, TaskIx, Workflow};
use serde::Deserialize;
use std::collections::BTreeMap;
use std::sync::Arc;
use utoipa::IntoParams;

/// Longest idempotency key, in bytes.
const KEY_LIMIT: usize = 256;

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
pub(super) struct Filter {
    /// `pending`, `running`, `cancelling`, `succeeded`, `failed` or `cancelled`
    state: Option<String>,
    /// Most runs on the page; 100 where it is not given.
    limit: Option<u32>,
    /// `next` of the page before.
    after: Option<String>,
}

/// Runs, newest first.
#[utoipa::path(get, path = "/v1/runs", tag = "runs", params(Filter), responses((status = 200, body = Page<RunView>), (status = 400, body = Problem)))]
pub(super) async fn list(State(app): State<App>, Params(filter): Params<Filter>) -> Result<Json<Page<RunView>>, Error> {
    let limit = page(filter.limit);
    let filter = RunFilter {
        state: filter.state.as_deref().map(parse_state).transpose()?,
        after: filter.after.as_deref().map(parse).transpose()?,
        limit: limit + 1,
    };
    let mut records = app.store.runs(&filter).await?;
    let more = records.len() > limit as usize;
    records.truncate(limit as usize);
    let next = records.last().filter(|_| more).map(|record| record.id.to_string());
    let items = records.iter().map(|record| views::run(record, &app.board, &app.fleet)).collect();
    Ok(Json(Page { items, next }))
}

/// Starts a run. The answer comes once the run is stored.
#[utoipa::path(post, path = "/v1/runs", tag = "runs", request_body = RunRequest,
    responses((status = 201, body = RunView), (status = 200, body = RunView, description = "The key was used before: that run"),
        (status = 404, body = Problem), (status = 409, body = Problem), (status = 422, body = Problem)))]
pub(super) async fn start(State(app): State<App>, Body(request): Body<RunRequest>) -> Result<(StatusCode, Json<RunView>), Error> {
    let key = request.idempotency_key.as_deref();
    if key.is_some_and(|key| key.is_empty() || key.len() > KEY_LIMIT) {
        return Err(Error::bad_request(
            "run.bad-key",
            format!("an idempotency key has 1 to {KEY_LIMIT} bytes"),
        ));
    }
    let key = key.map(|key| blake3::derive_key("eyot 2026 run idempotency key", key.as_bytes()));
    let fingerprint = fingerprint(&request);
    if let Some(key) = &key
        && let Some((run, first)) = app.store.run_of_key(key).await?
    {
        return known(&app, run, first == fingerprint).await;
    }
    let chosen = registry::choose(&app.store, &app.blobs, &request.workflow).await?;
    let inputs = registry::inputs(&chosen.workflow, request.inputs)?;
    let at = clock::now();
    let run = clock::run_id(at).map_err(|error| Error::internal(&error))?;
    let mut changes = Vec::new();
    if let Some(record) = chosen.to_store {
        changes.push(Change::PutWorkflow(Box::new(record)));
    }
    let mut after = Vec::new();
    if let Some(key) = key {
        after.push(Change::RememberKey {
            key,
            run,
            request: fingerprint,
            at,
        });
    }
    changes.extend(after);
    let submission = Submission {
        run,
        workflow: chosen.workflow,
        inputs: Arc::new(inputs),
        created_at: at,
    };
    let begun = app
        .conductor
        .ask(|answer| {
            Input::Submit(Box::new(Submit {
                submission,
                changes,
                key,
                answer,
            }))
        })
        .await?;
    match begun {
        Ok(Begun::New(record)) => Ok((StatusCode::CREATED, Json(views::run(&record, &app.board, &app.fleet)))),
        Ok(Begun::Known(begun)) if begun == run => {
            let record = load(&app, run).await?;
            Ok((StatusCode::CREATED, Json(views::run(&record, &app.board, &app.fleet))))
        }
        Ok(Begun::Known(earlier)) => {
            let same = match &key {
                Some(key) => app.store.run_of_key(key).await?.is_some_and(|(_, first)| first == fingerprint),
                None => true,
            };
            known(&app, earlier, same).await
        }
        Err(error) => Err(Error::invalid("workflow.invalid", crate::chain(&error), Vec::new())),
    }
}

async fn known(app: &App, run: RunId, same: bool) -> Result<(StatusCode, Json<RunView>), Error> {
    if !same {
        return Err(Error::conflict(
            "run.key-reused",
            "this idempotency key was used for another request",
        ));
    }
    let record = load(app, run).await?;
    Ok((StatusCode::OK, Json(views::run(&record, &app.board, &app.fleet))))
}

/// What the request asks for, apart from its key.
fn fingerprint(request: &RunRequest) -> Digest {
    let asked = RunRequest {
        idempotency_key: None,
        ..request.clone()
    };
    Digest::of(&serde_json::to_vec(&asked).unwrap_or_default())
}

/// One run, whole.
#[utoipa::path(get, path = "/v1/runs/{run}", tag = "runs", params(("run" = String, Path)),
    responses((status = 200, body = RunDetail), (status = 404, body = Problem)))]
pub(super) async fn show(State(app): State<App>, Path(run): Path<String>) -> Result<Json<RunDetail>, Error> {
    let run = parse(&run)?;
    // Entries before the record: the record is never older than they are.
    let record = load(&app, run).await?;
    let workflow = workflow_of(&app, &record).await?;
    let inputs = app.store.run_inputs(run).await?.unwrap_or_default();
    let plan = app.store.run_plan(run).await?;
    let entries = views::entries(&app.store, &record).await?;
    let view = views::run(&record, &app.board, &app.fleet);
    let fleet = app.fleet.clone();
    let mut detail = blocking(move || views::detail(&record, view, &workflow, inputs, &entries, &fleet))
        .await?
        .map_err(|error| Error::internal(&error))?;
    detail.plan = plan;
    if detail.run.ended_at.is_none() {
        detail.run.counts = count(&detail);
    }
    Ok(Json(detail))
}

/// Instances by state; items count, and the `forEach` that they are of does not.
fn count(detail: &RunDetail) -> BTreeMap<eyot_model::State, u32> {
    let expanded: std::collections::HashSet<&str> = detail
        .tasks
        .iter()
        .filter(|task| task.item.is_some())
        .map(|task| task.task.as_str())
        .collect();
    let mut counts = BTreeMap::new();
    for task in detail
        .tasks
        .iter()
        .filter(|task| task.item.is_some() || !expanded.contains(task.task.as_str()))
    {
        *counts.entry(task.state).or_default() += 1;
    }
    counts
}

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
pub(super) struct LogFilter {
    /// Most lines on the page; 10,000 where it is not given.
    limit: Option<u32>,
    /// `next` of the page before.
    after: Option<u64>,
}

/// Lines that the run's tasks wrote, in order of arrival.
#[utoipa::path(get, path = "/v1/runs/{run}/logs", tag = "runs", params(("run" = String, Path), LogFilter),
    responses((status = 200, body = Page<LogLine>), (status = 404, body = Problem)))]
pub(super) async fn logs(
    State(app): State<App>,
    Path(run): Path<String>,
    Params(filter): Params<LogFilter>,
) -> Result<Json<Page<LogLine>>, Error> {
    let run = parse(&run)?;
    let record = load(&app, run).await?;
    let workflow = workflow_of(&app, &record).await?;
    let limit = filter.limit.unwrap_or(10_000).clamp(1, 20_000);
    let mut rows = app.store.logs(run, filter.after.unwrap_or(0), limit + 1).await?;
    let more = rows.len() > limit as usize;
    rows.truncate(limit as usize);
    let next = rows.last().filter(|_| more).map(|(n, _)| n.to_string());
    let items = rows
        .into_iter()
        .map(|(_, row)| LogLine {
            at: row.at,
            task: workflow
                .tasks
                .get(row.task.index())
                .map(|task| task.name.clone())
                .unwrap_or_default(),
            item: row.item,
            attempt: row.attempt,
            level: ["error", "warn", "info", "debug", "trace"][usize::from(row.level.clamp(1, 5)) - 1].to_owned(),
            message: row.message,
        })
        .collect();
    Ok(Json(Page { items, next }))
}

/// Asks for the run to stop. It has stopped when its state says so.
#[utoipa::path(post, path = "/v1/runs/{run}/cancel", tag = "runs", params(("run" = String, Path)),
    responses((status = 202), (status = 404, body = Problem), (status = 409, body = Problem)))]
pub(super) async fn cancel(State(app): State<App>, caller: Caller, Path(run): Path<String>) -> Result<StatusCode, Error> {
    let run = parse(&run)?;
    if app
        .conductor
        .ask(|answer| Input::Cancel {
            run,
            by: caller.author(None),
            answer,
        })
        .await?
    {
        return Ok(StatusCode::ACCEPTED);
    }
    let record = load(&app, run).await?;
    if record.state == RunState::Cancelled {
        return Ok(StatusCode::ACCEPTED);
    }
    Err(Error::conflict("run.ended", format!("run {run} has ended: {}", record.state)))
}

/// Says what became of an attempt whose end nobody knows: the task waits for that. The answer means that the task's agent
/// was told; the wait has ended when the run's events say so.
#[utoipa::path(post, path = "/v1/runs/{run}/resolve", tag = "runs", params(("run" = String, Path)), request_body = ResolveRequest,
    responses((status = 202), (status = 404, body = Problem), (status = 409, body = Problem), (status = 422, body = Problem)))]
pub(super) async fn resolve(
    State(app): State<App>,
    caller: Caller,
    Path(run): Path<String>,
    Body(request): Body<ResolveRequest>,
) -> Result<StatusCode, Error> {
    let run = parse(&run)?;
    let record = load(&app, run).await?;
    let workflow = workflow_of(&app, &record).await?;
    let task = workflow.find(&request.task).ok_or_else(|| {
        let shown: String = request.task.chars().take(80).collect();
        Error::not_found("run.no-task", format!("the run has no task `{shown}`"))
    })?;
    let (resolution, _) = request.word().map_err(|bad| match bad {
        BadResolution::Outputs => Error::invalid("run.bad-resolution", bad.to_string(), Vec::new()),
        BadResolution::By => Error::bad_request("request.malformed", bad.to_string()),
    })?;
    if let Resolution::Succeeded(outputs) = &resolution {
        check_outputs(&app, &workflow, task, outputs).await?;
    }
    let by = caller.author(request.by.clone().filter(|by| !by.is_empty()));
    let told = app
        .conductor
        .ask(|answer| Input::Resolve {
            run,
            task,
            item: request.item,
            resolution,
            by,
            answer,
        })
        .await?;
    match told {
        Ok(()) => Ok(StatusCode::ACCEPTED),
        Err(Unresolvable::NoRun) => Err(Error::conflict("run.ended", format!("run {run} has ended: {}", record.state))),
        Err(Unresolvable::Away(agent)) => Err(Error::conflict(
            "run.owner-away",
            format!(
                "task `{}` is with agent `{}`: {}",
                request.task,
                app.fleet.name(agent),
                Unresolvable::Away(agent)
            ),
        )),
        Err(why @ (Unresolvable::NotWaiting(_) | Unresolvable::NoOwner)) => {
            Err(Error::conflict("run.not-waiting", format!("task `{}`: {why}", request.task)))
        }
    }
}

/// What follows consumes them as if the task had given them, so they have to be what its component says.
async fn check_outputs(app: &App, workflow: &Workflow, task: TaskIx, outputs: &Outputs) -> Result<(), Error> {
    let Some(digest) = workflow.tasks.get(task.index()).and_then(|task| task.uses.digest) else {
        return Ok(());
    };
    let known = registry::known(&app.store, &app.blobs, &BTreeMap::new()).await?;
    let Some(component) = known.of_digest(&digest) else { return Ok(()) };
    eyot_spec::check_outputs(&component, outputs).map_err(|wrong| Error::invalid("run.bad-resolution", wrong.join("; "), Vec::new()))
}

pub(super) fn parse(text: &str) -> Result<RunId, Error> {
    text.parse()
        .map_err(|error: eyot_model::ParseIdError| Error::bad_request("run.bad-id", error.to_string()))
}

fn parse_state(text: &str) -> Result<RunState, Error> {
    serde_json::from_value(serde_json::Value::String(text.to_owned())).map_err(|_| {
        Error::bad_request(
            "request.malformed",
            format!("`{}` is not a state of a run", text.chars().take(80).collect::<String>()),
        )
    })
}

pub(super) async fn load(app: &App, run: RunId) -> Result<RunRecord, Error> {
    app.store
        .run(run)
        .await?
        .ok_or_else(|| Error::not_found("run.not-found", format!("there is no run {run}")))
}

pub(super) async fn workflow_of(app: &App, record: &RunRecord) -> Result<Arc<Workflow>, Error> {
    match app.store.workflow(&record.namespace, &record.workflow, &record.version).await? {
        Some(stored) => Ok(stored.workflow),
        None => Err(Error::internal(&crate::store::Error::Corrupt {
            what: "the workflow of a run",
            source: None,
        })),
    }
}

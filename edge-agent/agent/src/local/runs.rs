//! Runs of this agent's own: start, look, cancel.

use super::problem::Error;
use super::{App, Body, Params, blocking, durable, registry};
use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use eyot_engine::{Graph, Run, view};
use eyot_model::api::{FragmentView, LogLine, Page, RunDetail, RunRequest, RunView};
use eyot_model::{Digest, Epoch, Event, FragmentId, LinkState, Origin, RequestKey, RunId, RunState, Timestamp};
use eyot_node::{NotDropped, OwnRun, SubmitError};
use eyot_wire::Submission;
use serde::Deserialize;
use std::sync::Arc;

/// Most runs on one page.
const PAGE_LIMIT: u32 = 1_000;
/// Longest idempotency key, in bytes.
const KEY_LIMIT: usize = 256;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Filter {
    state: Option<String>,
    limit: Option<u32>,
    after: Option<String>,
}

pub(super) async fn list(State(app): State<App>, Params(filter): Params<Filter>) -> Result<Json<Page<RunView>>, Error> {
    let limit = filter.limit.unwrap_or(100).clamp(1, PAGE_LIMIT) as usize;
    let after = filter.after.as_deref().map(parse).transpose()?;
    let known = |word: &str| {
        serde_json::from_value::<RunState>(word.into())
            .map_err(|_| Error::bad_request("request.malformed", format!("`{}` is not a state of a run", short(word))))
    };
    let state = filter.state.as_deref().map(known).transpose()?;
    let mut found = Vec::new();
    for run in all(&app).into_iter().rev().filter(|run| after.is_none_or(|after| run.id() < after)) {
        if found.len() > limit {
            break;
        }
        let folded = blocking(move || run.fold()).await??;
        if state.is_none_or(|state| folded.run.state == state) {
            found.push(folded.run);
        }
    }
    let more = found.len() > limit;
    found.truncate(limit);
    for view in &mut found {
        view.coordinator = Some(app.name.clone());
    }
    let next = found.last().filter(|_| more).map(|view| view.id.to_string());
    Ok(Json(Page { items: found, next }))
}

/// Starts a run. The answer comes once it is on the device's disk.
pub(super) async fn start(State(app): State<App>, Body(request): Body<RunRequest>) -> Result<(StatusCode, Json<RunView>), Error> {
    let key = match request.idempotency_key.as_deref() {
        Some(key) if key.is_empty() || key.len() > KEY_LIMIT => {
            return Err(Error::bad_request(
                "run.bad-key",
                format!("an idempotency key has 1 to {KEY_LIMIT} bytes"),
            ));
        }
        Some(key) => {
            let asked = RunRequest {
                idempotency_key: None,
                ..request.clone()
            };
            Some(RequestKey {
                key: Digest::of(key.as_bytes()),
                request: Digest::of(&serde_json::to_vec(&asked).unwrap_or_default()),
            })
        }
        None => None,
    };
    let workflow = registry::choose(&app, &request.workflow).await?;
    let inputs = eyot_spec::check_inputs(&workflow, request.inputs).map_err(|problems| {
        let message = problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ");
        Error::invalid("run.inputs-invalid", message, Vec::new())
    })?;
    keep_inputs(&app, &inputs).await?;
    let random = getrandom::u64().map_err(|error| Error::internal(&error))?;
    let mut begun: Option<Result<(RunId, bool), Error>> = None;
    let mut position = None;
    app.runtime.turn(|node, now| {
        let known = key.and_then(|key| {
            let same = |own: &OwnRun| matches!(&own.submission.origin, Origin::Device { key: Some(known) } if known.key == key.key);
            let (run, own) = node.own_runs().rev().find(|(_, own)| same(own))?;
            Some((run, own.submission.origin == Origin::Device { key: Some(key) }))
        });
        begun = Some(match known {
            Some((run, true)) => Ok((run, false)),
            Some((_, false)) => Err(Error::conflict(
                "run.key-reused",
                "this idempotency key was used for another request",
            )),
            None => {
                let run = RunId::new(now, (u128::from(random) << 16) | u128::from(now.0 & 0xffff));
                let submission = Submission {
                    run,
                    workflow,
                    inputs: Arc::new(inputs),
                    created_at: now,
                    origin: Origin::Device { key },
                };
                node.submit(submission, now).map(|()| (run, true)).map_err(refused)
            }
        });
        position = Some(node.position());
    });
    let (run, new) = begun.unwrap_or_else(|| Err(Error::unavailable("the agent is stopping")))?;
    durable(&app, position.unwrap_or_default()).await?;
    let folded = fold(&app, run).await?;
    Ok((if new { StatusCode::CREATED } else { StatusCode::OK }, Json(folded.run)))
}

pub(super) fn refused(error: SubmitError) -> Error {
    match error {
        SubmitError::Workflow(error) => Error::invalid("workflow.invalid", error.to_string(), Vec::new()),
        SubmitError::Unplaceable(_) => Error::invalid("plan.unplaceable", error.to_string(), Vec::new()),
        SubmitError::TooLarge(_) => Error::new(StatusCode::PAYLOAD_TOO_LARGE, "run.too-large", error.to_string()),
        SubmitError::TooManyUntold(_) | SubmitError::TooManyOpen(_) | SubmitError::NoRoom(_) => {
            Error::new(StatusCode::INSUFFICIENT_STORAGE, "agent.no-room", error.to_string())
        }
    }
}

/// The blobs that inputs name are here; a run that waits for one for ever helps nobody.
pub(super) async fn keep_inputs(app: &App, inputs: &eyot_model::Inputs) -> Result<(), Error> {
    let mut missing = None;
    for value in inputs.values() {
        value.for_each_blob(&mut |blob| {
            if !app.runtime.blobs.contains(&blob.digest) {
                missing = Some(blob.digest);
            }
        });
    }
    match missing {
        Some(digest) => Err(Error::invalid(
            "blob.not-uploaded",
            format!("blob {digest} is not on this agent; `eyot --agent … blob put` brings it here"),
            Vec::new(),
        )),
        None => Ok(()),
    }
}

pub(super) async fn show(State(app): State<App>, Path(run): Path<String>) -> Result<Json<RunDetail>, Error> {
    Ok(Json(fold(&app, parse(&run)?).await?))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct LogFilter {
    limit: Option<u32>,
    after: Option<u64>,
}

/// Lines that the run's tasks wrote since the agent started: they are kept in memory.
pub(super) async fn logs(
    State(app): State<App>,
    Path(run): Path<String>,
    Params(filter): Params<LogFilter>,
) -> Result<Json<Page<LogLine>>, Error> {
    let own = load(&app, parse(&run)?)?;
    let limit = filter.limit.unwrap_or(10_000).clamp(1, 20_000) as usize;
    let mut lines = app.runtime.own_logs.of(own.id(), filter.after.unwrap_or(0), limit + 1);
    let more = lines.len() > limit;
    lines.truncate(limit);
    let next = lines.last().filter(|_| more).map(|(n, _)| n.to_string());
    let workflow = &own.own.submission.workflow;
    let items = lines
        .into_iter()
        .map(|(_, line)| LogLine {
            at: line.at,
            task: workflow
                .tasks
                .get(line.path.task.index())
                .map(|t| t.name.clone())
                .unwrap_or_default(),
            item: line.path.item,
            attempt: line.attempt,
            level: ["error", "warn", "info", "debug", "trace"][usize::from(line.level.clamp(1, 5)) - 1].to_owned(),
            message: line.message,
        })
        .collect();
    Ok(Json(Page { items, next }))
}

/// Asks for the run to stop. It has stopped when its state says so.
pub(super) async fn cancel(State(app): State<App>, Path(run): Path<String>) -> Result<StatusCode, Error> {
    let own = load(&app, parse(&run)?)?;
    let mut position = None;
    app.runtime.turn(|node, now| {
        node.cancel(own.id(), "a client on the device", now);
        position = Some(node.position());
    });
    durable(&app, position.unwrap_or_default()).await?;
    let folded = fold(&app, own.id()).await?.run;
    match folded.state {
        RunState::Succeeded | RunState::Failed => Err(Error::conflict(
            "run.ended",
            format!("run {} has ended: {}", folded.id, folded.state),
        )),
        RunState::Pending | RunState::Running | RunState::Cancelling | RunState::Cancelled => Ok(StatusCode::ACCEPTED),
    }
}

/// Drops an ended run that the control plane refuses. It is gone for good when this is answered.
pub(super) async fn remove(State(app): State<App>, Path(run): Path<String>) -> Result<StatusCode, Error> {
    let run = load(&app, parse(&run)?)?.id();
    let (mut dropped, mut position) = (Err(NotDropped::Unknown), None);
    app.runtime.turn(|node, _| {
        dropped = node.drop_own(run);
        position = Some(node.position());
    });
    match dropped {
        Ok(()) => {}
        Err(why @ NotDropped::Unknown) => return Err(Error::not_found("run.not-found", format!("run {run}: {why}"))),
        Err(why @ NotDropped::GoesOn) => return Err(Error::conflict("run.open", format!("run {run} is not dropped: {why}"))),
        Err(why @ (NotDropped::Told | NotDropped::Wanted)) => {
            return Err(Error::conflict("run.not-refused", format!("run {run} is not dropped: {why}")));
        }
    }
    durable(&app, position.unwrap_or_default()).await?;
    tracing::warn!(%run, "a run of this agent's own that the control plane does not have was dropped by hand");
    Ok(StatusCode::NO_CONTENT)
}

/// A run of the agent's own, as far as it is durable.
pub(super) struct Durable {
    pub(super) own: OwnRun,
    agent: (eyot_model::AgentId, String),
    link: LinkState,
}

impl Durable {
    pub(super) fn id(&self) -> RunId {
        self.own.submission.run
    }

    /// The run as its durable events make it.
    fn fold(&self) -> Result<RunDetail, Error> {
        let submission = &self.own.submission;
        let workflow = &submission.workflow;
        let graph = Arc::new(Graph::compile(Arc::clone(workflow)).map_err(|error| Error::internal(&error))?);
        let mut run = Run::new(submission.run, graph, &submission.inputs, submission.created_at);
        let mut ended_at: Option<Timestamp> = None;
        for (_, event) in &self.own.events {
            let _ = run.replay(event);
            if let Event::RunEnded { at, .. } = event {
                ended_at = Some(*at);
            }
        }
        let mut tasks = view::tasks(&run);
        for task in tasks.iter_mut().filter(|task| task.attempts > 0) {
            task.agent = Some(self.agent.1.clone());
            super::resolve::explain(task, submission.run);
        }
        let state = match (run.outcome(), run.cancel_requested_by()) {
            (Some(outcome), _) => outcome.state,
            (None, Some(_)) => RunState::Cancelling,
            (None, None) => RunState::Running,
        };
        Ok(RunDetail {
            run: RunView {
                id: submission.run,
                namespace: workflow.namespace.clone(),
                workflow: workflow.name.clone(),
                version: workflow.version.clone(),
                state,
                created_at: submission.created_at,
                ended_at,
                counts: view::counts(&tasks),
                waiting_for: None,
                failure: run.outcome().and_then(|outcome| outcome.failure.clone()),
                coordinator: Some(self.agent.1.clone()),
            },
            inputs: eyot_model::Inputs::clone(&submission.inputs),
            outputs: run.outcome().map(|outcome| outcome.outputs.clone()).unwrap_or_default(),
            tasks,
            fragments: vec![FragmentView {
                id: FragmentId(0),
                agent: Some(self.agent.0),
                agent_name: Some(self.agent.1.clone()),
                epoch: Epoch(1),
                link: self.link,
                tasks: workflow.tasks.iter().map(|task| task.name.clone()).collect(),
                away_since: None,
                reassign_at: None,
                superseded: Vec::new(),
            }],
            plan: None,
        })
    }
}

fn durable_part(app: &App, own: &OwnRun) -> Durable {
    let mut own = own.clone();
    let count = own.durable(app.runtime.synced());
    own.events.truncate(count);
    Durable {
        own,
        agent: (app.id, app.name.clone()),
        link: if app.runtime.is_linked() {
            LinkState::Connected
        } else {
            LinkState::Disconnected
        },
    }
}

/// All runs, oldest first.
fn all(app: &App) -> Vec<Durable> {
    let synced = app.runtime.synced();
    app.runtime.look(|node| {
        let durable = node.own_runs().filter(|(_, own)| own.is_durable(synced));
        durable.map(|(_, own)| durable_part(app, own)).collect()
    })
}

pub(super) fn load(app: &App, run: RunId) -> Result<Durable, Error> {
    let synced = app.runtime.synced();
    let of = |node: &eyot_node::Node| {
        let durable = node.own_run(run).filter(|own| own.is_durable(synced));
        durable.map(|own| durable_part(app, own))
    };
    app.runtime.look(of).ok_or_else(|| {
        Error::not_found(
            "run.not-found",
            format!("there is no run {run} of this agent's own; those of the control plane are asked for there"),
        )
    })
}

async fn fold(app: &App, run: RunId) -> Result<RunDetail, Error> {
    let run = load(app, run)?;
    blocking(move || run.fold()).await?
}

pub(super) fn parse(text: &str) -> Result<RunId, Error> {
    text.parse()
        .map_err(|error: eyot_model::ParseIdError| Error::bad_request("run.bad-id", error.to_string()))
}

pub(super) fn short(text: &str) -> String {
    text.chars().take(80).collect()
}

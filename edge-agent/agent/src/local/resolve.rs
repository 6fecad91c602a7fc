//! A word of the device's user about an attempt of the agent's own run whose end nobody knows.

use super::problem::Error;
use super::{App, Body, blocking, durable, runs};
use axum::extract::{Path, State};
use axum::http::StatusCode;
use eyot_engine::NotWaiting;
use eyot_model::api::{BadResolution, ResolveRequest, TaskView};
use eyot_model::{FailureKind, Outputs, Resolution, TaskIx, Workflow};
use eyot_spec::{Registered, Registry};
use std::collections::BTreeMap;

/// Says what became of it. The wait has ended when this is answered.
pub(super) async fn resolve(
    State(app): State<App>,
    Path(run): Path<String>,
    Body(request): Body<ResolveRequest>,
) -> Result<StatusCode, Error> {
    let own = runs::load(&app, runs::parse(&run)?)?;
    let run = own.id();
    let task = own.own.submission.workflow.find(&request.task).ok_or_else(|| {
        let message = format!("the run has no task `{}`", runs::short(&request.task));
        Error::not_found("run.no-task", message)
    })?;
    let (resolution, by) = request.word().map_err(|bad| match bad {
        BadResolution::Outputs => Error::invalid("run.bad-resolution", bad.to_string(), Vec::new()),
        BadResolution::By => Error::bad_request("request.malformed", bad.to_string()),
    })?;
    if let Resolution::Succeeded(outputs) = &resolution {
        check_outputs(&app, &own.own.submission.workflow, task, outputs).await?;
    }
    runs::keep_inputs(&app, &request.outputs).await?;
    let (mut resolved, mut position) = (Err(NotWaiting::Over), None);
    app.runtime.turn(|node, now| {
        resolved = node.resolve(run, task, request.item, resolution, &by, now);
        position = Some(node.position());
    });
    match resolved {
        Ok(()) => durable(&app, position.unwrap_or_default()).await.map(|()| StatusCode::ACCEPTED),
        Err(NotWaiting::Over) => Err(Error::conflict("run.ended", format!("run {run} has ended"))),
        Err(why) => Err(Error::conflict("run.not-waiting", format!("task `{}`: {why}", request.task))),
    }
}

/// What follows consumes them as if the task had given them, so they have to be what its component says, where it was pushed here.
async fn check_outputs(app: &App, workflow: &Workflow, task: TaskIx, outputs: &Outputs) -> Result<(), Error> {
    let Some(digest) = workflow.tasks.get(task.index()).and_then(|task| task.uses.digest) else {
        return Ok(());
    };
    let pushed = app.runtime.look(|node| {
        let mut components = node.components();
        components.find(|component| component.digest == digest).map(Registered::from)
    });
    let outputs = outputs.clone();
    // Its description is a text of any size that may be pushed.
    let checked = blocking(move || {
        let known = Registry::new(pushed, BTreeMap::new()).of_digest(&digest);
        known.map_or(Ok(()), |component| eyot_spec::check_outputs(&component, &outputs))
    });
    checked
        .await?
        .map_err(|wrong| Error::invalid("run.bad-resolution", wrong.join("; "), Vec::new()))
}

/// Says of a task that waits for such a word how to give it.
pub(super) fn explain(task: &mut TaskView, run: eyot_model::RunId) {
    let unknown = task
        .failure
        .as_ref()
        .is_some_and(|failure| failure.kind == FailureKind::OutcomeUnknown);
    if task.state == eyot_model::State::Waiting && unknown {
        let item = task.item.map(|item| format!("/{item}")).unwrap_or_default();
        let command = format!(
            "eyot --agent runs resolve {run} {}{item} --succeeded | --failed | --retry",
            task.task
        );
        task.reason
            .get_or_insert_with(|| format!("nobody knows how attempt {} ended; say it by `{command}`", task.attempts));
    }
}

//! A word of the device's user about an attempt of the agent's own run whose end nobody knows.

use super::problem::Error;
use super::{App, Body, durable, runs};
use axum::extract::{Path, State};
use axum::http::StatusCode;
use eyot_engine::NotWaiting;
use eyot_model::FailureKind;
use eyot_model::api::{BadResolution, ResolveRequest, TaskView};

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

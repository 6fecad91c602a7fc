//! Events and task instances as the API shows them, on the control plane and on an agent alike.

use crate::{Instance, Run};
use eyot_model::api::{RunEvent, TaskView};
use eyot_model::{Event, FailureKind, Outcome, Path, Resolution, State, TaskIx, Timestamp, Value, Workflow};
use std::collections::BTreeMap;

/// An entry of a run's history about which nothing is said but its kind.
#[must_use]
pub fn entry(seq: u64, at: Timestamp, kind: &str) -> RunEvent {
    RunEvent {
        seq,
        at,
        kind: kind.to_owned(),
        task: None,
        item: None,
        attempt: None,
        state: None,
        run_state: None,
        agent: None,
        count: None,
        failure: None,
        message: None,
    }
}

/// An event, number `seq` of its run's history. Who said so is the caller's to add.
#[must_use]
pub fn event(seq: u64, event: &Event, workflow: &Workflow) -> RunEvent {
    let name = |task: TaskIx| workflow.tasks.get(task.index()).map(|task| task.name.clone());
    let mut view = entry(seq, event.at(), "");
    view.task = event.task().and_then(name);
    let mut say = |kind: &str, state: Option<State>, path: Option<&Path>| {
        kind.clone_into(&mut view.kind);
        view.state = state;
        view.item = path.and_then(|path| path.item);
    };
    match event {
        Event::Started { path, attempt, .. } => {
            say("started", Some(State::Running), Some(path));
            view.attempt = Some(*attempt);
        }
        Event::Ended {
            path,
            attempt,
            outcome,
            retry_at,
            ..
        } => {
            let (kind, state) = match (outcome, retry_at) {
                (_, Some(_)) => ("retrying", State::Retrying),
                (Outcome::Succeeded(_), None) => ("ended", State::Succeeded),
                (Outcome::Cancelled, None) => ("ended", State::Cancelled),
                (Outcome::Failed(f), None) if f.kind == FailureKind::Timeout => ("ended", State::TimedOut),
                (Outcome::Failed(f), None) if workflow.waits_for_operator(path.task, f) => ("waiting", State::Waiting),
                (Outcome::Failed(_), None) => ("ended", State::Failed),
            };
            say(kind, Some(state), Some(path));
            view.attempt = Some(*attempt);
            if let Outcome::Failed(failure) = outcome {
                view.failure = Some(failure.clone());
            }
        }
        Event::Failed { path, failure, .. } => {
            say("failed", Some(State::Failed), Some(path));
            view.failure = Some(failure.clone());
        }
        Event::Skipped { path, reason, .. } => {
            say("skipped", Some(State::Skipped), Some(path));
            view.message = Some(reason.to_string());
        }
        Event::UpstreamFailed { path, cause, .. } => {
            say("upstream-failed", Some(State::UpstreamFailed), Some(path));
            view.message = name(*cause).map(|cause| format!("task `{cause}` failed"));
        }
        Event::Expanded { count, .. } => {
            say("expanded", Some(State::Waiting), None);
            view.count = Some(*count);
        }
        Event::Cancelled { path, .. } => say("cancelled", Some(State::Cancelled), Some(path)),
        Event::CancelRequested { by, .. } => {
            say("cancel-requested", None, None);
            view.message = Some(format!("asked for by {by}"));
        }
        Event::RunEnded { outcome, .. } => {
            say("run-ended", None, None);
            view.run_state = Some(outcome.state);
            view.failure.clone_from(&outcome.failure);
        }
        Event::Yielded { path, attempt, .. } => {
            say("yielded", Some(State::Queued), Some(path));
            view.attempt = Some(*attempt);
        }
        Event::Resolved {
            path,
            attempt,
            resolution,
            by,
            ..
        } => {
            let (state, word) = match resolution {
                Resolution::Succeeded(_) => (State::Succeeded, "succeeded"),
                Resolution::Failed => (State::Failed, "failed"),
                Resolution::Retry => (State::Queued, "is to be tried again"),
            };
            say("resolved", Some(state), Some(path));
            view.attempt = Some(*attempt);
            view.message = Some(format!("{by} said that it {word}"));
        }
        Event::Rewound { generation, .. } => {
            say("rewound", Some(State::Pending), None);
            view.message = Some(format!(
                "what it gave was lost with its device; it runs again (generation {generation})"
            ));
        }
    }
    view
}

/// A task instance. Where it runs is the caller's to add.
#[must_use]
pub fn task(name: &str, item: Option<u32>, instance: &Instance) -> TaskView {
    let ran = instance.attempts > 0;
    TaskView {
        task: name.to_owned(),
        item,
        state: instance.state,
        attempts: instance.tries(),
        agent: None,
        started_at: instance.started_at,
        ended_at: instance.ended_at,
        usage: ran.then_some(instance.usage),
        failure: instance.failure.clone(),
        reason: instance.skipped.as_ref().map(ToString::to_string),
        outputs: instance.outputs.as_ref().and_then(|outputs| match &**outputs {
            Value::Map(map) => Some(map.clone()),
            _ => None,
        }),
    }
}

/// Every task instance of a run; the items of a `forEach` follow their task.
#[must_use]
pub fn tasks(run: &Run) -> Vec<TaskView> {
    let mut views = Vec::new();
    for (entry, declared) in run.tasks().iter().zip(&run.graph().workflow.tasks) {
        views.push(task(&declared.name, None, &entry.own));
        if let Some(items) = &entry.items {
            let items = (0u32..).zip(&items.instances);
            views.extend(items.map(|(item, instance)| task(&declared.name, Some(item), instance)));
        }
    }
    views
}

/// Instances by state; items count, and the `forEach` that they are of does not.
#[must_use]
pub fn counts(tasks: &[TaskView]) -> BTreeMap<State, u32> {
    let expanded: std::collections::BTreeSet<&str> = tasks.iter().filter(|t| t.item.is_some()).map(|t| t.task.as_str()).collect();
    let mut counts = BTreeMap::new();
    for task in tasks.iter().filter(|t| t.item.is_some() || !expanded.contains(t.task.as_str())) {
        *counts.entry(task.state).or_default() += 1;
    }
    counts
}

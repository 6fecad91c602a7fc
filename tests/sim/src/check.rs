//! The invariant: what has to hold whatever the weather was.

use crate::cloud::Cloud;
use crate::model::expect;
use eyot_engine::{Graph, Run};
use eyot_model::{Event, Path, TaskIx};
use std::collections::BTreeMap;
use std::sync::Arc;

/// Every run ended; at most one end of each instance is committed; every instance, and the run, ended as the reference
/// says.
///
/// # Errors
/// What does not hold, in words.
pub fn check(cloud: &Cloud) -> Result<(), String> {
    let ended = cloud.ended();
    for (run, (scenario, created_at)) in &cloud.submitted {
        let outcome = ended
            .get(run)
            .ok_or_else(|| format!("run {run} never ended; open: {}", open_tasks(cloud, *run)))?;
        let events = cloud.events(*run);
        let mut ends: BTreeMap<Path, u32> = BTreeMap::new();
        for event in &events {
            if let Some(path) = end_of(event) {
                *ends.entry(path).or_default() += 1;
            }
        }
        if let Some((path, count)) = ends.iter().find(|(_, n)| **n > 1) {
            return Err(format!("run {run}: {count} ends of {path:?} are committed"));
        }
        let graph = Graph::compile(scenario.workflow.clone()).map_err(|e| e.to_string())?;
        let mut replayed = Run::new(*run, Arc::new(graph), &scenario.inputs, *created_at);
        for event in &events {
            replayed
                .replay(event)
                .map_err(|e| format!("run {run}: the store holds {event:?}, which cannot be: {e}"))?;
        }
        let expected = expect(scenario);
        for ((task, item), state) in &expected.tasks {
            let found = replayed.tasks()[task.index()].instance(*item).map(|i| i.state);
            if found != Some(*state) {
                return Err(format!(
                    "run {run}: {} item {item:?} is {found:?}, the reference says {state}",
                    name(scenario, *task)
                ));
            }
        }
        if Some(outcome.state) != expected.run {
            return Err(format!("run {run} is {}, the reference says {:?}", outcome.state, expected.run));
        }
    }
    if cloud.alarms.is_empty() {
        Ok(())
    } else {
        Err(format!("alarms: {:?}", cloud.alarms))
    }
}

fn open_tasks(cloud: &Cloud, run: eyot_model::RunId) -> String {
    let Some(entry) = cloud.coordinator.entry(run) else {
        return "unknown to the coordinator".into();
    };
    let open = (0u32..)
        .map(TaskIx)
        .zip(entry.run.tasks())
        .filter(|(_, t)| !t.own.state.is_terminal());
    let told = format!(
        "outcome {:?}, cancel {:?}, last events {:?}; ",
        entry.run.outcome(),
        entry.run.cancel_requested_by(),
        cloud.events(run).iter().rev().take(4).collect::<Vec<_>>()
    );
    told + &open
        .map(|(ix, t)| {
            format!(
                "{ix:?} {} of {:?}",
                t.own.state,
                entry.owner(ix).map(|(f, o)| (f, o.agent, o.epoch))
            )
        })
        .collect::<Vec<_>>()
        .join(", ")
}

fn name(scenario: &crate::scenario::Scenario, task: TaskIx) -> &str {
    &scenario.workflow.task(task).name
}

fn end_of(event: &Event) -> Option<Path> {
    match event {
        Event::Ended { path, retry_at: None, .. }
        | Event::Failed { path, .. }
        | Event::Skipped { path, .. }
        | Event::UpstreamFailed { path, .. }
        | Event::Cancelled { path, .. } => Some(*path),
        _ => None,
    }
}

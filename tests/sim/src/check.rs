//! The invariant: what has to hold whatever the weather was.

use crate::cloud::Cloud;
use crate::compare::as_the_reference_says;
use crate::device::Device;
use crate::outside::Outside;
use crate::scenario::Scenario;
use crate::store::{Foreign, History, Row};
use crate::task::{consumed, stamps};
use crate::world::World;
use eyot_engine::{Graph, Run};
use eyot_model::{AgentId, Event, FailureKind, Outcome, Path, Resolution, RunId, TaskIx, Value};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// Every run that was accepted ended; at most one end of each instance is committed, and what it consumed is; every
/// instance, and the run, ended as the reference says; nothing is left on the devices that nobody has.
///
/// # Errors
/// What does not hold, in words.
pub fn check(cloud: &Cloud, outside: &Outside, devices: &[Device]) -> Result<(), String> {
    // Of what a damaged disk has forgotten the agent may say something else: that is to be loud.
    let damaged: BTreeSet<AgentId> = devices.iter().filter(|d| d.was_damaged).map(|d| d.id).collect();
    if let Some((_, alarm)) = cloud.alarms.iter().find(|(agent, _)| !damaged.contains(agent)) {
        return Err(format!("an alarm: {alarm}"));
    }
    for (run, scenario) in &cloud.scenarios {
        let Some(row) = cloud.store.runs.get(run) else {
            return Err(format!("run {run} was never accepted"));
        };
        if row.outcome.is_none() {
            return Err(format!("run {run} never ended; open: {}", open_tasks(cloud, *run, row)));
        }
        holds(*run, &row.history(), scenario, outside)?;
    }
    let unreported = |(_, d): &(usize, &Device)| d.process.as_ref().is_some_and(|p| p.node.has_unreported());
    match devices.iter().enumerate().find(unreported) {
        Some((machine, _)) => Err(format!("agent {machine} has results that were never acknowledged")),
        None => Ok(()),
    }
}

/// Every instant of a machine's schedule is one run, of which the control plane has heard all.
///
/// # Errors
/// What does not hold, in words.
pub fn check_own(world: &World) -> Result<(), String> {
    for (machine, schedule) in world.schedules.iter().filter(|(machine, _)| !world.devices[**machine].lost) {
        if !schedule.is_done() {
            return Err(format!("agent {machine} has not started a run for each instant of its schedule"));
        }
        for run in schedule.runs.keys() {
            let Some(told) = world.cloud.store.foreign.get(run) else {
                return Err(format!("nobody has told of run {run} of agent {machine}"));
            };
            if told.outcome.is_none() {
                return Err(format!("run {run} of agent {machine} never ended"));
            }
            if told.agent != world.devices[*machine].id {
                return Err(format!("run {run} of agent {machine} is another agent's: {}", told.agent));
            }
            holds(*run, &told.history(), &schedule.scenario, &world.outside)?;
            whole_history(*machine, *run, told, &world.devices[*machine])?;
        }
    }
    let scheduled = |run: &RunId| world.schedules.values().any(|schedule| schedule.runs.contains_key(run));
    match world.cloud.store.foreign.keys().find(|run| !scheduled(run)) {
        Some(run) => Err(format!("run {run} was told of, and no machine has started it")),
        None => Ok(()),
    }
}

/// The control plane has the whole of what the machine that coordinated it says of it, and nothing else.
fn whole_history(machine: usize, run: RunId, told: &Foreign, device: &Device) -> Result<(), String> {
    let node = device.process.as_ref().map(|process| &process.node);
    let Some(own) = node.and_then(|node| node.own_run(run)) else {
        return Err(format!("agent {machine} does not know its run {run} any more"));
    };
    let same = own.events.iter().map(|(_, event)| event).eq(&told.events);
    let ended = matches!(told.events.last(), Some(Event::RunEnded { outcome, .. }) if Some(outcome) == told.outcome.as_ref());
    if same && ended {
        Ok(())
    } else {
        let (has, told) = (own.events.len(), told.events.len());
        Err(format!(
            "agent {machine} has {has} events of its run {run}, and the store {told}, or others"
        ))
    }
}

fn holds(run: RunId, history: &History<'_>, scenario: &Scenario, outside: &Outside) -> Result<(), String> {
    one_end_each(run, history)?;
    only_committed_results(run, history)?;
    as_the_reference_says(run, history, scenario)?;
    if outside.finished.get(&run).is_some_and(|told| Some(told) != history.outcome) {
        return Err(format!("run {run} was told to end otherwise than the store says"));
    }
    Ok(())
}

fn one_end_each(run: RunId, row: &History<'_>) -> Result<(), String> {
    let mut ends: BTreeMap<Path, u32> = BTreeMap::new();
    for path in row.events.iter().filter_map(end_of) {
        *ends.entry(path).or_default() += 1;
    }
    match ends.iter().find(|(_, n)| **n > 1) {
        Some((path, count)) => Err(format!("run {run}: {count} ends of {path:?} are committed")),
        None => Ok(()),
    }
}

fn only_committed_results(run: RunId, row: &History<'_>) -> Result<(), String> {
    let mut committed = Vec::new();
    for event in row.events {
        let (Event::Ended {
            path,
            outcome: Outcome::Succeeded(outputs),
            ..
        }
        | Event::Resolved {
            path,
            resolution: Resolution::Succeeded(outputs),
            ..
        }) = event
        else {
            continue;
        };
        let known: BTreeSet<i64> = committed.iter().copied().collect();
        if let Some(stamp) = consumed(outputs).iter().find(|stamp| !known.contains(stamp)) {
            return Err(format!(
                "run {run}: {path:?} consumed a result ({stamp}) that was not committed before it"
            ));
        }
        stamps(&Value::Map(outputs.clone()), &mut committed);
    }
    Ok(())
}

/// A run as its stored events make it.
///
/// # Errors
/// When they cannot be the events of a run.
pub fn replay(run: RunId, row: &History<'_>) -> Result<Run, String> {
    let graph = Graph::compile(row.workflow.clone()).map_err(|e| e.to_string())?;
    let mut replayed = Run::new(run, Arc::new(graph), row.inputs, row.created_at);
    for event in row.events {
        replayed
            .replay(event)
            .map_err(|e| format!("run {run}: the store holds {event:?}, which cannot be: {e}"))?;
    }
    Ok(replayed)
}

fn open_tasks(cloud: &Cloud, run: RunId, row: &Row) -> String {
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
        row.events.iter().rev().take(4).collect::<Vec<_>>()
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

fn end_of(event: &Event) -> Option<Path> {
    match event {
        // It waits for an operator, whose word is the end.
        Event::Ended {
            outcome: Outcome::Failed(failure),
            ..
        } if failure.kind == FailureKind::OutcomeUnknown => None,
        Event::Resolved {
            resolution: Resolution::Retry,
            ..
        } => None,
        Event::Ended { path, retry_at: None, .. }
        | Event::Resolved { path, .. }
        | Event::Failed { path, .. }
        | Event::Skipped { path, .. }
        | Event::UpstreamFailed { path, .. }
        | Event::Cancelled { path, .. } => Some(*path),
        _ => None,
    }
}

//! Runs as the API shows them: folded from what is stored, so that nothing is shown that a crash could take back.

use super::fragments::Fragments;
use crate::board::Board;
use crate::fleet::Fleet;
use crate::store::{Entry, Error, RunRecord, Store};
use eyot_engine::{Graph, Instance, Run};
use eyot_model::api::{RunDetail, RunEvent, RunView, TaskView};
use eyot_model::{AgentId, Event, Inputs, Path, RunId, State, TaskIx, Workflow};
use std::collections::HashMap;
use std::sync::Arc;

/// Entries read at once.
const PAGE: u32 = 5_000;

pub(super) fn run(record: &RunRecord, board: &Board, fleet: &Fleet) -> RunView {
    let counts = match record.ended_at {
        Some(_) => record.counts.clone(),
        None => board.counts(record.id).unwrap_or_default(),
    };
    RunView {
        id: record.id,
        namespace: record.namespace.clone(),
        workflow: record.workflow.clone(),
        version: record.version.clone(),
        state: record.state,
        created_at: record.created_at,
        ended_at: record.ended_at,
        counts,
        waiting_for: record.waiting_for.clone(),
        failure: record.outcome.as_ref().and_then(|outcome| outcome.failure.clone()),
        coordinator: record.coordinator.map(|agent| fleet.name(agent)),
    }
}

/// All entries of a run, in order.
pub(super) async fn entries(store: &Store, record: &RunRecord) -> Result<Vec<Entry>, Error> {
    let (mut all, mut last) = (Vec::new(), 0);
    loop {
        let page = store.entries(record.id, last, PAGE).await?;
        let Some((seq, _)) = page.last() else { return Ok(all) };
        last = *seq;
        all.extend(page.into_iter().map(|(_, entry)| entry));
    }
}

/// The whole of a run. Takes time for runs of many tasks: not for an async thread.
pub(super) fn detail(
    record: &RunRecord,
    view: RunView,
    workflow: &Arc<Workflow>,
    inputs: Inputs,
    entries: &[Entry],
    fleet: &Fleet,
) -> Result<RunDetail, eyot_engine::GraphError> {
    let graph = Arc::new(Graph::compile(Arc::clone(workflow))?);
    let mut run = Run::new(record.id, graph, &inputs, record.created_at);
    let mut ran_on: HashMap<Path, AgentId> = HashMap::new();
    let mut fragments = Fragments::default();
    for entry in entries {
        fragments.note(entry, workflow, fleet);
        if let Entry::Event { event, agent, .. } = entry {
            let _ = run.replay(event);
            if let (Some(agent), Event::Started { path, .. } | Event::Ended { path, .. }) = (agent, event) {
                ran_on.insert(*path, *agent);
            }
        }
    }
    let owner = fragments.owners();
    let mut tasks = Vec::new();
    for (ix, entry) in (0u32..).map(TaskIx).zip(run.tasks()) {
        let name = &workflow.task(ix).name;
        let owner = owner.get(&ix).copied();
        let mut add = |item: Option<u32>, instance: &Instance| {
            let path = Path {
                task: ix,
                item,
                generation: entry.generation,
            };
            let agent = ran_on
                .get(&path)
                .copied()
                .or(owner.filter(|_| item.is_some() || entry.items.is_none()));
            tasks.push(task(record.id, name, item, instance, agent, record.ended_at.is_some(), fleet));
        };
        match &entry.items {
            None => add(None, &entry.own),
            Some(items) => {
                add(None, &entry.own);
                (0u32..)
                    .zip(&items.instances)
                    .for_each(|(item, instance)| add(Some(item), instance));
            }
        }
    }
    let open = |task: TaskIx| record.ended_at.is_none() && !run.tasks()[task.index()].own.state.is_terminal();
    let fragments = fragments.views(workflow, fleet, open);
    let mut view = view;
    if view.waiting_for.is_none() {
        view.waiting_for = super::fragments::contact(&fragments);
    }
    Ok(RunDetail {
        outputs: record.outcome.as_ref().map(|outcome| outcome.outputs.clone()).unwrap_or_default(),
        run: view,
        inputs,
        tasks,
        fragments,
        plan: None,
    })
}

fn task(run: RunId, name: &str, item: Option<u32>, instance: &Instance, agent: Option<AgentId>, ended: bool, fleet: &Fleet) -> TaskView {
    let lost = !ended && !instance.state.is_terminal() && agent.is_some_and(|a| fleet.link(a) == eyot_model::LinkState::Disconnected);
    let mut view = eyot_engine::view::task(name, item, instance);
    view.agent = agent.map(|agent| fleet.name(agent));
    if let Some(waits) = instance.unknown_attempt().filter(|_| !ended) {
        let item = item.map(|item| format!("/{item}")).unwrap_or_default();
        let command = format!("eyot runs resolve {run} {name}{item} --succeeded | --failed | --retry");
        view.reason
            .get_or_insert_with(|| format!("nobody knows how attempt {waits} ended; say it by `{command}`"));
    }
    if lost {
        view.state = State::Disconnected;
        view.reason.get_or_insert_with(|| "its agent is out of contact".to_owned());
    }
    view
}

/// An entry as the event stream shows it.
pub(super) fn event(seq: u64, entry: &Entry, workflow: &Workflow, fleet: &Fleet) -> RunEvent {
    let name = |task: TaskIx| workflow.tasks.get(task.index()).map(|task| task.name.clone());
    match entry {
        Entry::Event { event, agent, .. } => {
            let mut view = eyot_engine::view::event(seq, event, workflow);
            view.agent = agent.map(|agent| fleet.name(agent));
            view
        }
        Entry::Assigned {
            epoch, agent, tasks, at, ..
        } => {
            let names: Vec<String> = tasks.iter().take(20).filter_map(|task| name(*task)).collect();
            let more = if tasks.len() > names.len() { ", …" } else { "" };
            RunEvent {
                agent: Some(fleet.name(*agent)),
                count: u32::try_from(tasks.len()).ok(),
                message: Some(format!("epoch {}: {}{more}", epoch.0, names.join(", "))),
                ..eyot_engine::view::entry(seq, *at, "assigned")
            }
        }
        Entry::Superseded { agent, reason, at, .. } => RunEvent {
            agent: Some(fleet.name(*agent)),
            message: Some(reason.clone()),
            ..eyot_engine::view::entry(seq, *at, "superseded")
        },
        Entry::Late {
            epoch, agent, event, at, ..
        } => {
            let mut view = eyot_engine::view::event(seq, event, workflow);
            view.at = *at;
            view.agent = Some(fleet.name(*agent));
            let state = view.state.take();
            RunEvent {
                kind: "late".to_owned(),
                message: Some(format!(
                    "{} came under epoch {}, which had passed: no part of the run",
                    state.map_or("an end", State::as_str),
                    epoch.0
                )),
                ..view
            }
        }
    }
}

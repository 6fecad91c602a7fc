//! One run, laid out for people.

use super::runs::rank;
use crate::human;
use crate::paint::Paint;
use crate::progress::mark;
use crate::table::{Align, Table, cell};
use eyot_model::State;
use eyot_model::api::{FragmentView, LateResultView, RunDetail, TaskView};
use jiff::tz::TimeZone;
use std::collections::{BTreeMap, BTreeSet};

/// More items than this are summed up, unless all are asked for.
const MOST_ITEMS: usize = 8;

/// The head, the tasks and the fragments; the outputs follow by themselves.
pub(crate) fn run(run: &RunDetail, all: bool, paint: Paint) -> String {
    let mut out = head(run, paint);
    out.push('\n');
    out.push_str(&tasks(&run.tasks, all, paint));
    if !run.fragments.is_empty() {
        out.push('\n');
        out.push_str(&fragments(&run.fragments, paint));
    }
    if !run.outputs.is_empty() {
        out.push('\n');
    }
    out
}

fn head(run: &RunDetail, paint: Paint) -> String {
    let view = &run.run;
    let mut table = Table::left(&["", ""]);
    let mut add = |name: &str, value: String| table.row(vec![paint.dim(name), value]);
    add("run", paint.bold(&view.id.to_string()));
    add(
        "workflow",
        cell(&format!("{}/{}@{}", view.namespace, view.workflow, view.version), 120),
    );
    add("state", paint.state(view.state.as_str()));
    if let Some(agent) = &view.coordinator {
        add("coordinated by", format!("agent {}", cell(agent, 80)));
    }
    if let Some(waiting) = &view.waiting_for {
        add("waits for", cell(waiting, 400));
    }
    if let Some(failure) = &view.failure {
        add("failure", paint.red(&cell(&failure.to_string(), 400)));
    }
    add("started", human::instant(view.created_at, &TimeZone::system()));
    if let Some(end) = view.ended_at {
        add("took", human::duration(end.since(view.created_at)));
    }
    if let Some(plan) = &run.plan {
        add("predicted", human::duration(plan.makespan));
    }
    for (name, value) in &run.inputs {
        add(&format!("input {}", cell(name, 40)), cell(&value.to_json().to_string(), 120));
    }
    table.render(paint, "")
}

fn tasks(tasks: &[TaskView], all: bool, paint: Paint) -> String {
    let mut table = Table::new(&[
        ("", Align::Left),
        ("TASK", Align::Left),
        ("STATE", Align::Left),
        ("AGENT", Align::Left),
        ("TRIES", Align::Right),
        ("TOOK", Align::Right),
        ("MEMORY", Align::Right),
        ("", Align::Left),
    ]);
    let mut order: Vec<&str> = Vec::new();
    let mut groups: BTreeMap<&str, Vec<&TaskView>> = BTreeMap::new();
    for task in tasks {
        let group = groups.entry(&task.task).or_default();
        if group.is_empty() {
            order.push(&task.task);
        }
        group.push(task);
    }
    for name in order {
        let group = groups.get(name).map(Vec::as_slice).unwrap_or_default();
        let items: Vec<&TaskView> = group.iter().copied().filter(|t| t.item.is_some()).collect();
        for whole in group.iter().filter(|t| t.item.is_none()) {
            table.row(row(whole, paint));
        }
        if items.len() <= MOST_ITEMS || all {
            items.iter().for_each(|item| table.row(row(item, paint)));
            continue;
        }
        table.row(summary(name, &items, paint));
        let mut wrong: Vec<&&TaskView> = items.iter().filter(|t| rank(t.state) < 2).collect();
        wrong.sort_by_key(|t| (rank(t.state), t.item));
        let more = wrong.len().saturating_sub(MOST_ITEMS);
        wrong.iter().take(MOST_ITEMS).for_each(|item| table.row(row(item, paint)));
        if more > 0 {
            let mut cells = vec![String::new(); 8];
            cells[1] = paint.dim(&format!("  … {more} more: --all"));
            table.row(cells);
        }
    }
    table.render(paint, "")
}

fn row(task: &TaskView, paint: Paint) -> Vec<String> {
    let name = match task.item {
        Some(item) => format!("  {}[{item}]", cell(&task.task, 48)),
        None => cell(&task.task, 48),
    };
    let why = match (&task.failure, &task.reason) {
        // What ends the wait says more than why it began.
        (Some(_), Some(reason)) if task.state == State::Waiting => paint.yellow(&cell(reason, 400)),
        (Some(failure), _) => paint.red(&cell(&failure.to_string(), 120)),
        (None, Some(reason)) => paint.dim(&cell(reason, 120)),
        (None, None) => String::new(),
    };
    // Of an attempt that goes on nobody has said yet what it used.
    let used = task.usage.filter(|u| u.wall_micros > 0);
    let took = used.map(|u| human::micros(u.wall_micros)).or_else(|| {
        let (start, end) = (task.started_at?, task.ended_at?);
        Some(human::duration(end.since(start)))
    });
    let memory = task
        .usage
        .filter(|u| u.peak_memory_bytes > 0)
        .map(|u| human::bytes(u.peak_memory_bytes));
    vec![
        mark(task.state, paint),
        name,
        paint.state(task.state.as_str()),
        task.agent.as_ref().map(|a| cell(a, 32)).unwrap_or_default(),
        if task.attempts == 0 {
            String::new()
        } else {
            task.attempts.to_string()
        },
        took.unwrap_or_default(),
        memory.unwrap_or_default(),
        why,
    ]
}

fn summary(name: &str, items: &[&TaskView], paint: Paint) -> Vec<String> {
    let mut states: BTreeMap<State, usize> = BTreeMap::new();
    for item in items {
        *states.entry(item.state).or_default() += 1;
    }
    let states: Vec<String> = states
        .iter()
        .map(|(state, n)| paint.state(state.as_str()) + &format!(" {n}"))
        .collect();
    let agents: BTreeSet<&str> = items.iter().filter_map(|t| t.agent.as_deref()).collect();
    let agents: Vec<String> = agents.iter().take(3).map(|a| cell(a, 32)).collect();
    let start = items.iter().filter_map(|t| t.started_at).min();
    let end = items.iter().filter_map(|t| t.ended_at).max();
    let took = match (start, end) {
        (Some(start), Some(end)) => human::duration(end.since(start)),
        _ => String::new(),
    };
    let tries: u32 = items.iter().map(|t| t.attempts).sum();
    vec![
        String::new(),
        format!("  {}[0..{}]", cell(name, 48), items.len()),
        states.join(", "),
        agents.join(", "),
        tries.to_string(),
        took,
        String::new(),
        String::new(),
    ]
}

fn fragments(fragments: &[FragmentView], paint: Paint) -> String {
    let mut table = Table::left(&["FRAGMENT", "AGENT", "LINK", "EPOCH", "TASKS"]);
    for fragment in fragments {
        table.row(vec![
            fragment.id.0.to_string(),
            fragment
                .agent_name
                .as_ref()
                .map_or_else(|| "nobody".to_owned(), |name| cell(name, 40)),
            paint.state(fragment.link.as_str()),
            fragment.epoch.0.to_string(),
            cell(&fragment.tasks.join(", "), 100),
        ]);
    }
    let mut out = table.render(paint, "");
    let now = human::now();
    for fragment in fragments {
        if let (Some(since), Some(agent)) = (fragment.away_since, &fragment.agent_name) {
            let then = match fragment.reassign_at {
                Some(at) if at > now => format!("it is given to another agent {}, unless it comes back", human::age(at, now)),
                Some(_) => "another agent is looked for".to_owned(),
                None => "its fragment waits for it (`onDisconnect: continue`), or for `eyot runs reassign`".to_owned(),
            };
            out.push_str(&paint.yellow(&format!(
                "agent {} is out of contact (since {}): {then}\n",
                cell(agent, 40),
                human::age(since, now)
            )));
        }
    }
    out.push_str(&superseded(fragments, paint));
    out
}

/// Assignments that are over, and what came under them too late.
fn superseded(fragments: &[FragmentView], paint: Paint) -> String {
    let mut table = Table::left(&["SUPERSEDED", "AGENT", "EPOCH", "LATE RESULTS", ""]);
    for (fragment, over) in fragments.iter().flat_map(|f| f.superseded.iter().map(move |over| (f, over))) {
        let late: Vec<String> = over.results.iter().take(MOST_ITEMS).map(late).collect();
        let more = over.results.len().saturating_sub(late.len());
        let more = if more > 0 { format!(", … {more} more") } else { String::new() };
        table.row(vec![
            format!("fragment {}", fragment.id.0),
            cell(&over.agent_name, 40),
            over.epoch.0.to_string(),
            cell(&(late.join(", ") + &more), 120),
            paint.dim(&cell(&over.reason, 120)),
        ]);
    }
    if table.is_empty() {
        String::new()
    } else {
        format!("\n{}", table.render(paint, ""))
    }
}

fn late(result: &LateResultView) -> String {
    let item = result.item.map(|item| format!("[{item}]")).unwrap_or_default();
    format!("{}{item} {}", result.task, result.state)
}

//! What came out of the demo, from what the API says of the run.

use anyhow::Result;
use serde::Serialize;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};

/// The last line with `--json`.
#[derive(Debug, PartialEq, Serialize)]
pub(super) struct Outcome {
    pub(super) ok: bool,
    /// Agents that ran at least one task.
    pub(super) agents: usize,
    pub(super) fragments: usize,
    /// Task instances that an agent ran; a `forEach` counts by its items.
    pub(super) tasks: usize,
    pub(super) failed_items: usize,
    /// From submission to the end of the run.
    pub(super) seconds: f64,
}

/// Prints the outputs and who ran what, and sums it up.
pub(super) fn print(run: &Value) -> Result<Outcome> {
    if let Some(outputs) = run["outputs"].as_object() {
        for (name, value) in outputs {
            match value.as_str() {
                Some(text) => eprintln!("\n{name}:\n{}", text.trim_end()),
                None => eprintln!("\n{name}:\n{}", serde_json::to_string_pretty(value)?),
            }
        }
    }
    let tasks = run["tasks"].as_array().map(Vec::as_slice).unwrap_or_default();
    eprintln!("\nWho ran what:");
    for (task, (agents, count)) in by_task(tasks) {
        eprintln!("  {task:<16} {count:>4}  {}", agents.into_iter().collect::<Vec<_>>().join(", "));
    }
    for task in tasks.iter().filter(|task| is_failed_item(task)) {
        eprintln!(
            "  {}[{}] failed: {}",
            word(task, "task"),
            task["item"],
            task["failure"]["message"].as_str().unwrap_or("?")
        );
    }
    let outcome = outcome(run, tasks);
    eprintln!(
        "\n{}: {} tasks on {} agents in {} fragments, {} failed item, {:.1} s",
        word(run, "state"),
        outcome.tasks,
        outcome.agents,
        outcome.fragments,
        outcome.failed_items,
        outcome.seconds
    );
    Ok(outcome)
}

fn word<'a>(value: &'a Value, name: &str) -> &'a str {
    value[name].as_str().unwrap_or("?")
}

/// Whether an attempt of this instance was made; the task of a `forEach` itself makes none.
fn ran(task: &Value) -> bool {
    task["attempts"].as_u64().unwrap_or(0) > 0
}

fn is_failed_item(task: &Value) -> bool {
    task["item"].is_u64() && matches!(word(task, "state"), "failed" | "timed-out")
}

fn by_task(tasks: &[Value]) -> BTreeMap<&str, (BTreeSet<&str>, usize)> {
    let mut all: BTreeMap<&str, (BTreeSet<&str>, usize)> = BTreeMap::new();
    for task in tasks.iter().filter(|task| ran(task)) {
        let (agents, count) = all.entry(word(task, "task")).or_default();
        agents.insert(word(task, "agent"));
        *count += 1;
    }
    all
}

fn outcome(run: &Value, tasks: &[Value]) -> Outcome {
    let agents: BTreeSet<&str> = tasks
        .iter()
        .filter(|task| ran(task))
        .filter_map(|task| task["agent"].as_str())
        .collect();
    let fragments = run["fragments"].as_array().map_or(0, Vec::len);
    let failed_items = tasks.iter().filter(|task| is_failed_item(task)).count();
    let micros = |name: &str| run[name].as_u64().unwrap_or(0);
    let millis = micros("endedAt").saturating_sub(micros("createdAt")) / 1_000;
    Outcome {
        ok: run["state"] == "succeeded" && agents.len() == 2 && fragments >= 2 && failed_items == 1,
        agents: agents.len(),
        fragments,
        tasks: tasks.iter().filter(|task| ran(task)).count(),
        failed_items,
        seconds: millis as f64 / 1_000.0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn sums_up_what_ran() {
        let run = json!({
            "state": "succeeded", "createdAt": 1_000_000, "endedAt": 3_500_000,
            "fragments": [{}, {}],
            "tasks": [
                {"task": "each", "state": "succeeded", "attempts": 0},
                {"task": "each", "item": 0, "state": "succeeded", "attempts": 1, "agent": "camera"},
                {"task": "each", "item": 1, "state": "failed", "attempts": 1, "agent": "camera", "failure": {"message": "broken"}},
                {"task": "report", "state": "succeeded", "attempts": 2, "agent": "compute"},
                {"task": "alarm", "state": "skipped", "attempts": 0},
            ],
        });
        let tasks = run["tasks"].as_array().unwrap();
        let want = Outcome {
            ok: true,
            agents: 2,
            fragments: 2,
            tasks: 3,
            failed_items: 1,
            seconds: 2.5,
        };
        assert_eq!(outcome(&run, tasks), want);
        assert_eq!(
            serde_json::to_string(&want).unwrap(),
            r#"{"ok":true,"agents":2,"fragments":2,"tasks":3,"failed_items":1,"seconds":2.5}"#
        );
        assert_eq!(by_task(tasks)["each"].1, 2);
    }

    #[test]
    fn a_run_that_failed_is_not_ok() {
        assert!(!outcome(&json!({"state": "failed"}), &[]).ok);
    }
}

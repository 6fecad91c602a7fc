//! The real programs, from end to end: each test is a story of its own, with its own control plane and devices.

mod backup;
mod cancel;
mod checkpoints;
mod damage;
mod disconnect;
mod happy;
mod identity;
mod intruders;
mod joining;
mod limits;
mod local;
mod mistakes;
mod refusals;
mod restarts;
mod unknown;

use eyot_model::api::{RunDetail, TaskView};

/// An instance that is not an item of a `forEach`.
fn task<'a>(detail: &'a RunDetail, name: &str) -> anyhow::Result<&'a TaskView> {
    let found = detail.tasks.iter().find(|task| task.task == name && task.item.is_none());
    found.ok_or_else(|| anyhow::anyhow!("the run has no task {name}"))
}

/// The instances of a `forEach`, in order.
fn items<'a>(detail: &'a RunDetail, name: &str) -> Vec<&'a TaskView> {
    let mut items: Vec<&TaskView> = detail
        .tasks
        .iter()
        .filter(|task| task.task == name && task.item.is_some())
        .collect();
    items.sort_by_key(|task| task.item);
    items
}

/// The smallest workflow, on whichever agent there is.
const SMALL: &str = r#"
apiVersion: eyot.dev/v1
kind: Workflow
metadata: {name: small, version: "1"}
spec:
  outputs: {answer: "${{ tasks.only.outputs.echo }}"}
  tasks:
    only: {uses: scenarios/probe@1, with: {echo: 42}}
"#;

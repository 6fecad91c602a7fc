//! A device falls asleep for longer than the grace time, and wakes up to find its work given to another one.

use crate::load::{submit, whole};
use crate::{Figure, Setting, invariant};
use anyhow::{Context, Result, ensure};
use eyot_model::api::{RunDetail, RunEvent};
use eyot_model::{RunState, State, Value};
use eyot_scenarios::{Agent, Cloud, Stage, until, until_within};
use rustix::process::{Pid, Signal, kill_process};
use std::collections::BTreeMap;
use std::time::Duration;

/// On whichever device there is; given away when it is out of contact for two seconds.
const WORKFLOW: &str = r#"
apiVersion: eyot.dev/v1
kind: Workflow
metadata: {name: sleep, version: "1"}
spec:
  onDisconnect: {reassignAfter: 2s}
  outputs: {answer: "${{ size(tasks.items.outputs) }}"}
  tasks:
    items:
      uses: scenarios/probe@1
      forEach: {items: range(60), as: n, maxParallel: 2}
      with: {work_ms: 200, echo: "${{ n }}"}
      retry: {maxAttempts: 4, initialInterval: 100ms}
"#;

pub(crate) async fn run(setting: &Setting) -> Result<Vec<Figure>> {
    let stage = Stage::open()?;
    let mut cloud = Cloud::start(&stage, "cloud").await?;
    cloud.push_probe().await?;
    let mut sleeper = cloud.agent(&stage, "sleeper").await?;
    let client = cloud.client().clone();
    let run = submit(&client, WORKFLOW, "sleep").await?;
    cloud.run_until(run, "is under way", |detail| succeeded(detail) >= 5).await?;
    // Comes only now, so that the work is the other one's.
    let mut other = cloud.agent(&stage, "other").await?;

    signal(&sleeper, Signal::STOP)?;
    let begun = std::time::Instant::now();
    setting.say("asleep");
    until_within(Duration::from_secs(120), "the work is given to the other device", async || {
        let detail = client.run(run).await?;
        Ok(detail
            .fragments
            .iter()
            .any(|f| f.agent_name.as_deref() == Some("other"))
            .then_some(()))
    })
    .await?;
    let given = begun.elapsed();
    setting.say(&format!("given to the other device after {:.1} s", given.as_secs_f64()));
    let before = succeeded(&client.run(run).await?);
    cloud
        .run_until(run, "goes on elsewhere", |detail| succeeded(detail) >= before + 3)
        .await?;
    signal(&sleeper, Signal::CONT)?;
    cloud
        .run_until(run, "ends", |detail| detail.run.state == RunState::Succeeded)
        .await?;
    cloud.connected("sleeper").await?;
    let (detail, events) = whole(&client, run).await?;
    invariant::history(&events, &BTreeMap::new())?;
    ensure!(detail.outputs.get("answer") == Some(&Value::Int(60)), "{:?}", detail.outputs);
    let of = |event: &RunEvent, name: &str| event.agent.as_deref() == Some(name);
    let taken = events
        .iter()
        .find(|event| event.kind == "assigned" && of(event, "other"))
        .context("no event says that the work was given away")?;
    let late: Vec<_> = events
        .iter()
        .filter(|event| event.seq > taken.seq && of(event, "sleeper") && matches!(event.kind.as_str(), "started" | "ended"))
        .collect();
    ensure!(late.is_empty(), "committed after its work was given away: {late:?}");
    let superseded = until("what the sleeper did is shown as superseded", async || {
        let detail = client.run(run).await?;
        let over = detail.fragments.iter().flat_map(|fragment| &fragment.superseded);
        let of_the_sleeper = over.filter(|over| over.agent_name == "sleeper").count();
        Ok((of_the_sleeper > 0).then_some(of_the_sleeper))
    })
    .await?;
    let show = cloud.eyot()?.args(["runs", "show", &run.to_string()]).output()?;
    let shown = String::from_utf8_lossy(&show.stdout).contains("SUPERSEDED");
    ensure!(shown, "`eyot runs show` does not say so: {}", String::from_utf8_lossy(&show.stdout));
    setting.say(&format!(
        "woke up: its results are superseded ({superseded} assignment), the other device ended the work"
    ));
    sleeper.must_live()?;
    other.must_live()?;
    cloud.must_live()?;
    drop((sleeper, other, cloud));
    stage.close();
    Ok(vec![
        setting.figure("given-away-after", given.as_secs_f64(), "s", 1),
        setting.count("superseded", superseded),
    ])
}

fn succeeded(detail: &RunDetail) -> usize {
    let items = detail.tasks.iter().filter(|task| task.item.is_some());
    items.filter(|item| item.state == State::Succeeded).count()
}

fn signal(agent: &Agent, signal: Signal) -> Result<()> {
    let pid = Pid::from_raw(i32::try_from(agent.pid()?)?).context("no process id")?;
    Ok(kill_process(pid, signal)?)
}

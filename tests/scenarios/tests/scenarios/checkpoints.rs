//! Tasks that save how far they are: what they did is not done again, on this device or on another.

use crate::task;
use anyhow::{Context, Result, bail, ensure};
use eyot_model::api::{RunDetail, TaskView};
use eyot_model::{Inputs, RunId, State, Value};
use eyot_scenarios::{Agent, Cloud, Stage, until};
use std::collections::BTreeMap;
use std::time::Duration;

/// One task of `work` milliseconds in steps of 10 ms, which saves every `save` milliseconds a state of `bytes` bytes.
fn workflow(work: u64, save: u64, bytes: u64) -> String {
    format!(
        r#"
apiVersion: eyot.dev/v1
kind: Workflow
metadata: {{name: long, version: "1"}}
spec:
  tasks:
    work:
      uses: scenarios/probe@1
      with: {{act: steps, work_ms: {work}, save_ms: {save}, state_bytes: {bytes}}}
      retry: {{maxAttempts: 3, initialInterval: 100ms}}
"#
    )
}

fn number(task: &TaskView, name: &str) -> Result<u64> {
    match task.outputs.as_ref().and_then(|outputs| outputs.get(name)) {
        Some(Value::Int(n)) => Ok(u64::try_from(*n)?),
        other => bail!("{name} is {other:?}"),
    }
}

/// Waits until the task has reported at least so many steps.
async fn at_step(cloud: &Cloud, run: RunId, step: u64) -> Result<()> {
    until(&format!("step {step} is done"), async || {
        let lines = cloud.client().logs(run, None).await?.items;
        let done = lines
            .iter()
            .filter_map(|line| line.message.split_once(" of ")?.0.parse::<u64>().ok())
            .max();
        Ok(done.filter(|done| *done >= step))
    })
    .await?;
    Ok(())
}

/// Killed at `kill_at` per cent of its work and started again. Gives the share of the work, in per cent, that was done twice.
async fn killed_at(work: u64, save: u64, bytes: u64, kill_at: u64) -> Result<u64> {
    let stage = Stage::open()?;
    let cloud = Cloud::start(&stage, "cloud").await?;
    let mut agent = cloud.agent(&stage, "device").await?;
    cloud.push_probe().await?;
    let run = cloud.submit(&workflow(work, save, bytes), Inputs::new()).await?;
    let all = work / 10;
    // In parts, because one wait is bounded.
    for part in [25, 50, kill_at] {
        at_step(&cloud, run, all * part / 100).await?;
    }
    agent.kill()?;
    agent.start()?;
    let detail = cloud.succeeded(run).await?;
    let task = task(&detail, "work")?;
    ensure!(task.attempts == 2, "{task:?}");
    ensure!(number(task, "steps")? == all);
    // Every step after the one that was saved last, up to the kill, was done a second time.
    let from = number(task, "from")?;
    let lines = cloud.client().logs(run, None).await?.items;
    let first = lines.iter().filter(|line| line.attempt == 1);
    let reached = first
        .filter_map(|line| line.message.split_once(" of ")?.0.parse::<u64>().ok())
        .max();
    stage.close();
    Ok(reached.context("no step was reported")?.saturating_sub(from) * 100 / all)
}

#[tokio::test]
async fn a_task_that_is_killed_goes_on_from_what_it_saved() -> Result<()> {
    // Four seconds and a state every 300 ms: what is done twice is at most what was not saved.
    let twice = killed_at(4_000, 300, 0, 75).await?;
    ensure!(twice <= 15, "{twice}% of the work was done twice");
    Ok(())
}

#[tokio::test]
async fn a_state_that_is_a_blob_is_taken_up_too() -> Result<()> {
    let twice = killed_at(3_000, 200, 100_000, 75).await?;
    ensure!(twice <= 15, "{twice}% of the work was done twice");
    Ok(())
}

/// The default cadence. A minute is long for every day: `EYOT_LONG=1` asks for it.
#[tokio::test]
async fn a_minute_of_work_killed_at_nine_tenths_is_hardly_done_twice() -> Result<()> {
    if std::env::var_os("EYOT_LONG").is_none() {
        return Ok(());
    }
    let twice = killed_at(60_000, 5_000, 0, 90).await?;
    eprintln!("{twice}% of the work was done twice");
    ensure!(twice <= 15, "{twice}% of the work was done twice");
    Ok(())
}

struct Pair {
    stage: Stage,
    cloud: Cloud,
    agents: BTreeMap<&'static str, Agent>,
}

async fn pair() -> Result<Pair> {
    let stage = Stage::open()?;
    let cloud = Cloud::start(&stage, "cloud").await?;
    let mut agents = BTreeMap::new();
    for name in ["left", "right"] {
        agents.insert(name, cloud.agent(&stage, name).await?);
    }
    cloud.push_probe().await?;
    Ok(Pair { stage, cloud, agents })
}

fn where_it_runs(detail: &RunDetail) -> Option<String> {
    let work = task(detail, "work").ok()?;
    work.agent.clone().filter(|_| work.state == State::Running)
}

#[tokio::test]
async fn a_drained_agent_hands_its_running_task_over_and_nothing_is_done_twice_for_long() -> Result<()> {
    for bytes in [0, 50_000] {
        let mut pair = pair().await?;
        let run = pair.cloud.submit(&workflow(6_000, 200, bytes), Inputs::new()).await?;
        let detail = pair.cloud.run_until(run, "runs", |detail| where_it_runs(detail).is_some()).await?;
        let from = where_it_runs(&detail).context("it runs")?;
        at_step(&pair.cloud, run, 150).await?;

        let mut drain = pair.cloud.eyot()?;
        drain.args(["-o", "json", "agents", "drain", &from, "--timeout", "50s"]);
        let done = tokio::process::Command::from(drain).output().await?;
        let said = String::from_utf8_lossy(&done.stderr);
        ensure!(done.status.success(), "eyot agents drain ended with {}: {said}", done.status);
        let view: serde_json::Value = serde_json::from_slice(&done.stdout)?;
        ensure!(view["fragments"].as_array().is_some_and(Vec::is_empty), "{view}");
        let drained = pair.cloud.client().agent(&from).await?;
        ensure!(drained.draining && drained.fragments == 0, "{drained:?}");

        let detail = pair.cloud.succeeded(run).await?;
        let work = task(&detail, "work")?;
        ensure!(work.agent.as_deref().is_some_and(|agent| agent != from), "{work:?}");
        ensure!(work.attempts == 1, "a move is no attempt: {work:?}");
        ensure!(number(work, "steps")? == 600 && number(work, "from")? >= 100, "{work:?}");
        let events = pair.cloud.events(run).await?;
        ensure!(events.iter().any(|event| event.kind == "yielded"), "it did not yield");

        // It gets work again once it is asked to.
        pair.cloud.client().cordon(&from, false).await?;
        ensure!(!pair.cloud.client().agent(&from).await?.draining);
        for agent in pair.agents.values_mut() {
            agent.must_live()?;
        }
        pair.stage.close();
    }
    Ok(())
}

#[tokio::test]
async fn what_cannot_move_says_why_and_stays() -> Result<()> {
    let stage = Stage::open()?;
    let cloud = Cloud::start(&stage, "cloud").await?;
    let _only = cloud.agent(&stage, "only").await?;
    cloud.push_probe().await?;
    let run = cloud.submit(&workflow(3_000, 200, 0), Inputs::new()).await?;
    cloud.run_until(run, "runs", |detail| where_it_runs(detail).is_some()).await?;
    let stays = until("it says why", async || {
        let view = cloud.client().drain("only").await?;
        let first = view.fragments.into_iter().next().context("the fragment is gone")?;
        Ok(first.stays)
    })
    .await?;
    ensure!(!stays.is_empty());
    let detail = cloud.succeeded(run).await?;
    ensure!(task(&detail, "work")?.agent.as_deref() == Some("only"));
    ensure!(cloud.client().drain("only").await?.fragments.is_empty());
    stage.close();
    Ok(())
}

#[tokio::test]
async fn an_agent_that_is_stopped_in_order_goes_on_without_an_attempt() -> Result<()> {
    let stage = Stage::open()?;
    let cloud = Cloud::start(&stage, "cloud").await?;
    let mut agent = cloud.agent(&stage, "device").await?;
    cloud.push_probe().await?;
    let run = cloud.submit(&workflow(3_000, 100, 0), Inputs::new()).await?;
    at_step(&cloud, run, 60).await?;
    agent.stop()?;
    tokio::time::sleep(Duration::from_millis(100)).await;
    agent.start()?;
    let detail = cloud.succeeded(run).await?;
    let work = task(&detail, "work")?;
    ensure!(work.attempts == 1 && number(work, "from")? > 0, "{work:?}");
    stage.close();
    Ok(())
}

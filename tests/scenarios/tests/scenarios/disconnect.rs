//! Agents that are out of contact: stopped, and back after others were given their work.

use crate::task;
use anyhow::{Context, Result, ensure};
use eyot_model::{Inputs, LinkState, State};
use eyot_scenarios::{Agent, Cloud, Stage, until};
use rustix::process::{Pid, Signal, kill_process};

/// Two tasks in a row that prefer one agent and can run on any.
fn workflow(on_disconnect: &str) -> String {
    format!(
        r#"
apiVersion: eyot.dev/v1
kind: Workflow
metadata: {{name: moves, version: "1"}}
spec:
  onDisconnect: {on_disconnect}
  outputs: {{answer: "${{{{ tasks.second.outputs.echo }}}}"}}
  tasks:
    first: {{uses: scenarios/probe@1, with: {{work_ms: 4000, echo: 1}}, placement: {{prefer: "agent.labels.name == 'sleeper'"}}}}
    second: {{uses: scenarios/probe@1, with: {{echo: "${{{{ tasks.first.outputs.echo + 1 }}}}"}}, placement: {{prefer: "agent.labels.name == 'sleeper'"}}}}
"#
    )
}

fn signal(pid: u32, signal: Signal) -> Result<()> {
    let pid = Pid::from_raw(i32::try_from(pid)?).context("no process has this number")?;
    Ok(kill_process(pid, signal)?)
}

#[tokio::test]
async fn the_work_of_a_stopped_agent_is_ended_by_another_and_its_own_results_are_superseded() -> Result<()> {
    let stage = Stage::open()?;
    let cloud = Cloud::start(&stage, "cloud").await?;
    let mut sleeper = cloud.agent(&stage, "sleeper").await?;
    let mut other = cloud.agent(&stage, "other").await?;
    cloud.push_probe().await?;
    let run = cloud.submit(&workflow("{reassignAfter: 2s}"), Inputs::new()).await?;
    let runs_there = |detail: &_| task(detail, "first").is_ok_and(|t| t.state == State::Running && t.agent.as_deref() == Some("sleeper"));
    cloud.run_until(run, "runs on the sleeper", runs_there).await?;

    signal(sleeper.pid()?, Signal::STOP)?;
    let lost = |detail: &eyot_model::api::RunDetail| {
        let shown = task(detail, "first").is_ok_and(|t| t.state == State::Disconnected);
        shown && detail.fragments.iter().any(|f| f.away_since.is_some() && f.reassign_at.is_some())
    };
    cloud.run_until(run, "shows that it is out of contact", lost).await?;
    let detail = cloud.succeeded(run).await?;
    ensure!(task(&detail, "first")?.agent.as_deref() == Some("other"), "{:?}", detail.tasks);
    ensure!(
        detail.outputs.get("answer").is_some_and(|v| v.to_json() == 2),
        "{:?}",
        detail.outputs
    );
    let fragment = detail.fragments.first().context("no fragment")?;
    ensure!(fragment.epoch.0 == 2, "{fragment:?}");
    let over = fragment.superseded.first().context("nothing is superseded")?;
    ensure!(over.agent_name == "sleeper" && over.epoch.0 == 1, "{over:?}");

    // It wakes, is told so, and takes new work.
    signal(sleeper.pid()?, Signal::CONT)?;
    cloud.connected("sleeper").await?;
    let run = cloud.submit(crate::SMALL, Inputs::new()).await?;
    cloud.succeeded(run).await?;
    sleeper.must_live()?;
    other.must_live()?;
    stage.close();
    Ok(())
}

#[tokio::test]
async fn results_of_a_sleeper_that_wakes_in_mid_run_are_told_and_change_nothing() -> Result<()> {
    let stage = Stage::open()?;
    let cloud = Cloud::start(&stage, "cloud").await?;
    let mut sleeper = cloud.agent(&stage, "sleeper").await?;
    let mut other = cloud.agent(&stage, "other").await?;
    cloud.push_probe().await?;
    let run = cloud.submit(&workflow("{reassignAfter: 1s}"), Inputs::new()).await?;
    let runs_there = |detail: &_| task(detail, "first").is_ok_and(|t| t.state == State::Running && t.agent.as_deref() == Some("sleeper"));
    cloud.run_until(run, "runs on the sleeper", runs_there).await?;
    signal(sleeper.pid()?, Signal::STOP)?;
    let moved = |detail: &eyot_model::api::RunDetail| detail.fragments.iter().any(|f| f.epoch.0 == 2);
    cloud.run_until(run, "has moved", moved).await?;
    // The other one has four seconds of work; the sleeper's own is over as soon as it wakes.
    signal(sleeper.pid()?, Signal::CONT)?;
    let detail = cloud.succeeded(run).await?;
    ensure!(task(&detail, "first")?.agent.as_deref() == Some("other"), "{:?}", detail.tasks);
    let events = cloud.events(run).await?;
    let commits = events.iter().filter(|e| e.state == Some(State::Succeeded)).count();
    ensure!(commits == 2, "{commits} results were committed");
    sleeper.must_live()?;
    other.must_live()?;
    stage.close();
    Ok(())
}

#[tokio::test]
async fn an_agent_pauses_what_has_a_lease_until_the_control_plane_answers() -> Result<()> {
    let stage = Stage::open()?;
    let mut cloud = Cloud::start(&stage, "cloud").await?;
    let mut agent = cloud.agent(&stage, "sleeper").await?;
    cloud.push_probe().await?;
    let run = cloud.submit(&workflow("{pauseAfter: 2s}"), Inputs::new()).await?;
    let running = |detail: &_| task(detail, "first").is_ok_and(|t| t.state == State::Running);
    cloud.run_until(run, "runs", running).await?;
    cloud.kill()?;
    let paused = |agent: &Agent| {
        let status = agent.status()?;
        anyhow::Ok((status["runs"][0]["paused"] == true && status["running"] == 0).then_some(()))
    };
    until("the agent has paused", async || paused(&agent)).await?;
    // Not after a restart of the device either.
    agent.kill()?;
    agent.start()?;
    until("the agent is still paused", async || paused(&agent)).await?;

    cloud.serve().await?;
    let detail = cloud.succeeded(run).await?;
    let first = task(&detail, "first")?;
    ensure!(first.attempts == 1, "a pause is no failure: {first:?}");
    agent.must_live()?;
    stage.close();
    Ok(())
}

#[tokio::test]
async fn an_operator_ends_the_wait_for_an_agent_that_is_gone() -> Result<()> {
    let stage = Stage::open()?;
    let cloud = Cloud::start(&stage, "cloud").await?;
    let mut sleeper = cloud.agent(&stage, "sleeper").await?;
    let mut other = cloud.agent(&stage, "other").await?;
    cloud.push_probe().await?;
    let run = cloud.submit(&workflow("continue"), Inputs::new()).await?;
    let runs_there = |detail: &_| task(detail, "first").is_ok_and(|t| t.state == State::Running && t.agent.as_deref() == Some("sleeper"));
    cloud.run_until(run, "runs on the sleeper", runs_there).await?;
    sleeper.kill()?;
    until("the sleeper is out of contact", async || {
        let link = cloud.client().agent("sleeper").await?.link;
        Ok((link == LinkState::Disconnected).then_some(()))
    })
    .await?;
    let mut reassign = cloud.eyot()?;
    reassign.args(["runs", "reassign", &run.to_string()]);
    let done = tokio::process::Command::from(reassign).output().await?;
    ensure!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    let detail = cloud.succeeded(run).await?;
    ensure!(task(&detail, "second")?.agent.as_deref() == Some("other"), "{:?}", detail.tasks);
    other.must_live()?;
    stage.close();
    Ok(())
}

#[tokio::test]
async fn a_copy_of_an_agent_s_disk_is_refused_and_an_operator_lets_it_begin_anew() -> Result<()> {
    let stage = Stage::open()?;
    let cloud = Cloud::start(&stage, "cloud").await?;
    let mut agent = cloud.agent(&stage, "device").await?;
    agent.stop()?;
    let copy = stage.path("copy");
    copy_folder(agent.data(), &copy)?;
    agent.start()?;
    cloud.connected("device").await?;
    agent.stop()?;
    // The device goes back to what it was before its last start.
    std::fs::remove_dir_all(agent.data())?;
    std::fs::rename(&copy, agent.data())?;
    agent.start()?;
    agent.says(&["takes this device for a copy"]).await?;
    cloud.says(&["alarm", "readmit"]).await?;
    agent.stop()?;
    cloud.client().readmit("device").await?;
    agent.start()?;
    cloud.connected("device").await?;
    stage.close();
    Ok(())
}

fn copy_folder(from: &std::path::Path, to: &std::path::Path) -> Result<()> {
    std::fs::create_dir_all(to)?;
    for entry in std::fs::read_dir(from)? {
        let entry = entry?;
        let (kind, target) = (entry.file_type()?, to.join(entry.file_name()));
        if kind.is_dir() {
            copy_folder(&entry.path(), &target)?;
        } else if kind.is_file() {
            std::fs::copy(entry.path(), &target)?;
        }
    }
    Ok(())
}

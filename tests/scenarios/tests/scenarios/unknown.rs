//! A task that must not be repeated, cut off in its middle: it waits until somebody says what became of it.

use crate::task;
use anyhow::{Context, Result, ensure};
use eyot_model::api::{ResolutionView, ResolveRequest};
use eyot_model::{FailureKind, Inputs, Outputs, RunState, State, Value};
use eyot_scenarios::{Agent, Cloud, Stage};

const WORKFLOW: &str = r#"
apiVersion: eyot.dev/v1
kind: Workflow
metadata: {name: pays, version: "1"}
spec:
  outputs: {answer: "${{ tasks.after.outputs.echo }}"}
  tasks:
    pay:
      uses: scenarios/probe@1
      idempotent: false
      with: {work_ms: 3000, echo: paid}
    after:
      uses: scenarios/probe@1
      with: {echo: "${{ tasks.pay.outputs.echo }}"}
"#;

struct Scene {
    stage: Stage,
    cloud: Cloud,
    agent: Agent,
    run: eyot_model::RunId,
}

/// The payment was cut off, and the device is back.
async fn cut_off() -> Result<Scene> {
    let stage = Stage::open()?;
    let cloud = Cloud::start(&stage, "cloud").await?;
    let mut agent = cloud.agent(&stage, "device").await?;
    cloud.push_probe().await?;
    let run = cloud.submit(WORKFLOW, Inputs::new()).await?;
    let runs = |detail: &_| task(detail, "pay").is_ok_and(|pay| pay.state == State::Running);
    cloud.run_until(run, "pays", runs).await?;
    agent.kill()?;
    agent.start()?;
    let waits = |detail: &_| task(detail, "pay").is_ok_and(|pay| pay.state == State::Waiting);
    let detail = cloud.run_until(run, "waits", waits).await?;
    let pay = task(&detail, "pay")?;
    ensure!(
        pay.failure.as_ref().is_some_and(|f| f.kind == FailureKind::OutcomeUnknown),
        "{pay:?}"
    );
    let reason = pay.reason.as_deref().unwrap_or_default();
    ensure!(reason.contains(&format!("eyot runs resolve {run} pay")), "{pay:?}");
    ensure!(task(&detail, "after")?.state == State::Pending);
    Ok(Scene { stage, cloud, agent, run })
}

async fn eyot(scene: &Scene, arguments: &[&str]) -> Result<()> {
    let mut eyot = scene.cloud.eyot()?;
    eyot.args(["runs", "resolve", &scene.run.to_string(), "pay"]).args(arguments);
    let done = tokio::process::Command::from(eyot).output().await?;
    let said = String::from_utf8_lossy(&done.stderr);
    ensure!(done.status.success(), "eyot ended with {}: {said}", done.status);
    Ok(())
}

#[tokio::test]
async fn an_operator_says_that_it_happened() -> Result<()> {
    let scene = cut_off().await?;
    eyot(&scene, &["--succeeded", "--value", "echo=by hand", "--value", "attempt=1"]).await?;
    let detail = scene.cloud.succeeded(scene.run).await?;
    ensure!(
        detail.outputs.get("answer") == Some(&Value::from("by hand")),
        "{:?}",
        detail.outputs
    );
    ensure!(task(&detail, "pay")?.attempts == 1);
    scene.stage.close();
    Ok(())
}

#[tokio::test]
async fn an_operator_has_it_tried_again() -> Result<()> {
    let scene = cut_off().await?;
    eyot(&scene, &["--retry"]).await?;
    let detail = scene.cloud.succeeded(scene.run).await?;
    ensure!(task(&detail, "pay")?.attempts == 2);
    ensure!(detail.outputs.get("answer") == Some(&Value::from("paid")), "{:?}", detail.outputs);
    scene.stage.close();
    Ok(())
}

#[tokio::test]
async fn nobody_resolves_what_does_not_wait_or_whose_agent_is_away() -> Result<()> {
    let mut scene = cut_off().await?;
    let request = |task: &str, resolution| ResolveRequest {
        task: task.to_owned(),
        item: None,
        resolution,
        outputs: Outputs::new(),
        by: None,
    };
    let client = scene.cloud.client();
    let refused = client.resolve(scene.run, &request("after", ResolutionView::Failed)).await;
    ensure!(
        refused.as_ref().err().map(eyot_client::Error::code) == Some("run.not-waiting"),
        "{refused:?}"
    );
    scene.agent.kill()?;
    let gone = eyot_scenarios::until("its agent is away", async || {
        let refused = client.resolve(scene.run, &request("pay", ResolutionView::Failed)).await;
        Ok(refused.err().filter(|error| error.code() == "run.owner-away"))
    })
    .await?;
    ensure!(gone.to_string().contains("out of contact"), "{gone}");
    scene.agent.start()?;
    scene.cloud.connected("device").await?;
    client.resolve(scene.run, &request("pay", ResolutionView::Failed)).await?;
    let detail = scene.cloud.ended(scene.run).await?;
    ensure!(detail.run.state == RunState::Failed, "{:?}", detail.run);
    ensure!(task(&detail, "after")?.state == State::UpstreamFailed);
    scene.stage.close();
    Ok(())
}

#[tokio::test]
async fn a_run_of_the_agents_own_is_resolved_on_the_device_and_from_the_control_plane() -> Result<()> {
    let stage = Stage::open()?;
    let cloud = Cloud::start(&stage, "cloud").await?;
    let mut agent = cloud.agent(&stage, "device").await?;
    agent.answers().await?;
    agent.push_probe().await?;
    let local = agent.client()?;
    let mut waiting = Vec::new();
    for _ in 0..2 {
        let run = agent.begin(WORKFLOW).await?;
        eyot_scenarios::until("it pays", async || {
            let detail = local.run(run).await?;
            Ok(task(&detail, "pay").is_ok_and(|pay| pay.state == State::Running).then_some(()))
        })
        .await?;
        waiting.push(run);
    }
    agent.kill()?;
    agent.start()?;
    agent.answers().await?;
    let [here, there] = waiting[..] else { anyhow::bail!("two runs") };
    // Shown once it is durable.
    let detail = eyot_scenarios::until("it waits", async || {
        let detail = local.run(here).await?;
        let waits = task(&detail, "pay").is_ok_and(|pay| pay.state == State::Waiting);
        Ok(waits.then_some(detail))
    })
    .await?;
    let reason = task(&detail, "pay")?.reason.clone().unwrap_or_default();
    ensure!(reason.contains(&format!("eyot --agent runs resolve {here} pay")), "{detail:?}");
    let run = here.to_string();
    let words = [
        "-o",
        "json",
        "runs",
        "resolve",
        &run,
        "pay",
        "--succeeded",
        "--value",
        "echo=by hand",
    ];
    // What the component declares is asked of a person too.
    for (more, wrong) in [(&[][..], "is missing"), (&["--value", "attempt=first"], "`attempt`")] {
        let refused = agent.ask(&[&words, more].concat()).await.err().context("it was taken")?;
        let said = format!("{refused:#}");
        ensure!(said.contains("run.bad-resolution") && said.contains(wrong), "{said}");
    }
    agent.ask(&[&words[..], &["--value", "attempt=1"]].concat()).await?;
    let detail = agent.own_succeeded(here).await?;
    ensure!(detail.outputs.get("answer") == Some(&Value::from("by hand")), "{detail:?}");
    cloud
        .run_until(there, "waits", |detail| {
            task(detail, "pay").is_ok_and(|pay| pay.state == State::Waiting)
        })
        .await?;
    let mut eyot = cloud.eyot()?;
    eyot.args(["runs", "resolve", &there.to_string(), "pay", "--retry"]);
    let done = tokio::process::Command::from(eyot).output().await?;
    ensure!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    let detail = agent.own_succeeded(there).await?;
    ensure!(task(&detail, "pay")?.attempts == 2, "{detail:?}");
    cloud.succeeded(there).await?;
    stage.close();
    Ok(())
}

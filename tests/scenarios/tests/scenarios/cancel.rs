//! Stopping a run while a task of it runs.

use crate::{SMALL, task};
use anyhow::{Result, ensure};
use eyot_model::{Inputs, RunState, State};
use eyot_scenarios::{Cloud, Stage};
use std::time::{Duration, Instant};

const WORKFLOW: &str = r#"
apiVersion: eyot.dev/v1
kind: Workflow
metadata: {name: endless, version: "1"}
spec:
  tasks:
    endless: {uses: scenarios/probe@1, with: {act: loop}}
    after: {needs: [endless], uses: scenarios/probe@1}
"#;

#[tokio::test]
async fn a_run_is_cancelled_while_a_task_of_it_loops() -> Result<()> {
    let stage = Stage::open()?;
    let cloud = Cloud::start(&stage, "cloud").await?;
    let mut agent = cloud.agent(&stage, "device").await?;
    cloud.push_probe().await?;
    // Makes the component ready: what is timed below is the end of the task.
    let run = cloud.submit(SMALL, Inputs::new()).await?;
    cloud.succeeded(run).await?;
    let run = cloud.submit(WORKFLOW, Inputs::new()).await?;
    let running = |detail: &_| task(detail, "endless").is_ok_and(|task| task.state == State::Running);
    cloud.run_until(run, "runs the endless task", running).await?;

    let asked = Instant::now();
    cloud.client().cancel(run).await?;
    let detail = cloud.ended(run).await?;
    let took = asked.elapsed();
    eprintln!("cancelled within {} ms", took.as_millis());
    ensure!(detail.run.state == RunState::Cancelled, "{:?}", detail.run);
    ensure!(took < Duration::from_secs(10), "it took {took:?}");
    for name in ["endless", "after"] {
        let task = task(&detail, name)?;
        ensure!(task.state == State::Cancelled, "{task:?}");
    }

    // The room that it took is free again.
    let run = cloud.submit(SMALL, Inputs::new()).await?;
    cloud.succeeded(run).await?;
    agent.must_live()?;
    stage.close();
    Ok(())
}

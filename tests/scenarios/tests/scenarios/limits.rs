//! Tasks that do harm: they end at their limits, and nothing else notices.

use crate::{items, task};
use anyhow::{Context, Result, ensure};
use eyot_model::{FailureKind, Inputs, RunState, State};
use eyot_scenarios::{Cloud, Stage};

/// `first` makes the component ready, so that the limits are about the tasks alone.
const WORKFLOW: &str = r#"
apiVersion: eyot.dev/v1
kind: Workflow
metadata: {name: harmful, version: "1"}
spec:
  onFailure: finish
  tasks:
    first: {uses: scenarios/probe@1}
    endless:
      needs: [first]
      uses: scenarios/probe@1
      with: {act: loop}
      timeout: 2s
      retry: {maxAttempts: 1}
    greedy:
      needs: [first]
      uses: scenarios/probe@1
      with: {act: alloc}
      resources: {memory: 64Mi}
      retry: {maxAttempts: 1}
    beside:
      needs: [first]
      uses: scenarios/probe@1
      forEach: {items: range(10), as: n, maxParallel: 1}
      with: {work_ms: 100, echo: "${{ n }}"}
    after:
      needs: [endless, greedy]
      triggerRule: all_done
      uses: scenarios/probe@1
"#;

#[tokio::test]
async fn a_task_that_never_ends_and_one_that_takes_all_memory_end_at_their_limits() -> Result<()> {
    let stage = Stage::open()?;
    let cloud = Cloud::start(&stage, "cloud").await?;
    let mut agent = cloud.agent(&stage, "device").await?;
    cloud.push_probe().await?;
    let pid = agent.pid()?;
    let run = cloud.submit(WORKFLOW, Inputs::new()).await?;
    let detail = cloud.ended(run).await?;
    ensure!(detail.run.state == RunState::Failed, "{:?}", detail.run);

    let endless = task(&detail, "endless")?;
    ensure!(matches!(endless.state, State::Failed | State::TimedOut), "{endless:?}");
    ensure!(endless.attempts == 1, "{endless:?}");
    let failure = endless.failure.as_ref().context("no failure")?;
    ensure!(
        failure.kind == FailureKind::Timeout && failure.to_string().starts_with("limit.timeout: "),
        "{failure:?}"
    );
    let wall = endless.usage.as_ref().context("no usage")?.wall_micros as f64 / 1e6;
    eprintln!("the endless loop with a time limit of 2 s ended after {wall:.3} s");
    ensure!((2.0..4.0).contains(&wall), "it ended after {wall} s");

    let greedy = task(&detail, "greedy")?;
    ensure!(greedy.state == State::Failed && greedy.attempts == 1, "{greedy:?}");
    let failure = greedy.failure.as_ref().context("no failure")?;
    ensure!(
        failure.kind == FailureKind::MemoryLimit && failure.to_string().starts_with("limit.memory: "),
        "{failure:?}"
    );
    let peak = greedy.usage.as_ref().context("no usage")?.peak_memory_bytes as f64 / f64::from(1 << 20);
    eprintln!("the allocation without end with a limit of 64 MiB had {peak:.1} MiB");
    ensure!((32.0..=64.0).contains(&peak), "it had {peak} MiB");

    let beside = items(&detail, "beside");
    ensure!(
        beside.len() == 10 && beside.iter().all(|item| item.state == State::Succeeded),
        "{beside:?}"
    );
    ensure!(task(&detail, "after")?.state == State::Succeeded, "{:?}", task(&detail, "after")?);
    agent.must_live()?;
    ensure!(agent.pid()? == pid);
    stage.close();
    Ok(())
}

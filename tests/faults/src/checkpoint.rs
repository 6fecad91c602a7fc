//! A long task that saves how far it has come is killed close to its end.

use crate::load::{now, submit, whole};
use crate::world::World;
use crate::{Figure, Setting, invariant};
use anyhow::{Context, Result, ensure};
use eyot_model::api::RunEvent;
use eyot_model::{State, Value};
use eyot_scenarios::{told, until_within};
use std::collections::BTreeMap;
use std::time::Duration;

/// Saves as often as a task does that says nothing of it, each a twelfth of its work.
fn workflow(work: Duration) -> String {
    format!(
        r#"
apiVersion: eyot.dev/v1
kind: Workflow
metadata: {{name: checkpoint, version: "1"}}
spec:
  outputs:
    from: "${{{{ tasks.long.outputs.from }}}}"
    steps: "${{{{ tasks.long.outputs.steps }}}}"
    attempt: "${{{{ tasks.long.outputs.attempt }}}}"
  tasks:
    long:
      uses: scenarios/probe@1
      with: {{act: steps, work_ms: {}, save_ms: {}}}
      retry: {{maxAttempts: 3, initialInterval: 100ms}}
      placement: {{where: "agent.labels.name == 'left'"}}
"#,
        work.as_millis(),
        work.as_millis() / 12
    )
}

pub(crate) async fn run(setting: &Setting) -> Result<Vec<Figure>> {
    let work = Duration::from_secs(setting.times(12, 60));
    let mut world = World::open().await?;
    let client = world.cloud.client().clone();
    let run = submit(&client, &workflow(work), "checkpoint").await?;
    let running = world.cloud.run_until(run, "runs its task", |detail| {
        detail.tasks.iter().any(|task| task.state == State::Running)
    });
    let started = running.await?.tasks.first().and_then(|task| task.started_at);
    let started = started.context("the task has not begun")?;
    let elapsed = || Duration::from_micros(now().0.saturating_sub(started.0));
    tokio::time::sleep(work.mul_f64(0.9).saturating_sub(elapsed())).await;
    world.agents[0].kill()?;
    let killed = elapsed();
    world.agents[0].start()?;
    let ended = until_within(work * 2 + Duration::from_secs(60), "the run ends", async || {
        Ok(client.run(run).await?.run.state.is_terminal().then_some(()))
    });
    ended.await?;
    let (detail, events) = whole(&client, run).await?;
    invariant::history(&events, &BTreeMap::new())?;
    let number = |name: &str| match detail.outputs.get(name) {
        Some(Value::Int(number)) => Ok(*number),
        other => anyhow::bail!("`{name}` is {other:?}: {}", told(&detail)),
    };
    let (from, steps, attempt) = (number("from")?, number("steps")?, number("attempt")?);
    ensure!(attempt == 2, "the run was ended by attempt {attempt}");
    let at = |kind: &str, attempt: u32| {
        let is = |event: &&RunEvent| event.kind == kind && event.attempt == Some(attempt);
        let found = events.iter().find(is).map(|event| event.at);
        found.with_context(|| format!("attempt {attempt} has not {kind}"))
    };
    // A busy machine does fewer steps in the same time, so the pace is that of the second attempt.
    let second = at("ended", 2)?.since(at("started", 2)?).as_duration();
    #[allow(clippy::cast_precision_loss)]
    let (from, steps) = (from as f64, steps as f64);
    let pace = second.as_secs_f64() / (steps - from).max(1.0);
    let done = (killed.as_secs_f64() / pace).min(steps);
    let twice = ((done - from) / steps * 100.0).max(0.0);
    setting.say(&format!(
        "killed after {:.1} s of {} s of work; it went on from step {from} of {steps}: {twice:.1}% was done twice",
        killed.as_secs_f64(),
        work.as_secs()
    ));
    world.close()?;
    // On a machine that is busy a save of a short task may come late.
    let most = setting.times(50.0, 15.0);
    Ok(vec![setting.figure("done-twice", twice, "%", 1).required(most)])
}

//! `kill -9` in the middle of a run, of the control plane and of a device.

use crate::{items, task};
use anyhow::{Result, ensure};
use eyot_model::api::{RunDetail, RunEvent};
use eyot_model::{Inputs, RunId, State};
use eyot_scenarios::{Agent, Cloud, Stage, answer_of_both_sides, on_both_sides};
use std::collections::BTreeMap;

/// Items on each of the two devices.
const ITEMS: u32 = 20;

struct Scene {
    stage: Stage,
    cloud: Cloud,
    left: Agent,
    right: Agent,
    run: RunId,
}

/// The run is in its middle: some items have ended on both sides, and many have not.
async fn in_mid_run() -> Result<Scene> {
    let stage = Stage::open()?;
    let cloud = Cloud::start(&stage, "cloud").await?;
    let left = cloud.agent(&stage, "left").await?;
    let right = cloud.agent(&stage, "right").await?;
    cloud.push_probe().await?;
    let run = cloud.submit(&on_both_sides(ITEMS), Inputs::new()).await?;
    let both = |detail: &RunDetail| ["left", "right"].iter().all(|side| done(detail, side) >= 3);
    let detail = cloud.run_until(run, "is in its middle", both).await?;
    let left_over = 2 * ITEMS as usize - done(&detail, "left") - done(&detail, "right");
    ensure!(left_over >= 4, "the run is almost over: {left_over} items are left");
    Ok(Scene {
        stage,
        cloud,
        left,
        right,
        run,
    })
}

fn done(detail: &RunDetail, name: &str) -> usize {
    items(detail, name).iter().filter(|item| item.state == State::Succeeded).count()
}

/// Every item succeeded, and every result is there once.
fn complete(detail: &RunDetail, events: &[RunEvent]) -> Result<()> {
    let expected = answer_of_both_sides(ITEMS);
    ensure!(detail.outputs.get("answer") == Some(&expected), "{:?}", detail.outputs);
    let count = ITEMS as usize;
    for name in ["left", "right"] {
        ensure!(
            done(detail, name) == count && items(detail, name).len() == count,
            "{name}: {:?}",
            items(detail, name)
        );
    }
    let mut commits: BTreeMap<(&str, Option<u32>), u32> = BTreeMap::new();
    for event in events {
        if event.state == Some(State::Succeeded)
            && let Some(task) = &event.task
        {
            *commits.entry((task, event.item)).or_default() += 1;
        }
    }
    let wrong: Vec<_> = commits.iter().filter(|(_, count)| **count != 1).collect();
    ensure!(wrong.is_empty(), "committed more than once: {wrong:?}");
    let committed = commits.keys().filter(|(_, item)| item.is_some()).count();
    ensure!(committed == 2 * count, "{committed} items were committed");
    let ends = events.iter().filter(|event| event.kind == "run-ended").count();
    ensure!(ends == 1, "the run ended {ends} times");
    Ok(())
}

#[tokio::test]
async fn a_control_plane_killed_in_mid_run_takes_the_run_up_again() -> Result<()> {
    let mut scene = in_mid_run().await?;
    scene.cloud.kill()?;
    scene.cloud.serve().await?;

    let detail = scene.cloud.succeeded(scene.run).await?;
    complete(&detail, &scene.cloud.events(scene.run).await?)?;
    // The devices went on by themselves: nothing ran a second time.
    let again: Vec<_> = detail.tasks.iter().filter(|task| task.attempts > 1).collect();
    ensure!(again.is_empty(), "{again:?}");
    ensure!(task(&detail, "join")?.attempts == 1);
    // The lines that the tasks had said meanwhile did not go before what the devices hold.
    ensure!(!scene.cloud.said().contains("no inventory"), "a link began with the wrong message");
    scene.left.must_live()?;
    scene.right.must_live()?;
    scene.stage.close();
    Ok(())
}

#[tokio::test]
async fn an_agent_killed_in_mid_run_goes_on_where_it_was() -> Result<()> {
    let mut scene = in_mid_run().await?;
    let before = scene.left.pid()?;
    scene.left.kill()?;
    scene.left.start()?;
    ensure!(scene.left.pid()? != before);

    let detail = scene.cloud.succeeded(scene.run).await?;
    complete(&detail, &scene.cloud.events(scene.run).await?)?;
    // What had ended is not run again: only what was under way when the agent was killed.
    let again = items(&detail, "left").iter().filter(|item| item.attempts > 1).count();
    ensure!(again <= 4, "{again} items ran again");
    ensure!(items(&detail, "right").iter().all(|item| item.attempts == 1));
    scene.right.must_live()?;
    scene.stage.close();
    Ok(())
}

#[tokio::test]
async fn an_agent_that_starts_while_the_control_plane_is_down_goes_on_alone() -> Result<()> {
    let mut scene = in_mid_run().await?;
    scene.cloud.kill()?;
    scene.left.kill()?;
    scene.left.start()?;
    // From its own disk, without a word from the control plane.
    scene.left.says(&["state recovered", "runs=1"]).await?;
    scene.cloud.serve().await?;

    let detail = scene.cloud.succeeded(scene.run).await?;
    complete(&detail, &scene.cloud.events(scene.run).await?)?;
    let again = items(&detail, "left").iter().filter(|item| item.attempts > 1).count();
    ensure!(again <= 4, "{again} items ran again");
    scene.right.must_live()?;
    scene.stage.close();
    Ok(())
}

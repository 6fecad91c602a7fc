//! A control plane that comes back from its back-up.

use crate::SMALL;
use anyhow::{Context, Result, ensure};
use eyot_client::RunFilter;
use eyot_model::{Inputs, RunState, Value};
use eyot_scenarios::{Cloud, Stage, program, until};
use std::path::Path;
use std::process::Command;

fn eyot_cloud(arguments: &[&str], paths: [(&str, &Path); 2]) -> Result<()> {
    let mut command = Command::new(program("eyot-cloud")?);
    command.args(arguments);
    for (name, path) in paths {
        command.arg(name).arg(path);
    }
    let done = command.output().context("cannot run eyot-cloud")?;
    ensure!(done.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&done.stderr));
    Ok(())
}

#[tokio::test]
async fn runs_agents_and_tokens_come_back_from_a_back_up() -> Result<()> {
    let stage = Stage::open()?;
    let mut cloud = Cloud::start(&stage, "cloud").await?;
    let mut agent = cloud.agent(&stage, "device").await?;
    cloud.push_probe().await?;
    let first = cloud.submit(SMALL, Inputs::new()).await?;
    let before = cloud.succeeded(first).await?;

    // While it serves; then it goes on, and what follows is not in the back-up.
    let file = stage.path("eyot.backup");
    eyot_cloud(&["backup"], [("--data", cloud.data()), ("--to", &file)])?;
    let lost = cloud.submit(SMALL, Inputs::new()).await?;
    cloud.succeeded(lost).await?;
    cloud.stop()?;

    let restored = stage.path("restored");
    eyot_cloud(&["restore"], [("--from", &file), ("--data", &restored)])?;
    cloud.move_to(restored)?;
    cloud.serve().await?;

    let runs = cloud.client().runs(&RunFilter::default()).await?.items;
    let ids: Vec<_> = runs.iter().map(|run| run.id).collect();
    ensure!(ids == [first], "{ids:?}");
    let after = cloud.client().run(first).await?;
    ensure!(
        after.outputs == before.outputs && after.tasks == before.tasks,
        "{before:?} became {after:?}"
    );

    // The device is known, by the same CA, and takes work.
    cloud.connected("device").await?;
    let run = cloud.submit(SMALL, Inputs::new()).await?;
    let detail = cloud.succeeded(run).await?;
    ensure!(detail.outputs.get("answer") == Some(&Value::Int(42)), "{:?}", detail.outputs);
    agent.must_live()?;
    stage.close();
    Ok(())
}

#[tokio::test]
async fn an_agents_own_run_that_began_and_ended_after_the_back_up_is_told_again() -> Result<()> {
    let stage = Stage::open()?;
    let mut cloud = Cloud::start(&stage, "cloud").await?;
    let mut agent = cloud.agent(&stage, "device").await?;
    agent.answers().await?;
    agent.push_probe().await?;
    let before = agent.begin(SMALL).await?;
    let known = async |cloud: &Cloud, run| {
        until("the control plane has the whole run", async || {
            // It is not there before it is told of.
            let detail = cloud.client().run(run).await.ok();
            Ok(detail.filter(|detail| detail.run.state == RunState::Succeeded))
        })
        .await
    };
    known(&cloud, before).await?;
    let file = stage.path("eyot.backup");
    eyot_cloud(&["backup"], [("--data", cloud.data()), ("--to", &file)])?;
    let after = agent.begin(SMALL).await?;
    let told = known(&cloud, after).await?;
    cloud.stop()?;

    let restored = stage.path("restored");
    eyot_cloud(&["restore"], [("--from", &file), ("--data", &restored)])?;
    cloud.move_to(restored)?;
    cloud.serve().await?;
    let again = known(&cloud, after).await?;
    ensure!(
        again.outputs == told.outputs && again.run.coordinator == told.run.coordinator,
        "{told:?} became {again:?}"
    );
    let mut ids: Vec<_> = cloud
        .client()
        .runs(&RunFilter::default())
        .await?
        .items
        .iter()
        .map(|run| run.id)
        .collect();
    ids.sort();
    ensure!(ids == [before, after], "{ids:?}");
    agent.must_live()?;
    stage.close();
    Ok(())
}

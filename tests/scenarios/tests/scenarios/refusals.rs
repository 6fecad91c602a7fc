//! What a device, asked itself, does not take; and what it lets go of only by hand.

use crate::SMALL;
use anyhow::{Context, Result, ensure};
use eyot_scenarios::{Agent, Cloud, Stage, component, until};

fn code<T>(answer: Result<T, eyot_client::Error>) -> Option<String> {
    answer.err().map(|error| error.code().to_owned())
}

/// Sets how much has to be free on the agent's disk for it to take work.
fn needs_free(agent: &Agent, bytes: Option<u64>) -> Result<()> {
    let file = agent.data().join("agent.json");
    let mut settings: serde_json::Value = serde_json::from_slice(&std::fs::read(&file)?)?;
    settings["disk"]["highFreeBytes"] = bytes.into();
    settings["disk"]["criticalFreeBytes"] = bytes.map(|_| 0).into();
    std::fs::write(&file, settings.to_string())?;
    Ok(())
}

#[tokio::test]
async fn a_device_whose_disk_is_full_takes_no_workflow_and_no_component_and_keeps_those_it_has() -> Result<()> {
    let stage = Stage::open()?;
    let cloud = Cloud::start(&stage, "cloud").await?;
    let mut agent = cloud.agent(&stage, "device").await?;
    agent.answers().await?;
    agent.push_probe().await?;
    agent.own(SMALL).await?;
    agent.stop()?;
    // No disk has so much.
    needs_free(&agent, Some(1 << 60))?;
    agent.start()?;
    agent.answers().await?;

    let next = stage.write("next.yaml", &SMALL.replace("version: \"1\"", "version: \"2\""))?;
    let component = tokio::task::spawn_blocking(component).await??;
    let (next, component) = (next.to_str().context("path")?, component.to_str().context("path")?);
    for words in [
        &["workflow", "push", next][..],
        &["task", "push", component, "--as-version", "1.9.0"],
        &["run", "small"],
    ] {
        let refused = agent.ask(&[&["-o", "json"], words].concat()).await.err().context("it was taken")?;
        ensure!(format!("{refused:#}").contains("agent.no-room"), "{words:?}: {refused:#}");
    }
    agent.kill()?;
    needs_free(&agent, None)?;
    agent.start()?;
    agent.answers().await?;
    let owned = agent.client()?.workflows().await?;
    ensure!(owned.len() == 1 && owned[0].version == "1", "{owned:?}");
    agent.own_succeeded(agent.begin(SMALL).await?).await?;
    agent.ask(&["workflow", "push", next]).await?;
    agent.must_live()?;
    stage.close();
    Ok(())
}

#[tokio::test]
async fn a_run_that_the_control_plane_refuses_is_dropped_by_hand_and_no_other() -> Result<()> {
    let stage = Stage::open()?;
    let mut cloud = Cloud::start(&stage, "cloud").await?;
    let mut agent = cloud.agent(&stage, "device").await?;
    agent.answers().await?;
    agent.push_probe().await?;
    let client = agent.client()?;
    let told = agent.begin(SMALL).await?;
    agent.own_succeeded(told).await?;
    cloud
        .run_until(told, "is known there", |detail| detail.run.state.is_terminal())
        .await?;

    let foreign = SMALL.replace("{name: small,", "{name: small, namespace: elsewhere,");
    let run = agent.begin(&foreign).await?;
    agent.own_succeeded(run).await?;
    until("the control plane has refused it", async || {
        let refused = agent.status()?["refused"].clone();
        Ok((refused[0]["id"] == run.to_string()).then_some(()))
    })
    .await?;
    ensure!(code(client.remove_run(told).await).as_deref() == Some("run.not-refused"));
    let mut eyot = cloud.eyot()?;
    eyot.args(["runs", "rm", "last"]);
    let there = tokio::process::Command::from(eyot).output().await?;
    ensure!(there.status.code() == Some(2), "a control plane has no such command: {there:?}");

    agent.ask(&["runs", "rm", &run.to_string()]).await?;
    ensure!(code(client.remove_run(run).await).as_deref() == Some("run.not-found"));
    agent.kill()?;
    agent.start()?;
    agent.answers().await?;
    cloud.connected("device").await?;
    let kept: Vec<_> = agent.runs_of("small").await?.iter().map(|run| run.id).collect();
    ensure!(kept == [told], "{kept:?}");
    // Out of contact nobody has refused anything.
    cloud.stop()?;
    let run = agent.begin(&foreign).await?;
    agent.own_succeeded(run).await?;
    ensure!(code(agent.client()?.remove_run(run).await).as_deref() == Some("run.not-refused"));
    agent.must_live()?;
    stage.close();
    Ok(())
}

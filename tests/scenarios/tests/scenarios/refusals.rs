//! What a device, asked itself, does not take.

use crate::SMALL;
use anyhow::{Context, Result, ensure};
use eyot_scenarios::{Agent, Cloud, Stage, component};

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

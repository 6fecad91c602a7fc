//! A device that joins: the name that it gets, what stays when it joins again, and what it does not take by itself.

use crate::SMALL;
use anyhow::{Context, Result, ensure};
use eyot_client::Error;
use eyot_model::api::{InviteRequest, RunRequest, WorkflowChoice, WorkflowSource};
use eyot_model::{Inputs, RunState};
use eyot_scenarios::{Agent, Cloud, Stage, until};
use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt;

fn source(text: &str) -> WorkflowSource {
    WorkflowSource {
        text: text.to_owned(),
        files: BTreeMap::new(),
    }
}

fn request(text: &str) -> RunRequest {
    RunRequest {
        workflow: WorkflowChoice::Source(source(text)),
        inputs: Inputs::new(),
        idempotency_key: None,
    }
}

#[tokio::test]
async fn a_device_works_with_no_control_plane_at_all_and_tells_the_one_that_it_joins_later_of_its_runs() -> Result<()> {
    let stage = Stage::open()?;
    let mut device = Agent::init(&stage, "device")?.run()?;
    device.answers().await?;
    device.push_probe().await?;
    let run = device.client()?.start(&request(SMALL)).await?;
    device.own_succeeded(run.id).await?;
    let alone = device.status()?;
    ensure!(alone["link"] == "none" && alone["waiting"]["ownRuns"] == 0, "{alone}");
    ensure!(Agent::init(&stage, "device").is_err(), "it was set up while it ran");
    // It is one device, over a restart and before and after it has joined.
    device.kill()?;
    device.start()?;
    device.answers().await?;
    ensure!(device.status()?["id"] == alone["id"]);
    device.stop()?;
    let again = Agent::init(&stage, "device").map(drop).unwrap_err().to_string();
    ensure!(again.contains("set up already"), "{again}");

    let cloud = Cloud::start(&stage, "cloud").await?;
    let device = Agent::join(&stage, "device", &cloud.invite().await?)?.run()?;
    cloud.connected("device").await?;
    device.answers().await?;
    ensure!(device.status()?["id"] == alone["id"]);
    let there = until("the control plane has the device's run", async || {
        match cloud.client().run(run.id).await {
            Ok(there) => Ok(there.run.state.is_terminal().then_some(there)),
            Err(error) if error.status() == Some(404) => Ok(None),
            Err(error) => Err(error.into()),
        }
    })
    .await?;
    ensure!(
        there.run.state == RunState::Succeeded && there.run.coordinator.as_deref() == Some("device"),
        "{there:?}"
    );
    stage.close();
    Ok(())
}

#[tokio::test]
async fn a_device_has_the_name_of_its_invitation_and_keeps_its_settings_when_it_joins_again() -> Result<()> {
    let stage = Stage::open()?;
    let cloud = Cloud::start(&stage, "cloud").await?;
    cloud.push_probe().await?;
    let named = InviteRequest {
        name: Some("camera".to_owned()),
        ..InviteRequest::default()
    };
    let token = cloud.client().invite(&named).await?.token;
    let mut agent = Agent::join(&stage, "device", &token)?.run()?;
    cloud.connected("camera").await?;
    agent.answers().await?;
    agent.push_probe().await?;
    let mode = std::fs::metadata(agent.data())?.permissions().mode();
    ensure!(mode & 0o077 == 0, "others may look into the data folder: {mode:o}");

    // A run of its own is in the namespace of the name that the control plane knows, so it is taken there.
    let run = agent.client()?.start(&request(SMALL)).await?;
    ensure!(run.namespace == "camera", "{run:?}");
    until("the control plane has the device's run", async || {
        match cloud.client().run(run.id).await {
            Ok(there) => Ok((there.run.state == RunState::Succeeded).then_some(())),
            Err(error) if error.status() == Some(404) => Ok(None),
            Err(error) => Err(error.into()),
        }
    })
    .await?;
    until("nothing waits for the control plane", async || {
        Ok((agent.status()?["waiting"]["ownRuns"] == 0).then_some(()))
    })
    .await?;

    // While it runs it does not join; stopped, it does, and only what is said changes.
    let again = cloud.invite().await?;
    let refused = Agent::join(&stage, "device", &again).err().context("it joined while it ran")?;
    ensure!(format!("{refused:#}").contains("stop the agent before it joins"), "{refused:#}");
    agent.stop()?;
    let file = agent.data().join("agent.json");
    let mut settings: serde_json::Value = serde_json::from_slice(&std::fs::read(&file)?)?;
    settings["site"] = "hall".into();
    settings["labels"]["role"] = "camera".into();
    settings["disk"]["cacheBytes"] = 123_456_789.into();
    std::fs::write(&file, settings.to_string())?;
    Agent::join(&stage, "device", &again)?;
    let kept: serde_json::Value = serde_json::from_slice(&std::fs::read(&file)?)?;
    ensure!(
        kept["site"] == "hall" && kept["labels"]["role"] == "camera" && kept["disk"]["cacheBytes"] == 123_456_789,
        "{kept}"
    );
    stage.close();
    Ok(())
}

#[tokio::test]
async fn a_device_says_which_trigger_cannot_fire_and_takes_no_run_that_it_is_not_made_for() -> Result<()> {
    let stage = Stage::open()?;
    let cloud = Cloud::start(&stage, "cloud").await?;
    let agent = cloud.agent(&stage, "device").await?;
    agent.answers().await?;
    agent.push_probe().await?;
    let client = agent.client()?;

    let deaf = SMALL.replace(
        "spec:\n",
        "spec:\n  triggers:\n    - {name: doors, event: {source: mqtt, broker: nowhere, topic: doors}}\n",
    );
    let stored = client.push_workflow(&source(&deaf)).await?;
    ensure!(
        stored.warnings.len() == 1 && stored.warnings[0].contains("no broker `nowhere`"),
        "{stored:?}"
    );
    until("the trigger is listed with what it misses", async || {
        let triggers = agent.status()?["triggers"].clone();
        let wrong = triggers[0]["wrong"].as_str().unwrap_or_default().to_owned();
        Ok((triggers[0]["name"] == "doors" && wrong.contains("no broker `nowhere`")).then_some(()))
    })
    .await?;

    let elsewhere = SMALL.replace(
        "uses: scenarios/probe@1,",
        "uses: scenarios/probe@1, placement: {where: \"agent.labels.name == 'another'\"},",
    );
    let refused = client.start(&request(&elsewhere)).await.err().context("it was taken")?;
    ensure!(
        matches!(&refused, Error::Refused { problem, .. } if problem.code == "plan.unplaceable" && problem.message.contains("label `name` is `device`")),
        "{refused}"
    );
    let refused = client.push_workflow(&source(&elsewhere)).await.err().context("it was stored")?;
    ensure!(refused.code() == "plan.unplaceable", "{refused}");
    stage.close();
    Ok(())
}

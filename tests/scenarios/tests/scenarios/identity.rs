//! Certificates that are renewed in time, that ran out while there was no control plane, and agents that were removed.

use anyhow::{Result, ensure};
use eyot_model::{Inputs, LinkState, Timestamp};
use eyot_scenarios::{Agent, Cloud, Stage, until};
use std::time::{SystemTime, UNIX_EPOCH};

/// Of a certificate: renewed after eight seconds of it.
const LIFE: &str = "12s";

/// Longer than an agent notices that its control plane is gone.
const LONG: &str = r#"
apiVersion: eyot.dev/v1
kind: Workflow
metadata: {name: offline, version: "1"}
spec:
  outputs: {answer: "${{ tasks.last.outputs.echo }}"}
  tasks:
    first: {uses: scenarios/probe@1, with: {work_ms: 3000, echo: 41}}
    last: {uses: scenarios/probe@1, with: {work_ms: 3000, echo: "${{ tasks.first.outputs.echo + 1 }}"}}
"#;

fn now() -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp(u64::try_from(since.as_micros()).unwrap_or(u64::MAX))
}

async fn certificate_end(cloud: &Cloud) -> Result<Timestamp> {
    Ok(cloud.client().agent("device").await?.certificate_expires_at)
}

fn links(agent: &Agent) -> usize {
    agent.said().lines().filter(|line| line.contains("link is up")).count()
}

#[tokio::test]
async fn certificates_are_renewed_on_the_live_link_and_one_that_ran_out_offline_is_no_end() -> Result<()> {
    let stage = Stage::open()?;
    let mut cloud = Cloud::start_with(&stage, "cloud", &["--certificate-life", LIFE]).await?;
    cloud.push_probe().await?;
    let mut agent = cloud.agent(&stage, "device").await?;

    // Twice renewed, and still the first link: the certificate that it came up with is over by then.
    let first = certificate_end(&cloud).await?;
    let renewed = async || Ok((certificate_end(&cloud).await? > first && now() > first).then_some(()));
    until("the certificate is renewed and the first one is over", renewed).await?;
    agent.says(&["certificate was renewed"]).await?;
    agent.says(&["renewed certificate is on disk"]).await?;
    ensure!(cloud.client().agent("device").await?.link == LinkState::Connected);
    ensure!(links(&agent) == 1, "the link did not outlive its certificate:\n{}", agent.said());

    // The control plane goes, and stays away until the certificate has run out. Local work goes on.
    let run = cloud.submit(LONG, Inputs::new()).await?;
    cloud
        .run_until(run, "has begun", |detail| detail.tasks.iter().any(|task| task.attempts > 0))
        .await?;
    let end = certificate_end(&cloud).await?;
    cloud.kill()?;
    until("the certificate has run out", async || Ok((now() > end).then_some(()))).await?;
    cloud.serve().await?;
    cloud.says(&["expired certificate"]).await?;
    cloud.connected("device").await?;
    ensure!(certificate_end(&cloud).await? > end);
    cloud.succeeded(run).await?;

    // The same for a device that was off meanwhile.
    let end = certificate_end(&cloud).await?;
    agent.stop()?;
    until("the certificate has run out", async || Ok((now() > end).then_some(()))).await?;
    agent.start()?;
    cloud.connected("device").await?;
    ensure!(certificate_end(&cloud).await? > end);
    stage.close();
    Ok(())
}

#[tokio::test]
async fn a_removed_agent_is_unknown_until_it_is_invited_again() -> Result<()> {
    let stage = Stage::open()?;
    let cloud = Cloud::start(&stage, "cloud").await?;
    let mut agent = cloud.agent(&stage, "device").await?;
    agent.stop()?;
    let gone = async || Ok((cloud.client().agent("device").await?.link == LinkState::Disconnected).then_some(()));
    until("the agent is disconnected", gone).await?;
    cloud.client().remove_agent("device").await?;
    agent.start()?;
    agent
        .says(&["ERROR", "does not take this agent back", "does not know this agent"])
        .await?;
    cloud.says(&["refused a connection", "not known here"]).await?;
    agent.must_live()?;

    // Its key is welcome again with a new token.
    agent.stop()?;
    let mut again = Agent::join(&stage, "device", &cloud.invite().await?)?;
    again.start()?;
    cloud.connected("device").await?;
    stage.close();
    Ok(())
}

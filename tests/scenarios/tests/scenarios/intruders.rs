//! Whoever is not who they should be: refused with a word in the log, while the work of others goes on.

use crate::SMALL;
use anyhow::{Context, Result, ensure};
use eyot_client::RunFilter;
use eyot_link::{JoinToken, Secret};
use eyot_model::{Inputs, LinkState};
use eyot_scenarios::{Agent, Cloud, Stage, join, until};
use std::fs;
use std::net::UdpSocket;

/// Joins with a token that must be refused, and gives what the device is told.
fn refused(stage: &Stage, name: &str, token: &str) -> Result<String> {
    let data = stage.path(name);
    let done = join(&data, name, token)?;
    let said = String::from_utf8_lossy(&done.stderr).into_owned();
    ensure!(done.status.code() == Some(1), "{name} was not refused ({}): {said}", done.status);
    ensure!(
        !data.join("agent.pem").exists() && !data.join("agent.json").exists(),
        "{name} has an identity"
    );
    Ok(said)
}

/// The work of others goes on.
async fn works(cloud: &Cloud) -> Result<()> {
    let run = cloud.submit(SMALL, Inputs::new()).await?;
    cloud.succeeded(run).await.map(drop)
}

#[tokio::test]
async fn a_device_with_a_wrong_token_does_not_join() -> Result<()> {
    let stage = Stage::open()?;
    let (cloud, other) = (Cloud::start(&stage, "cloud").await?, Cloud::start(&stage, "other").await?);
    cloud.push_probe().await?;
    let token = cloud.invite().await?;
    let _agent = Agent::join(&stage, "device", &token)?.run()?;
    cloud.connected("device").await?;
    let right: JoinToken = token.parse()?;

    // Used before.
    let said = refused(&stage, "used", &token)?;
    ensure!(said.contains("refused to enrol"), "{said}");
    cloud.says(&["refused an enrolment", "used"]).await?;

    // Never given out.
    let guessed = JoinToken {
        secret: Secret::random()?,
        ..right.clone()
    };
    let said = refused(&stage, "guessed", &guessed.to_text()?)?;
    ensure!(said.contains("refused to enrol"), "{said}");
    cloud.says(&["refused an enrolment", "guessed"]).await?;

    // A letter is wrong: told apart on the device, before anything is sent.
    let said = refused(&stage, "mistyped", &format!("{token}x"))?;
    ensure!(said.contains("mistyped") || said.contains("not a join token"), "{said}");

    // Of another control plane, at the address of this one: the device does not trust it.
    let foreign: JoinToken = other.invite().await?.parse()?;
    let foreign = JoinToken {
        addresses: right.addresses.clone(),
        ..foreign
    };
    let said = refused(&stage, "foreign", &foreign.to_text()?)?;
    ensure!(said.contains("not of the expected CA"), "{said}");
    cloud.says(&["refused a connection"]).await?;

    works(&cloud).await?;
    let agents = cloud.client().agents().await?;
    ensure!(agents.len() == 1, "{agents:?}");
    ensure!(other.client().runs(&RunFilter::default()).await?.items.is_empty());
    stage.close();
    Ok(())
}

#[tokio::test]
async fn an_agent_of_another_control_plane_and_noise_are_turned_away() -> Result<()> {
    let stage = Stage::open()?;
    let (mut cloud, other) = (Cloud::start(&stage, "cloud").await?, Cloud::start(&stage, "other").await?);
    cloud.push_probe().await?;
    let mut agent = cloud.agent(&stage, "device").await?;

    // It goes to the wrong control plane, and does not trust it.
    let mut lost = Agent::join(&stage, "lost", &other.invite().await?)?;
    let file = lost.data().join("agent.json");
    let text = fs::read_to_string(&file)?;
    let moved = text.replace(&other.quic().to_string(), &cloud.quic().to_string());
    ensure!(moved != text, "{text}");
    fs::write(&file, moved)?;
    lost.start()?;
    lost.says(&["not of the expected CA"]).await?;
    cloud.says(&["refused a connection"]).await?;

    // It trusts this control plane, and has a certificate of the other one.
    let mut spy = Agent::join(&stage, "spy", &other.invite().await?)?;
    for name in ["agent.json", "agent.pem"] {
        let file = spy.data().join(name);
        let text = fs::read_to_string(&file)?;
        let there = fs::read_to_string(other.data().join("ca.pem"))?;
        let here = fs::read_to_string(cloud.data().join("ca.pem"))?;
        let moved = text
            .replace(&other.quic().to_string(), &cloud.quic().to_string())
            .replace(there.trim(), here.trim());
        ensure!(moved != text, "{name} is not what it was: {text}");
        fs::write(&file, moved)?;
    }
    // With its copies it would take the files for damaged, and be itself again.
    fs::remove_dir_all(spy.data().join("copies"))?;
    spy.start()?;
    spy.says(&["does not accept a certificate of this CA"]).await?;
    cloud.says(&["refused a connection", "certificate of another CA"]).await?;

    // Noise, at the port of the link.
    let socket = UdpSocket::bind("127.0.0.1:0")?;
    let noise: Vec<u8> = (0..1_200_u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    for length in [0, 1, 20, 21, 200, 1_200] {
        socket.send_to(&noise[..length], cloud.quic())?;
    }
    cloud.says(&["ignored a malformed datagram"]).await?;

    works(&cloud).await?;
    cloud.must_live()?;
    agent.must_live()?;
    let agents = cloud.client().agents().await?;
    ensure!(agents.len() == 1, "{agents:?}");
    stage.close();
    Ok(())
}

#[tokio::test]
async fn a_revoked_agent_is_cut_off_and_stays_out() -> Result<()> {
    let stage = Stage::open()?;
    let cloud = Cloud::start(&stage, "cloud").await?;
    cloud.push_probe().await?;
    let _agent = cloud.agent(&stage, "device").await?;
    let mut thief = cloud.agent(&stage, "thief").await?;

    let id = cloud.client().agent("thief").await?.id;
    cloud.client().revoke("thief").await?;
    let gone = async || {
        let view = cloud.client().agent(&id.to_string()).await?;
        Ok((view.revoked && view.link != LinkState::Connected).then_some(()))
    };
    until("the revoked agent is cut off", gone).await?;
    thief.says(&["revoked"]).await?;
    cloud.says(&["revoked"]).await?;

    // Started again, it is turned away at the door.
    thief.stop()?;
    thief.start().context("cannot start the revoked agent")?;
    cloud.says(&["refused a connection", "revoked certificate"]).await?;
    thief.says(&["ERROR", "does not take this agent back", "revoked"]).await?;
    let view = cloud.client().agent(&id.to_string()).await?;
    ensure!(view.revoked && view.link != LinkState::Connected, "{view:?}");
    works(&cloud).await?;
    stage.close();
    Ok(())
}

//! The disk is full: nothing is acknowledged that could be lost, the state is shown, and work goes on once there is room.

use crate::load::{now, submit, whole};
use crate::recipe::{Kind, Recipe};
use crate::room::Room;
use crate::{Figure, Setting, invariant};
use anyhow::{Context, Result, ensure};
use eyot_client::{Client, RunFilter};
use eyot_model::api::{RunRequest, WorkflowChoice, WorkflowSource};
use eyot_model::{Inputs, RunId};
use eyot_scenarios::{Cloud, Stage, until};
use std::collections::BTreeMap;
use std::time::Duration;

/// Of the agent's disk, in bytes: its reserve and its journal have room in it.
const AGENT_ROOM: u64 = 192 << 20;
/// Of the control plane's disk, in bytes.
const CLOUD_ROOM: u64 = 64 << 20;

pub(crate) async fn run(setting: &Setting) -> Result<Vec<Figure>> {
    let mut figures = agent(setting).await.context("the agent's disk")?;
    figures.extend(cloud(setting).await.context("the control plane's disk")?);
    Ok(figures)
}

/// A run under way and runs that are new meet a full disk of the agent.
async fn agent(setting: &Setting) -> Result<Vec<Figure>> {
    let mut random = setting.random(7);
    let stage = Stage::open()?;
    let mut cloud = Cloud::start(&stage, "cloud").await?;
    cloud.push_probe().await?;
    let room = Room::make(&stage.path("left"), AGENT_ROOM)?;
    let mut left = cloud.agent(&stage, "left").await?;
    let mut right = cloud.agent(&stage, "right").await?;
    let client = cloud.client().clone();
    let recipes: Vec<Recipe> = (0..setting.times(6, 40)).map(|_| Recipe::of(Kind::Chain, &mut random)).collect();
    let mut runs = Vec::new();
    for (n, recipe) in recipes.iter().enumerate() {
        runs.push(submit(&client, &recipe.text, &format!("full-{n}")).await?);
        if n == 1 {
            room.fill()?;
        }
        tokio::time::sleep(Duration::from_millis(random.u64(0..100))).await;
    }
    let shown = until("the agent's status says that its disk is full", async || {
        let disk = left.status()?["disk"].clone();
        let state = disk["state"].as_str().unwrap_or("normal").to_owned();
        Ok((state != "normal" && state != "high").then_some(state))
    })
    .await?;
    left.must_live()?;
    tokio::time::sleep(Duration::from_millis(setting.times(1_000, 5_000))).await;
    // A device that loses its power in this state finds all again.
    left.kill()?;
    left.start()?;
    tokio::time::sleep(Duration::from_millis(500)).await;
    left.must_live()?;
    setting.say(&format!("the agent's disk is full, which its status shows as `{shown}`"));

    let freed = now();
    room.free()?;
    for (run, recipe) in runs.iter().zip(&recipes) {
        cloud.ended(*run).await?;
        let (detail, events) = whole(&client, *run).await?;
        invariant::holds(recipe, &detail, &events).with_context(|| format!("run {run}"))?;
    }
    let took = now().since(freed).0;
    setting.say(&format!("there is room again: {} runs ended right within {took} ms", runs.len()));
    right.must_live()?;
    left.must_live()?;
    cloud.must_live()?;
    drop((left, right, cloud, room));
    stage.close();
    #[allow(clippy::cast_precision_loss)]
    Ok(vec![
        setting.count("agent.runs", recipes.len()),
        setting.figure("agent.ended-after-room", took as f64, "ms", recipes.len()),
    ])
}

/// Submissions while the control plane's disk is full: refused, or kept.
async fn cloud(setting: &Setting) -> Result<Vec<Figure>> {
    let mut random = setting.random(8);
    let stage = Stage::open()?;
    let room = Room::make(&stage.path("cloud"), CLOUD_ROOM)?;
    let mut cloud = Cloud::start(&stage, "cloud").await?;
    cloud.push_probe().await?;
    let mut left = cloud.agent(&stage, "left").await?;
    let mut right = cloud.agent(&stage, "right").await?;
    let client = cloud.client().clone();
    let (before, full) = setting.times((4, 2), (40, 6));
    let recipes: Vec<Recipe> = (0..before + full).map(|_| Recipe::of(Kind::Split, &mut random)).collect();
    let mut kept: BTreeMap<RunId, &Recipe> = BTreeMap::new();
    let mut refused = 0;
    for (n, recipe) in recipes.iter().enumerate() {
        if n == before {
            room.fill()?;
        }
        match once(&client, &recipe.text, &format!("full-{n}")).await {
            Ok(run) => drop(kept.insert(run, recipe)),
            Err(error) => {
                ensure!(
                    error.code() == "store.no-room",
                    "refused for another reason: {}: {error}",
                    error.code()
                );
                refused += 1;
            }
        }
    }
    ensure!(
        refused == full,
        "{refused} of {full} were refused by a control plane whose disk is full"
    );
    cloud.must_live()?;
    let health = client.health().await?.text;
    ensure!(
        health.contains("disk full") || health.contains("disk low"),
        "it says of itself: {health}"
    );
    setting.say(&format!(
        "the control plane's disk is full: {refused} submissions were refused at once; {}",
        health.trim().replace('\n', ", ")
    ));
    let freed = now();
    room.free()?;
    for (n, recipe) in recipes.iter().enumerate() {
        // The same key again: one run, whatever became of the first try.
        let run = submit(&client, &recipe.text, &format!("full-{n}")).await?;
        kept.insert(run, recipe);
    }
    ensure!(kept.len() == recipes.len(), "{} runs of {} submissions", kept.len(), recipes.len());
    for (run, recipe) in &kept {
        cloud.ended(*run).await?;
        let (detail, events) = whole(&client, *run).await?;
        invariant::holds(recipe, &detail, &events).with_context(|| format!("run {run}"))?;
    }
    let took = now().since(freed).0;
    let all = client
        .runs(&RunFilter {
            limit: Some(500),
            ..RunFilter::default()
        })
        .await?;
    ensure!(all.items.len() == kept.len(), "{} runs instead of {}", all.items.len(), kept.len());
    setting.say(&format!("there is room again: {} runs ended right within {took} ms", kept.len()));
    left.must_live()?;
    right.must_live()?;
    drop((left, right, cloud, room));
    stage.close();
    #[allow(clippy::cast_precision_loss)]
    Ok(vec![
        setting.count("cloud.refused", refused),
        setting.figure("cloud.ended-after-room", took as f64, "ms", kept.len()),
    ])
}

/// Submits, and takes the first answer.
async fn once(client: &Client, text: &str, key: &str) -> Result<RunId, eyot_client::Error> {
    let request = RunRequest {
        workflow: WorkflowChoice::Source(WorkflowSource {
            text: text.to_owned(),
            files: BTreeMap::new(),
        }),
        inputs: Inputs::new(),
        idempotency_key: Some(key.to_owned()),
    };
    client.start(&request).await.map(|view| view.id)
}

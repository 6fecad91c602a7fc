//! `cargo xtask storm`: many agents come back to one control plane at once.
//!
//! The control plane is the real program, with TLS. Each agent is a QUIC client of its own with its own certificate and
//! the product's own dialer and back-off; only the work behind it is left out. They connect, get work, and keep it; the
//! control plane is killed and, after a while, started again; the storm is over when every agent is reconciled and was
//! told to keep what it holds.

#![allow(clippy::print_stdout)]

mod agent;
mod cost;
mod fleet;
mod report;

use agent::Shared;
use anyhow::{Context, Result, ensure};
use clap::Parser;
use cost::Cost;
use eyot_model::{Inputs, LinkState};
use eyot_scenarios::{Cloud, Stage, until};
use report::{Report, Spread};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Time for everything, so that a storm that never ends is a failure and not a hang.
const LIMIT: Duration = Duration::from_secs(540);

/// As it is without a word.
const HEARTBEAT: &str = "2s";

/// One task that any agent takes.
const WORKFLOW: &str = r#"
apiVersion: eyot.dev/v1
kind: Workflow
metadata: {name: storm, version: "1"}
spec:
  tasks:
    hold: {uses: scenarios/probe@1, with: {echo: "held"}, retry: {maxAttempts: 1}}
"#;

#[derive(Debug, Parser)]
#[command(about = "Let many agents come back to one control plane at once")]
struct Arguments {
    /// How many agents
    #[arg(long, default_value_t = 2_000, value_parser = clap::value_parser!(u32).range(1..=20_000))]
    agents: u32,
    /// Runs that are under way, so that agents hold something
    #[arg(long, default_value_t = 200, value_parser = clap::value_parser!(u32).range(0..=10_000))]
    runs: u32,
    /// Seconds for which there is no control plane
    #[arg(long, default_value_t = 15, value_parser = clap::value_parser!(u64).range(0..=120))]
    outage: u64,
    /// The last line is the result as JSON
    #[arg(long)]
    json: bool,
}

fn main() -> Result<()> {
    let arguments = Arguments::parse();
    let filter = tracing_subscriber::EnvFilter::try_from_env("EYOT_LOG").unwrap_or_else(|_| "error".into());
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .init();
    fleet::allow_sockets(arguments.agents)?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let report = runtime.block_on(async {
        tokio::time::timeout(LIMIT, storm(&arguments))
            .await
            .context("the storm did not end in time")?
    })?;
    println!("{report}");
    if arguments.json {
        println!("{}", serde_json::to_string(&report)?);
    }
    Ok(())
}

async fn storm(arguments: &Arguments) -> Result<Report> {
    let stage = Stage::open()?;
    eprintln!("{} agents join", arguments.agents);
    let identities = fleet::enrol(&stage.path("cloud"), arguments.agents).await?;
    let mut cloud = Cloud::start_with(&stage, "cloud", &["--heartbeat", HEARTBEAT]).await?;
    let shared = Arc::new(Shared::new(cloud.quic()));

    let begun = Instant::now();
    for identity in identities {
        agent::start(identity, Arc::clone(&shared))?;
    }
    let first = everybody(&shared, arguments.agents, 1).await?;
    let first = Spread::of(&first, begun);
    eprintln!("all connected the first time: {first}");

    if arguments.runs > 0 {
        cloud.push_probe().await?;
        for _ in 0..arguments.runs {
            cloud.submit(WORKFLOW, Inputs::new()).await?;
        }
        let held = async || Ok((shared.held() >= arguments.runs as usize).then_some(()));
        until("every run is held by an agent", held).await?;
    }
    let before = Cost::of(cloud.pid()?)?;

    cloud.kill()?;
    eprintln!("the control plane is gone for {} s", arguments.outage);
    tokio::time::sleep(Duration::from_secs(arguments.outage)).await;
    let back = Instant::now();
    shared.count_from_now();
    cloud.serve().await?;
    let answers = back.elapsed();
    let again = everybody(&shared, arguments.agents, 2).await?;
    let spread = Spread::of(&again, back);
    let cost = Cost::of(cloud.pid()?)?;

    let lost = shared.lost();
    ensure!(lost.is_empty(), "agents were not told to keep what they hold: {lost:?}");
    // The links stay up, and the API knows them.
    let connected = async || {
        let agents = cloud.client().agents().await?;
        let up = agents.iter().filter(|agent| agent.link == LinkState::Connected).count();
        Ok((up == arguments.agents as usize).then_some(()))
    };
    until("the control plane counts every agent as connected", connected).await?;
    cloud.must_live()?;
    stage.close();
    Ok(Report {
        ok: true,
        agents: arguments.agents,
        reconciled: again.len(),
        held: shared.held(),
        outage_seconds: arguments.outage,
        answers_ms: answers.as_secs_f64() * 1e3,
        first,
        again: spread,
        connections: shared.connections(),
        before,
        cost,
    })
}

/// When each agent was reconciled for the `times`-th time, once all were.
async fn everybody(shared: &Shared, agents: u32, times: u32) -> Result<Vec<Instant>> {
    loop {
        let reconciled = shared.reconciled(times);
        if reconciled.len() >= agents as usize {
            return Ok(reconciled);
        }
        ensure!(!shared.failed(), "an agent gave up: {}", shared.failure());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

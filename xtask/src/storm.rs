//! `cargo xtask storm`: the load program of `tests/storm`.

use crate::command;
use crate::components;
use crate::workspace::{build_programs, cargo, target_dir};
use anyhow::{Context, Result, bail};
use std::process::Command;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// How many agents
    #[arg(long, default_value_t = 2_000)]
    agents: u32,
    /// Runs that are under way
    #[arg(long, default_value_t = 200)]
    runs: u32,
    /// Seconds for which there is no control plane
    #[arg(long, default_value_t = 15)]
    outage: u64,
}

pub(crate) fn run(args: &Args, json: bool) -> Result<()> {
    components::build()?;
    let programs = build_programs()?;
    let mut build = cargo();
    build.args(["build", "--quiet", "--release", "-p", "eyot-unify", "-p", "eyot-storm"]);
    command::run("building the storm", &mut build)?;
    let target = target_dir()?;
    let mut storm = Command::new(target.join("release/eyot-storm"));
    storm.args(["--agents", &args.agents.to_string(), "--runs", &args.runs.to_string()]);
    storm.args(["--outage", &args.outage.to_string()]);
    storm.args(json.then_some("--json"));
    storm
        .env("EYOT_PROGRAMS", programs)
        .env("EYOT_COMPONENTS", target.join("components"));
    let status = storm.status().context("cannot run the storm")?;
    if !status.success() {
        bail!("not every agent came back; the lines above say why");
    }
    Ok(())
}

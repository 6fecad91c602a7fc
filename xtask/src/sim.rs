//! `cargo xtask sim`: the simulation of `tests/sim`, many seeds or one again.

use crate::command;
use crate::workspace::{cargo, target_dir};
use anyhow::{Context, Result, bail};
use std::process::Command;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// How many seeds
    #[arg(long, default_value_t = 10_000)]
    seeds: u64,
    /// The first seed
    #[arg(long, default_value_t = 0)]
    from: u64,
    /// Tell everything that happens, on standard error
    #[arg(long)]
    trace: bool,
}

pub(crate) fn run(args: &Args, json: bool) -> Result<()> {
    let mut build = cargo();
    build.args(["build", "--quiet", "--release", "-p", "eyot-unify", "-p", "eyot-sim"]);
    command::run("building the simulation", &mut build)?;
    let mut sim = Command::new(target_dir()?.join("release/eyot-sim"));
    sim.args(["--seeds", &args.seeds.to_string(), "--from", &args.from.to_string()]);
    sim.args(args.trace.then_some("--trace"));
    sim.args(json.then_some("--json"));
    let status = sim.status().context("cannot run the simulation")?;
    if !status.success() {
        bail!("the invariant does not hold; the lines above name the seeds, `--seeds 1 --from SEED --trace` replays one");
    }
    Ok(())
}

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
    /// Replace an adapter by a broken one, and look for the first seed that shows it
    #[arg(long, value_name = "NAME", conflicts_with = "mutants")]
    mutant: Option<String>,
    /// Look for each mutant; fail if one is not caught
    #[arg(long)]
    mutants: bool,
}

pub(crate) fn run(args: &Args, json: bool) -> Result<()> {
    let mut build = cargo();
    build.args(["build", "--quiet", "--release", "-p", "eyot-unify", "-p", "eyot-sim"]);
    command::run("building the simulation", &mut build)?;
    let mut sim = Command::new(target_dir()?.join("release/eyot-sim"));
    sim.args(["--seeds", &args.seeds.to_string(), "--from", &args.from.to_string()]);
    sim.args(args.trace.then_some("--trace"));
    sim.args(args.mutants.then_some("--mutants"));
    if let Some(mutant) = &args.mutant {
        sim.args(["--mutant", mutant]);
    }
    sim.args(json.then_some("--json"));
    let status = sim.status().context("cannot run the simulation")?;
    let mutant = args.mutants || args.mutant.is_some();
    if !status.success() && mutant && !args.trace {
        bail!("a mutant was not caught; the lines above name it");
    }
    if !status.success() && !mutant {
        bail!("the invariant does not hold; the lines above name the seeds, `--seeds 1 --from SEED --trace` replays one");
    }
    Ok(())
}

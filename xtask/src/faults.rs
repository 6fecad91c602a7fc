//! `cargo xtask faults`: the groups of `tests/faults` on programs that are built first.

use crate::workspace::{build_programs, cargo, target_dir};
use crate::{command, components};
use anyhow::{Context, Result, bail};
use std::process::Command;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Groups, as `--list` names them; all where none is named
    groups: Vec<String>,
    /// A selection that takes seconds instead of minutes
    #[arg(long)]
    short: bool,
    /// Seed of every random choice; a new one where it is not given
    #[arg(long)]
    seed: Option<u64>,
    /// List the groups and run nothing
    #[arg(long)]
    list: bool,
}

pub(crate) fn run(args: &Args, json: bool) -> Result<()> {
    let mut build = cargo();
    build.args(["build", "--release", "-p", "eyot-unify", "-p", "eyot-faults", "-p", "eyot-storm"]);
    command::run("building the faults", &mut build)?;
    let mut faults = Command::new(target_dir()?.join("release/eyot-faults"));
    if !args.list {
        components::build()?;
        faults.env("EYOT_PROGRAMS", build_programs()?);
        faults.env("EYOT_COMPONENTS", target_dir()?.join("components"));
    }
    faults.args(args.short.then_some("--short")).args(args.list.then_some("--list"));
    if let Some(seed) = args.seed {
        faults.args(["--seed", &seed.to_string()]);
    }
    faults.args(json.then_some("--json")).args(&args.groups);
    let status = faults.status().context("cannot run the faults")?;
    if !status.success() {
        bail!("something that is promised did not hold ({status}); the lines above name it");
    }
    Ok(())
}

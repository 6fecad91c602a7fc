//! `cargo xtask bench`: figures as ratios against floors of the same run. The measuring is in `xtask/bench`, so that
//! the other commands do not have to wait for what it depends on.

use crate::workspace::{build_programs, cargo, target_dir};
use crate::{command, components};
use anyhow::{Context, Result, bail};
use std::process::Command;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// A group, such as `plan` or `agent.chain`; all where none is named
    group: Option<String>,
    /// Runs of each figure; their median counts
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(5..))]
    runs: u32,
    /// List the figures and measure nothing
    #[arg(long)]
    list: bool,
}

pub(crate) fn run(args: &Args, json: bool) -> Result<()> {
    let needs_agents = args.group.as_deref().is_none_or(|group| !group.starts_with("plan"));
    let mut build = cargo();
    build.args(["build", "--release", "-p", "eyot-unify", "-p", "eyot-bench"]);
    command::run("building the benchmark", &mut build)?;
    let mut bench = Command::new(target_dir()?.join("release/eyot-bench"));
    if !args.list && needs_agents {
        let components = components::build()?;
        if let Some(folder) = components.first().and_then(|c| c.file.parent()) {
            bench.env("EYOT_COMPONENTS", folder);
        }
        bench.env("EYOT_PROGRAMS", build_programs()?);
    }
    bench.args(["--runs", &args.runs.to_string()]);
    bench.args(args.list.then_some("--list"));
    bench.args(json.then_some("--json"));
    bench.args(&args.group);
    let status = bench.status().context("cannot run eyot-bench")?;
    if !status.success() {
        bail!("the benchmark ended with {status}");
    }
    Ok(())
}

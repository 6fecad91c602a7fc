//! `cargo xtask reference`: the example's pictures read by its tasks and by the models' own Python package, compared.

use crate::command;
use crate::workspace::{cargo, root, target_dir};
use anyhow::Result;
use std::process::Command;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Keep what the package reads as what the tests expect
    #[arg(long)]
    bless: bool,
}

pub(crate) fn run(args: &Args, json: bool) -> Result<()> {
    let mut build = cargo();
    build.args(["build", "--release", "-p", "eyot-unify", "-p", "eyot-read-text-tests"]);
    command::run("building the comparison", &mut build)?;
    let mut compare = Command::new(target_dir()?.join("release/read-text-reference"));
    compare.current_dir(root()).args(args.bless.then_some("--bless"));
    command::run("reading the pictures with the package and with the tasks", &mut compare)?;
    if json {
        println!("{}", serde_json::json!({"ok": true}));
    }
    Ok(())
}

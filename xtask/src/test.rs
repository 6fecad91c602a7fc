//! `cargo xtask test`: every check of the repository.

use crate::workspace::{build_programs, cargo, target_dir};
use crate::{command, components, tidy};
use anyhow::{Result, bail};
use std::time::Instant;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Only the tests: no format, lints and tidy
    #[arg(long)]
    only_tests: bool,
    /// Goes to `cargo test`, for example `-- -p eyot-engine`
    #[arg(last = true)]
    rest: Vec<String>,
}

/// The quick checks go first, so that a slip shows within the minute.
pub(crate) fn run(args: &Args, json: bool) -> Result<()> {
    let start = Instant::now();
    if !args.only_tests {
        command::run("format", cargo().args(["fmt", "--all", "--check"]))?;
        tidy::run(false)?;
    }
    components::build()?;
    build_programs()?;
    tests(&args.rest)?;
    if !args.only_tests {
        // After the tests: what they compiled is on the way of nobody, and a lint never hides a failure.
        let mut clippy = cargo();
        clippy.args(["clippy", "--release", "--workspace", "--", "-D", "warnings"]);
        command::run("lints", &mut clippy)?;
    }
    let seconds = start.elapsed().as_secs();
    eprintln!("==> all checks passed in {seconds} s");
    if json {
        println!("{}", serde_json::json!({"ok": true, "seconds": seconds}));
    }
    Ok(())
}

/// Tests that run components or programs find them by these variables.
fn tests(rest: &[String]) -> Result<()> {
    let target = target_dir()?;
    let mut cargo = cargo();
    cargo.args(["test", "--release"]);
    if rest.is_empty() {
        cargo.args(["--workspace", "--no-fail-fast"]);
    } else {
        cargo.args(["-p", "eyot-unify"]).args(rest);
    }
    cargo.env("EYOT_COMPONENTS", target.join("components"));
    cargo.env("EYOT_PROGRAMS", target.join("release"));
    eprintln!("==> tests");
    let status = cargo.status()?;
    if !status.success() {
        bail!("tests failed ({status}); the lines with FAILED above name them");
    }
    Ok(())
}

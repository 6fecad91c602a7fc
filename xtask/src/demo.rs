//! `cargo xtask demo`: the read-text example on a control plane and two agents, as separate processes that speak
//! mutual TLS, from a fresh clone to the report.

mod house;
mod report;

use crate::workspace::{build_programs, root};
use crate::{command, components};
use anyhow::{Context, Result, bail};
use house::House;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

/// The example that is run, below the repository's root.
const EXAMPLE: &str = "examples/read-text";
const AGENTS: [(&str, &str); 2] = [("camera", "role=camera"), ("compute", "role=compute")];

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Leave the data of control plane and agents in this folder
    #[arg(long, value_name = "FOLDER")]
    keep: Option<PathBuf>,
    /// Give up after this many seconds of running
    #[arg(long, default_value_t = 900)]
    limit: u64,
}

pub(crate) fn run(args: &Args, json: bool) -> Result<()> {
    let example = root().join(EXAMPLE);
    if !example.join("setup.py").is_file() {
        bail!("{EXAMPLE} is not there");
    }
    let programs = build_programs()?;
    let components = components::build()?;
    eprintln!("==> fetching models and pictures");
    let mut setup = Command::new("python3");
    setup.current_dir(root()).arg(example.join("setup.py")).arg("--json");
    let inputs = inputs(&command::read(&mut setup)?)?;

    let mut house = House::open(&programs, args.keep.as_deref())?;
    house.start_cloud()?;
    for (name, label) in AGENTS {
        house.start_agent(name, label)?;
    }
    house.wait_for_agents(AGENTS.len())?;
    eprintln!("==> registering the components");
    for component in &components {
        let mut push = house.eyot();
        push.args(["--quiet", "task", "push"]).arg(&component.file);
        command::read(&mut push)?;
    }
    eprintln!("==> running {EXAMPLE}");
    let run = run_example(&house, &example, &inputs, Duration::from_secs(args.limit))?;
    let result = report::print(&run)?;
    house.close();
    if json {
        println!("{}", serde_json::to_string(&result)?);
    }
    if !result.ok {
        bail!("the run is not what it should be: {}", serde_json::to_string(&result)?);
    }
    Ok(())
}

/// Starts the run, follows it with `eyot`'s own progress, and gives all that the API knows of it.
fn run_example(house: &House, example: &Path, inputs: &[String], limit: Duration) -> Result<serde_json::Value> {
    let mut start = house.eyot();
    start
        .current_dir(root())
        .args(["--quiet", "run"])
        .arg(example.join("workflow.yaml"));
    start.args(inputs);
    let id = command::read(&mut start)?.trim().to_owned();

    let mut wait = house.eyot();
    wait.args(["runs", "wait", &id, "--timeout", &format!("{}s", limit.as_secs())]);
    wait.stdout(std::process::Stdio::null());
    let status = wait.status().context("cannot run eyot")?;
    if status.code() == Some(9) {
        bail!("the run did not end within {} s", limit.as_secs());
    }
    let detail = command::read(house.eyot().args(["-o", "json", "runs", "show", &id]))?;
    serde_json::from_str(&detail).context("`eyot runs show` printed something that is not JSON")
}

/// The `-i` arguments from what the set-up prints: for each input a file, or a list of files.
fn inputs(printed: &str) -> Result<Vec<String>> {
    let last = printed.lines().last().unwrap_or_default();
    let files: BTreeMap<String, Files> = serde_json::from_str(last).context("the set-up printed no files")?;
    let each = files.iter().flat_map(|(name, files)| {
        let files = match files {
            Files::One(file) => std::slice::from_ref(file),
            Files::Many(files) => files,
        };
        files.iter().flat_map(move |file| ["-i".to_owned(), format!("{name}=@{file}")])
    });
    Ok(each.collect())
}

#[derive(serde::Deserialize)]
#[serde(untagged)]
enum Files {
    One(String),
    Many(Vec<String>),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_set_up_prints_becomes_inputs() {
        let printed = "note\n{\"det\": \"d.onnx\", \"pictures\": [\"a.png\", \"b.png\"]}\n";
        assert_eq!(
            inputs(printed).unwrap(),
            ["-i", "det=@d.onnx", "-i", "pictures=@a.png", "-i", "pictures=@b.png"]
        );
        assert!(inputs("").is_err());
    }
}

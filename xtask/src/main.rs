//! The commands of this repository: `cargo xtask test`, `demo`, `bench`, `dist`, and what they are made of.
//!
//! Rust hosts all checks, so that nothing but cargo is needed to run them. Each command is a file. With `--json` the
//! last line of standard output is the result; everything else goes to standard error.

mod bench;
mod command;
mod components;
mod demo;
mod deny;
mod dist;
mod faults;
mod reference;
mod sim;
mod storm;
mod test;
mod tidy;
mod workspace;

use clap::{Parser, Subcommand};
use std::process::ExitCode;

/// Work on Eyot itself.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask", disable_help_subcommand = true)]
struct Cli {
    /// The last line of standard output is the result as JSON
    #[arg(long, global = true)]
    json: bool,
    #[command(subcommand)]
    task: Task,
}

#[derive(Debug, Subcommand)]
enum Task {
    /// Run every check: format, lints, tidy, and all tests
    Test(test::Args),
    /// Check what the compiler does not: who depends on whom, sizes of files, docs
    Tidy,
    /// Compile the standard tasks and those of the examples to components
    Components,
    /// Run the read-text example on a control plane and two agents, from nothing
    Demo(demo::Args),
    /// Measure against floors of the same machine
    Bench(bench::Args),
    /// Simulate one cloud and several agents under faults, seed by seed
    Sim(sim::Args),
    /// Let many agents come back to one control plane at once
    Storm(storm::Args),
    /// Kill, stop, cut, delay, starve and damage the real programs, and see whether what is promised holds
    Faults(faults::Args),
    /// Read the example's pictures with the models' own Python package too, and compare
    Reference(reference::Args),
    /// Make archives of stripped release programs, units and completions in dist/, with checksums
    Dist(dist::Args),
    /// Check licences and advisories of all dependencies with cargo-deny
    Deny,
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    let done = match cli.task {
        Task::Test(args) => test::run(&args, cli.json),
        Task::Tidy => tidy::run(cli.json),
        Task::Components => components::run(cli.json),
        Task::Demo(args) => demo::run(&args, cli.json),
        Task::Bench(args) => bench::run(&args, cli.json),
        Task::Sim(args) => sim::run(&args, cli.json),
        Task::Storm(args) => storm::run(&args, cli.json),
        Task::Faults(args) => faults::run(&args, cli.json),
        Task::Reference(args) => reference::run(&args, cli.json),
        Task::Dist(args) => dist::run(&args, cli.json),
        Task::Deny => deny::run(cli.json),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            if cli.json {
                println!("{}", serde_json::json!({"ok": false, "error": format!("{error:#}")}));
            }
            ExitCode::FAILURE
        }
    }
}

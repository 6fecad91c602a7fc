//! The `eyot` command: what people and scripts type to run workflows, look at runs, and manage agents and tasks.
//!
//! [`main`] reads the command line and gives the exit code. Everything that it knows of the control plane it knows
//! through [`eyot_client`], and everything it knows of the workflow language through [`eyot_spec`]. It runs no task and
//! compiles no component by itself: for that it calls the sibling programs `eyot-cloud` and `eyot-agent`.
//!
//! Results go to standard output, progress and errors to standard error. Exit codes are in `exit.rs`.

mod args;
mod board;
mod commands;
mod config;
mod dev;
mod diagnostics;
mod exit;
mod explain;
mod glob;
mod human;
mod inputs;
mod output;
mod paint;
mod progress;
mod siblings;
mod source;
mod spec;
mod table;

use clap::{CommandFactory, Parser};
use exit::{Exit, Outcome};
use output::Output;
use std::process::ExitCode;

/// Runs the command that the process was started with.
#[must_use]
pub fn main() -> ExitCode {
    let cli = args::Cli::parse();
    let output = Output::new(cli.style.format, cli.style.quiet, cli.style.color);
    let runtime = match tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            output.warn(format!("error: cannot start: {error}"));
            return Exit::Local.into();
        }
    };
    let exit = match runtime.block_on(dispatch(cli, output)) {
        Ok(()) => Exit::Success,
        Err(fault) => {
            output.fault(&fault, None);
            fault.exit
        }
    };
    // A blocked read of standard input must not hold the process.
    runtime.shutdown_background();
    exit.into()
}

async fn dispatch(cli: args::Cli, output: Output) -> Outcome {
    use args::Command;
    let to = &cli.connection;
    match cli.command {
        Command::Dev(args) => dev::run(args, output).await,
        Command::Run(args) => commands::run::run(to, args, output).await,
        Command::Plan(args) => commands::plan::plan(to, args, output).await,
        Command::Validate(args) => commands::validate::validate(to, args, output).await,
        Command::Runs(command) => commands::runs::runs(to, command, output).await,
        Command::Agents(command) => commands::agents::agents(to, command, output).await,
        Command::Workflow(command) => commands::workflow::workflow(to, command, output).await,
        Command::Task(command) => commands::task::task(to, command, output).await,
        Command::Blob(command) => commands::blob::blob(to, command, output).await,
        Command::Login(args) => commands::login::login(to, args, output).await,
        Command::Completions { shell } => {
            let mut text = Vec::new();
            clap_complete::generate(shell, &mut args::Cli::command(), "eyot", &mut text);
            output.text(String::from_utf8_lossy(&text))
        }
    }
}

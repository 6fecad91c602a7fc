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
use exit::{Exit, Fault, Outcome};
use output::Output;
use std::ffi::{OsStr, OsString};
use std::path::Path;
use std::process::ExitCode;

/// Runs the command that the process was started with.
#[must_use]
pub fn main() -> ExitCode {
    let args = with_agent_path(std::env::args_os(), |name| Path::new(name).exists());
    let cli = match args::Cli::try_parse_from(&args) {
        Ok(cli) => cli,
        Err(error) => return misread(&error, &args),
    };
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

/// A command line that is wrong, or one that asks for help. Scripts that want JSON get their errors as JSON.
fn misread(error: &clap::Error, args: &[OsString]) -> ExitCode {
    let wants_json = args
        .windows(2)
        .any(|pair| (pair[0] == "-o" || pair[0] == "--output") && pair[1] == "json")
        || args.iter().any(|arg| arg == "-ojson" || arg == "-o=json" || arg == "--output=json");
    if !error.use_stderr() || !wants_json {
        // Where nobody reads it, the code says as much.
        drop(error.print());
        return if error.use_stderr() { Exit::Usage } else { Exit::Success }.into();
    }
    let text = error.to_string();
    let mut lines = text.lines().filter(|line| !line.trim().is_empty());
    let first = lines.next().unwrap_or_default();
    let mut fault = Fault::usage(first.strip_prefix("error: ").unwrap_or(first));
    let rest: Vec<&str> = lines.map(str::trim).collect();
    if !rest.is_empty() {
        fault = fault.help(rest.join("; "));
    }
    Output::new(output::Format::Json, true, paint::ColorChoice::default()).fault(&fault, None);
    Exit::Usage.into()
}

/// `--agent /data` is taken as `--agent=/data`: the option stands before the command and may have no value, so that only
/// what looks like a path is its value, or what is there and is no command.
fn with_agent_path(args: impl Iterator<Item = OsString>, there: impl Fn(&OsStr) -> bool) -> Vec<OsString> {
    let commands = args::Cli::command();
    let is_command = |arg: &OsStr| commands.get_subcommands().any(|c| arg == c.get_name());
    let mut joined: Vec<OsString> = Vec::new();
    let mut open = true;
    for (n, arg) in args.enumerate() {
        let looks_like_path = arg.as_encoded_bytes().contains(&b'/') || arg.as_encoded_bytes().starts_with(b".");
        let is_path = looks_like_path || (!arg.as_encoded_bytes().starts_with(b"-") && !is_command(&arg) && there(&arg));
        match joined.last_mut() {
            Some(last) if open && is_path && last == "--agent" => {
                last.push("=");
                last.push(arg);
                continue;
            }
            _ => {}
        }
        open = open && (n == 0 || arg.as_encoded_bytes().starts_with(b"-"));
        joined.push(arg);
    }
    joined
}

async fn dispatch(cli: args::Cli, output: Output) -> Outcome {
    use args::Command;
    let to = &cli.connection;
    match cli.command {
        Command::Dev(args) => dev::run(args, output).await,
        Command::Run(args) => commands::run::run(to, args, output).await,
        Command::Plan(args) => {
            to.cloud_only("plan over other agents")?;
            commands::plan::plan(to, args, output).await
        }
        Command::Validate(args) => commands::validate::validate(to, args, output).await,
        Command::Runs(command) => commands::runs::runs(to, command, output).await,
        Command::Agents(command) => {
            to.cloud_only("know other agents")?;
            commands::agents::agents(to, command, output).await
        }
        Command::Workflow(command) => commands::workflow::workflow(to, command, output).await,
        Command::Task(command) => commands::task::task(to, command, output).await,
        Command::Blob(command) => commands::blob::blob(to, command, output).await,
        Command::Login(args) => {
            to.cloud_only("keep logins")?;
            commands::login::login(to, args, output).await
        }
        Command::Completions { shell } => {
            let mut text = Vec::new();
            clap_complete::generate(shell, &mut args::Cli::command(), "eyot", &mut text);
            output.text(String::from_utf8_lossy(&text))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_path_of_an_agent_may_follow_a_space() {
        for (given, expected) in [
            ("eyot --agent /data runs ls", "eyot --agent=/data runs ls"),
            ("eyot -q --agent ./data runs ls", "eyot -q --agent=./data runs ls"),
            ("eyot --agent runs ls", "eyot --agent runs ls"),
            ("eyot --agent a1 runs ls", "eyot --agent=a1 runs ls"),
            ("eyot --agent data/a2 runs ls", "eyot --agent=data/a2 runs ls"),
            ("eyot --agent rnus ls", "eyot --agent rnus ls"),
            ("eyot --agent --quiet runs ls", "eyot --agent --quiet runs ls"),
            ("eyot --agent=/data run ./a.yaml", "eyot --agent=/data run ./a.yaml"),
            ("eyot dev --agent /x", "eyot dev --agent /x"),
        ] {
            let args = given.split(' ').map(OsString::from);
            let expected: Vec<OsString> = expected.split(' ').map(OsString::from).collect();
            assert_eq!(with_agent_path(args, |name| name == "a1" || name == "runs"), expected, "{given}");
        }
    }
}

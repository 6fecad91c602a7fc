//! `eyot-faults`: runs groups of faults on the real programs. `cargo xtask faults` builds all that it needs.

#![allow(clippy::print_stdout)]

use anyhow::{Context, Result};
use clap::Parser;
use eyot_faults::{Figure, GROUPS, Group, Setting};
use std::os::unix::process::CommandExt;
use std::process::{Command, ExitCode};
use std::time::Instant;

/// Set in the process that has namespaces of its own.
const APART: &str = "EYOT_FAULTS_APART";

/// Faults on the real programs: what must hold, held or not.
#[derive(Debug, Parser)]
#[command(name = "eyot-faults")]
struct Cli {
    /// Groups, as `--list` names them; all where none is named
    groups: Vec<String>,
    /// A selection that takes seconds instead of minutes
    #[arg(long)]
    short: bool,
    /// Seed of every random choice; a new one where it is not given
    #[arg(long)]
    seed: Option<u64>,
    /// A line of JSON for each figure on standard output, and the result as the last one
    #[arg(long)]
    json: bool,
    /// List the groups and run nothing
    #[arg(long)]
    list: bool,
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    if cli.list {
        for group in GROUPS {
            println!("{:<11} {}", group.name, group.about);
        }
        return ExitCode::SUCCESS;
    }
    match chosen(&cli.groups).and_then(|groups| act(&cli, &groups)) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn chosen(names: &[String]) -> Result<Vec<&'static Group>> {
    if names.is_empty() {
        return Ok(GROUPS.iter().collect());
    }
    names
        .iter()
        .map(|name| eyot_faults::group::find(name).with_context(|| format!("there is no group `{name}`; `--list` names them")))
        .collect()
}

fn act(cli: &Cli, groups: &[&'static Group]) -> Result<bool> {
    let root = rustix::process::geteuid().is_root();
    if root && std::env::var_os(APART).is_none() {
        return Err(apart());
    }
    if std::env::var_os(APART).is_some() {
        eyot_faults::network::ip("link set lo up").context("a network of its own has no loopback")?;
    }
    let seed = cli.seed.unwrap_or_else(|| fastrand::u64(..1_000_000_000));
    eprintln!("seed {seed}");
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.spawn(end_when_asked());
    let begun = Instant::now();
    let (mut figures, mut failed, mut skipped) = (Vec::new(), Vec::new(), Vec::new());
    for side_by_side in groups.chunk_by(|_, next| next.beside) {
        let mut running = Vec::new();
        for group in side_by_side.iter().copied() {
            if group.needs_root && !root {
                eprintln!("{:<11} skipped: only root may make network namespaces and mounts", group.name);
                skipped.push(group.name);
                continue;
            }
            eprintln!("{:<11} {}", group.name, group.about);
            let setting = Setting::new(group, seed, cli.short);
            let handle = runtime.handle().clone();
            running.push((group.name, std::thread::spawn(move || handle.block_on((group.run)(&setting)))));
        }
        for (name, task) in running {
            match task.join().unwrap_or_else(|_| Err(anyhow::anyhow!("it panicked"))) {
                Ok(found) => {
                    failed.extend(found.iter().filter(|f| f.strict && !f.kept()).map(|f| f.name.clone()));
                    figures.extend(found);
                }
                Err(error) => {
                    eprintln!("{name:<11} FAILED: {error:#}");
                    failed.push(name.to_owned());
                }
            }
        }
    }
    let seconds = begun.elapsed().as_secs();
    tell(cli, &figures, seconds);
    let ok = failed.is_empty();
    if cli.json {
        let result = serde_json::json!({"ok": ok, "seed": seed, "seconds": seconds, "failed": failed, "skipped": skipped});
        println!("{result}");
    }
    if !ok {
        eprintln!("FAILED: {}; the same choices again: --seed {seed}", failed.join(", "));
    }
    Ok(ok)
}

/// The first process of its own ids is ended by nothing that it does not listen to.
async fn end_when_asked() {
    use tokio::signal::unix::{SignalKind, signal};
    let (Ok(mut terminate), Ok(mut interrupt)) = (signal(SignalKind::terminate()), signal(SignalKind::interrupt())) else {
        return;
    };
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    eprintln!("stopped before the end");
    std::process::exit(130);
}

fn tell(cli: &Cli, figures: &[Figure], seconds: u64) {
    for figure in figures {
        if cli.json {
            match serde_json::to_string(figure) {
                Ok(line) => println!("{line}"),
                Err(error) => eprintln!("{}: {error}", figure.name),
            }
        } else {
            println!("{figure}");
        }
    }
    eprintln!("{seconds} s");
}

/// Becomes a process with network, mounts and process ids of its own: whatever is made or started there goes with it,
/// however it ends, and nothing of the machine is touched.
fn apart() -> anyhow::Error {
    let me = match std::env::current_exe() {
        Ok(me) => me,
        Err(error) => return error.into(),
    };
    let mut unshare = Command::new("unshare");
    unshare
        .args(["--mount", "--net", "--pid", "--fork", "--kill-child", "--mount-proc", "--"])
        .arg(me)
        .args(std::env::args_os().skip(1))
        .env(APART, "1");
    let error = unshare.exec();
    anyhow::Error::new(error).context("cannot run unshare, which gives the groups a network of their own")
}

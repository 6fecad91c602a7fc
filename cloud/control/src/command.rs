//! The command line of `eyot-cloud`.

use crate::config::ServeArgs;
use crate::server::Server;
use crate::store::{Change, Store};
use crate::{backup, clock, notify, tokens};
use anyhow::{Context, bail};
use clap::{Parser, Subcommand};
use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;
use tokio::signal::unix::{SignalKind, signal};

/// The control plane of Eyot
#[derive(Debug, Parser)]
#[command(name = "eyot-cloud", version, about)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Serve the API and the agents until SIGTERM or SIGINT
    Serve(Box<ServeArgs>),
    /// Write the store, the CA and the blobs to one file; works while a control plane serves the folder
    Backup {
        /// The control plane's data folder
        #[arg(long, env = "EYOT_DATA", default_value = "/var/lib/eyot-cloud")]
        data: PathBuf,
        /// The file to write. It holds the CA's key
        #[arg(long)]
        to: PathBuf,
    },
    /// Make a new data folder from a back-up
    Restore {
        #[arg(long)]
        from: PathBuf,
        /// A folder that is empty or not there
        #[arg(long, env = "EYOT_DATA", default_value = "/var/lib/eyot-cloud")]
        data: PathBuf,
    },
    /// Tokens of the API
    #[command(subcommand)]
    Token(TokenCommand),
}

#[derive(Debug, Subcommand)]
enum TokenCommand {
    /// Make a token and print it, once
    Create {
        /// What it is for
        #[arg(long)]
        name: String,
        #[arg(long, env = "EYOT_DATA", default_value = "/var/lib/eyot-cloud")]
        data: PathBuf,
    },
    /// List the tokens, without their secrets
    Ls {
        #[arg(long, env = "EYOT_DATA", default_value = "/var/lib/eyot-cloud")]
        data: PathBuf,
    },
    /// End a token; a control plane that runs takes notice within a second
    Revoke {
        /// The token's id, as `ls` shows it
        id: String,
        #[arg(long, env = "EYOT_DATA", default_value = "/var/lib/eyot-cloud")]
        data: PathBuf,
    },
}

/// Runs the command line; the exit code is 0 for success, 2 for a wrong usage (clap's), 1 for everything else.
#[must_use]
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    log();
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            tracing::error!(%error, "no runtime");
            return ExitCode::FAILURE;
        }
    };
    match runtime.block_on(run(cli.command)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let _ = writeln!(std::io::stderr(), "eyot-cloud: {}", crate::chain(&*error));
            ExitCode::FAILURE
        }
    }
}

/// To standard error; `EYOT_LOG` says what, as in `info,eyot_control=debug`.
fn log() {
    let filter = tracing_subscriber::EnvFilter::try_from_env("EYOT_LOG").unwrap_or_else(|_| tracing_subscriber::EnvFilter::new("info"));
    let log = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    // In a service manager's journal, colours are noise.
    let colours = std::io::IsTerminal::is_terminal(&std::io::stderr());
    log.with_ansi(colours).init();
}

async fn run(command: Command) -> anyhow::Result<()> {
    match command {
        Command::Serve(args) => serve(*args).await,
        Command::Backup { data, to } => {
            must_exist(&data)?;
            let summary = backup::save(&data, &to).await.context("failed to back up")?;
            say(&format!("{}: {} blobs, {} bytes", to.display(), summary.blobs, summary.bytes))
        }
        Command::Restore { from, data } => {
            let summary = backup::restore(&from, &data).await.context("failed to restore")?;
            say(&format!("{}: {} blobs from {} bytes", data.display(), summary.blobs, summary.bytes))
        }
        Command::Token(command) => token(command).await,
    }
}

async fn serve(args: ServeArgs) -> anyhow::Result<()> {
    let mut terminate = signal(SignalKind::terminate()).context("failed to listen for SIGTERM")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("failed to listen for SIGINT")?;
    if let Err(error) = eyot_link::allow_descriptors() {
        tracing::warn!(%error, "the limit on open files cannot be raised");
    }
    let server = Server::start(args).await.context("failed to start")?;
    notify::send("READY=1");
    let failed = tokio::select! {
        _ = terminate.recv() => false,
        _ = interrupt.recv() => false,
        () = server.failed() => true,
    };
    notify::send("STOPPING=1");
    server.stop().await;
    if failed {
        bail!("stopped, because going on would have been wrong: see the log");
    }
    Ok(())
}

async fn token(command: TokenCommand) -> anyhow::Result<()> {
    let data = match &command {
        TokenCommand::Create { data, .. } | TokenCommand::Ls { data } | TokenCommand::Revoke { data, .. } => data.clone(),
    };
    must_exist(&data)?;
    let store = Store::open(&data.join(backup::DATABASE)).await?;
    let done = async {
        match command {
            TokenCommand::Create { name, .. } => {
                let (_, text) = tokens::create(&store, &name).await?;
                say(&text)
            }
            TokenCommand::Ls { .. } => {
                for token in store.tokens().await? {
                    say(&format!(
                        "{}  {}  {}",
                        token.id,
                        if token.revoked_at.is_some() { "revoked" } else { "valid  " },
                        token.name
                    ))?;
                }
                Ok(())
            }
            TokenCommand::Revoke { id, .. } => {
                if !store.tokens().await?.iter().any(|token| token.id == id) {
                    bail!("there is no token {id}");
                }
                store.commit(vec![], vec![Change::RevokeToken { id, at: clock::now() }]).await?;
                Ok(())
            }
        }
    }
    .await;
    store.close().await;
    done
}

fn must_exist(data: &std::path::Path) -> anyhow::Result<()> {
    let database = data.join(backup::DATABASE);
    if !database.exists() {
        bail!("there is no control plane's data in {}", data.display());
    }
    Ok(())
}

fn say(line: &str) -> anyhow::Result<()> {
    writeln!(std::io::stdout(), "{line}").context("failed to write to standard output")
}

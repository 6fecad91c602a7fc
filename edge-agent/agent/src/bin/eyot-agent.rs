//! `eyot-agent`: joins a device to a control plane and runs its tasks.

#![allow(clippy::print_stdout)]

use anyhow::{Context, bail};
use clap::{Parser, Subcommand};
use eyot_agent::config::{AgentConfig, ConfigError, device_key};
use eyot_agent::folder::{self, FolderError};
use eyot_agent::link::{LinkContext, keep};
use eyot_agent::{Clock, Incarnation, Logs, Parts, Runtime, Storage, alone, copies, device, local, triggers};
use eyot_blob::Store;
use eyot_link::{AgentKey, Dialer, DialerOptions, Identity, JoinToken};
use eyot_model::Load;
use eyot_wasm_host::{Compiler, Host, HostConfig};
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use tokio::sync::watch;
use zeroize::Zeroizing;

#[derive(Parser)]
#[command(
    name = "eyot-agent",
    version,
    about = "Runs a device's part of workflows, with the control plane and without it"
)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Join a control plane with a one-time token from `eyot agents invite`; again, it keeps the settings of this device
    Join {
        /// Folder for the agent's key and state
        #[arg(long, env = "EYOT_AGENT_DATA", default_value = "/var/lib/eyot-agent")]
        data: PathBuf,
        /// File that holds the token; `-` reads standard input
        #[arg(long, default_value = "-")]
        token_file: String,
        /// Name that it would like; the host name if not given. An invitation with a name (`--name`) goes before it
        #[arg(long)]
        name: Option<String>,
        /// A label that workflows place tasks by; may be given again
        #[arg(long = "label", value_name = "KEY=VALUE", value_parser = key_value)]
        labels: Vec<(String, String)>,
        /// Agents of one site can reach each other without the cloud
        #[arg(long)]
        site: Option<String>,
    },
    /// Set up a device that works by itself, with no control plane; it may join one later
    Init {
        /// Folder for the agent's key and state
        #[arg(long, env = "EYOT_AGENT_DATA", default_value = "/var/lib/eyot-agent")]
        data: PathBuf,
        /// Its name; the host name if not given
        #[arg(long)]
        name: Option<String>,
        /// A label that workflows place tasks by; may be given again
        #[arg(long = "label", value_name = "KEY=VALUE", value_parser = key_value)]
        labels: Vec<(String, String)>,
        /// Agents of one site can reach each other without the cloud
        #[arg(long)]
        site: Option<String>,
    },
    /// Run the agent in the foreground
    Run {
        #[arg(long, env = "EYOT_AGENT_DATA", default_value = "/var/lib/eyot-agent")]
        data: PathBuf,
        /// Attempts that may be under way at the same time; four for each core if not given
        #[arg(long)]
        workers: Option<usize>,
    },
    /// What the agent on this device is doing
    Status {
        #[arg(long, env = "EYOT_AGENT_DATA", default_value = "/var/lib/eyot-agent")]
        data: PathBuf,
        #[arg(short, long, value_parser = ["text", "json"], default_value = "text")]
        output: String,
    },
    /// Print what a component says of itself, as JSON
    Describe { component: PathBuf },
}

fn key_value(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value)) if !key.is_empty() => Ok((key.to_owned(), value.to_owned())),
        _ => Err("expected KEY=VALUE, such as `role=camera`".into()),
    }
}

fn main() -> ExitCode {
    eyot_agent::keep_lean();
    eyot_wasm_host::compile_child::main_if_asked();
    let cli = Cli::parse();
    let filter = tracing_subscriber::EnvFilter::try_from_env("EYOT_LOG").unwrap_or_else(|_| "info".into());
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        // In a service manager's journal, colours are noise.
        .with_ansi(std::io::IsTerminal::is_terminal(&std::io::stderr()))
        .with_target(false)
        .init();
    let result = match cli.command {
        Command::Join {
            data,
            token_file,
            name,
            labels,
            site,
        } => small_runtime(join(data, token_file, name, labels, site)),
        Command::Init { data, name, labels, site } => init(&data, name, labels, site),
        Command::Run { data, workers } => run(&data, workers),
        Command::Status { data, output } => small_runtime(show_status(data, output == "json")),
        Command::Describe { component } => small_runtime(describe(component)),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("eyot-agent: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn small_runtime(task: impl Future<Output = anyhow::Result<()>>) -> anyhow::Result<()> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(task)
}

fn init(data: &Path, name: Option<String>, labels: Vec<(String, String)>, site: Option<String>) -> anyhow::Result<()> {
    let name = name.or_else(host_name).context("this device has no host name; give --name")?;
    let _taken = folder::take(data)?;
    let agent = alone::set_up(data, name.clone(), labels.into_iter().collect(), site)?;
    println!(
        "{name} is set up as {agent}, with no control plane; start it with `eyot-agent run --data {0}`, and speak to it with `eyot --agent {0}`",
        data.display()
    );
    Ok(())
}

async fn join(
    data: PathBuf,
    token_file: String,
    name: Option<String>,
    labels: Vec<(String, String)>,
    site: Option<String>,
) -> anyhow::Result<()> {
    let mut text = Zeroizing::new(String::new());
    if token_file == "-" {
        std::io::stdin()
            .take(16 << 10)
            .read_to_string(&mut text)
            .context("cannot read the token from standard input")?;
    } else {
        let file = std::fs::File::open(&token_file).with_context(|| format!("cannot open `{token_file}`"))?;
        file.take(16 << 10)
            .read_to_string(&mut text)
            .with_context(|| format!("cannot read `{token_file}`"))?;
    }
    let token: JoinToken = text
        .trim()
        .parse()
        .context("this is not a join token; `eyot agents invite` prints one")?;
    let _taken = folder::take(&data).map_err(|error| match error {
        FolderError::InUse(_) => anyhow::Error::new(error).context("stop the agent before it joins"),
        error => error.into(),
    })?;
    copies::settle(&data);
    let mut config = match AgentConfig::load(&data) {
        Ok(config) => config,
        Err(ConfigError::NotJoined(_)) => AgentConfig::without_file(host_name().unwrap_or_default()),
        Err(error) => return Err(error.into()),
    };
    let name = name.unwrap_or(config.name);
    anyhow::ensure!(!name.is_empty(), "this device has no host name; give --name");
    let key = AgentKey::open_or_create(&data)?;
    let joined = eyot_link::join(&token, &name, key, link_clock(&Clock::open(&data), Clock::wall))
        .await
        .map_err(explain)?;
    joined.identity.save(&data)?;
    // A device that joins again keeps what it was set to; only what was said now is other than before.
    config.name = joined.name;
    config.addresses.clone_from(&token.addresses);
    config.labels.extend(labels);
    config.site = site.or(config.site);
    config.save(&data)?;
    copies::keep(&data).context("cannot copy the key and the certificate")?;
    println!(
        "{} joined as {}; start it with `eyot-agent run --data {}`",
        config.name,
        joined.identity.agent(),
        data.display()
    );
    Ok(())
}

fn explain(error: eyot_link::Error) -> anyhow::Error {
    let advice = error.advice();
    anyhow::Error::new(error).context(advice)
}

fn host_name() -> Option<String> {
    let text = std::fs::read_to_string("/proc/sys/kernel/hostname").ok()?;
    Some(text.trim().to_owned()).filter(|name| !name.is_empty())
}

fn run(data: &Path, workers: Option<usize>) -> anyhow::Result<()> {
    let _taken = if data.is_dir() { Some(folder::take(data)?) } else { None };
    if let Err(error) = eyot_link::allow_descriptors() {
        tracing::warn!(%error, "the limit on open files cannot be raised");
    }
    copies::settle(data);
    let mut no_address = false;
    let config = match AgentConfig::load(data) {
        Err(error @ ConfigError::NotJoined(_)) => return Err(error.into()),
        Err(error) => {
            tracing::error!(
                error = format!("{:#}", anyhow::Error::new(error)),
                "the configuration cannot be read; defaults hold, and no control plane is dialled until it is put right"
            );
            AgentConfig::without_file(host_name().unwrap_or_else(|| "agent".to_owned()))
        }
        Ok(config) => {
            no_address = config.addresses.is_empty();
            config
        }
    };
    let mut alone = false;
    let identity = match Identity::load(data) {
        Ok(Some(identity)) => Some(identity),
        Ok(None) if no_address => {
            alone = true;
            None
        }
        Ok(None) => bail!("this device has a configuration and no certificate; join again"),
        Err(error) => {
            tracing::error!(
                error = format!("{:#}", anyhow::Error::new(error)),
                "the key or the certificate of this device cannot be read; local work goes on. To come back to the control plane, remove \
                 agent-key.pem and agent.pem from `{}` and join again with a token of `eyot agents invite`",
                data.display()
            );
            None
        }
    };
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(cores.clamp(2, 4))
        // They run tasks too.
        .thread_stack_size(eyot_agent::TASK_STACK)
        .enable_all()
        .build()?;
    let served = runtime.block_on(serve(data, config, identity, alone, workers.unwrap_or(cores * 4)));
    // An attempt that did not heed its cancellation does not keep the process.
    runtime.shutdown_timeout(std::time::Duration::from_secs(1));
    match served? {
        Stopped::Asked => Ok(()),
        Stopped::ToBeginAnew => Err(begin_anew()),
    }
}

/// Why the agent has stopped.
enum Stopped {
    Asked,
    ToBeginAnew,
}

/// Becomes the same program with the same arguments, under the same process id.
fn begin_anew() -> anyhow::Error {
    use std::os::unix::process::CommandExt;
    let error = match std::env::current_exe() {
        Ok(program) => std::process::Command::new(program).args(std::env::args_os().skip(1)).exec(),
        Err(error) => error,
    };
    anyhow::Error::new(error).context("cannot start anew")
}

/// `alone`: it was set up to work with no control plane, rather than cut off from it by a file that cannot be read.
async fn serve(data: &Path, config: AgentConfig, identity: Option<Arc<Identity>>, alone: bool, workers: usize) -> anyhow::Result<Stopped> {
    // First, so that a stop that is asked for during a long recovery is one in order too.
    let mut signals = StopSignals::listen().context("cannot listen to signals")?;
    let clock = Clock::open(data);
    let capacity = device::capacity(data);
    let generation = getrandom::u64().map_err(|e| anyhow::anyhow!("no randomness: {e}"))?;
    let blobs = Arc::new(Store::open(data.join("blobs"))?);
    let host_config = HostConfig::new(
        data.join("compiled"),
        device_key(data)?,
        u32::try_from(workers).unwrap_or(u32::MAX),
        Compiler::this_program()?,
    );
    let limits = config.disk.on(capacity.disk_bytes);
    let parts = Parts {
        limits,
        logs: Logs::new(config.logs),
        data: data.to_owned(),
        host: Host::new(host_config)?,
        blobs,
        models: Arc::new(eyot_infer::Runtime::new(512 << 20)),
        capacity,
        workers,
        clock: clock.clone(),
    };
    let storage = Storage::open(data, capacity, &limits, &clock, generation)?;
    let (runtime, outbound) = Runtime::start(parts, storage)?;
    if alone {
        runtime.works_alone();
    }
    let agent = identity.as_ref().map(|identity| identity.agent());
    let agent = agent.or_else(|| alone::id(data)).unwrap_or_default();
    let device = device::profile(agent, &config, capacity, Load::default(), std::collections::BTreeSet::new());
    runtime.set_device(device);
    let own = local::Device {
        runtime: Arc::clone(&runtime),
        id: agent,
        name: config.name.clone(),
        alone,
    };
    let _local = match local::serve(data, own) {
        Ok(serving) => Some(serving),
        Err(error) => {
            // Such as a path that is too long for a socket: no reason to leave the work undone.
            tracing::warn!(%error, path = %local::socket_path(data).display(), "`eyot --agent` and `eyot-agent status` will get no answer");
            None
        }
    };
    tokio::spawn(triggers::listen(Arc::clone(&runtime), agent, data.to_owned()));
    tracing::info!(%agent, name = config.name, version = env!("CARGO_PKG_VERSION"), "agent is running");
    eyot_agent::notify_ready();
    let (stop, to_stop) = watch::channel(false);
    let link = match identity.filter(|_| !config.addresses.is_empty()) {
        None => None,
        Some(identity) => {
            tokio::spawn(keep_certificate(Arc::clone(&identity), data.to_owned()));
            let (load, load_seen) = watch::channel(Load::default());
            let dialer = Dialer::new(
                identity,
                DialerOptions {
                    addresses: config.addresses.clone(),
                    load: load_seen,
                    steady: link_clock(&clock, Clock::now),
                    clock: link_clock(&clock, Clock::wall),
                },
            )?;
            let context = LinkContext {
                runtime: Arc::clone(&runtime),
                config,
                capacity,
                data: data.to_owned(),
                incarnation: Incarnation::open(data, getrandom::u64().map_err(|e| anyhow::anyhow!("no randomness: {e}"))?),
                load,
            };
            Some(tokio::spawn(keep(context, dialer, outbound, to_stop)))
        }
    };
    tokio::spawn(keep_clock(Arc::clone(&runtime), clock.clone()));
    let stopped = tokio::select! {
        () = signals.wait() => Stopped::Asked,
        () = runtime.wants_to_begin_anew() => Stopped::ToBeginAnew,
    };
    tracing::info!("stopping");
    let _ = stop.send(true);
    if let Some(link) = link
        && let Err(error) = link.await
    {
        tracing::error!(%error, "link task failed");
    }
    let stopping = Arc::clone(&runtime);
    tokio::task::spawn_blocking(move || stopping.stop()).await?;
    clock.save().context("cannot write the time down")?;
    Ok(stopped)
}

fn link_clock(clock: &Clock, time: fn(&Clock) -> eyot_model::Timestamp) -> eyot_link::Clock {
    let clock = clock.clone();
    eyot_link::Clock::new(move || time(&clock))
}

/// Writes the time down now and then, and follows the system's clock while nothing waits.
async fn keep_clock(runtime: Arc<Runtime>, clock: Clock) {
    let mut keeper = eyot_clock::Keeper::new(clock);
    let mut ticks = tokio::time::interval(eyot_clock::Keeper::EVERY);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        runtime.follow_clock();
        tokio::task::block_in_place(|| keeper.tick());
    }
}

/// Writes each renewed certificate down, so that a restart does not begin with one that ran out.
async fn keep_certificate(identity: Arc<Identity>, data: PathBuf) {
    let mut renewed = identity.watch();
    while renewed.changed().await.is_ok() {
        let (identity, data) = (Arc::clone(&identity), data.clone());
        let save = move || {
            identity.save(&data)?;
            copies::keep(&data)?;
            anyhow::Ok(())
        };
        match tokio::task::spawn_blocking(save).await {
            Ok(Ok(())) => tracing::info!("renewed certificate is on disk"),
            Ok(Err(error)) => tracing::error!(%error, "renewed certificate could not be written down"),
            Err(error) => tracing::error!(%error, "renewed certificate could not be written down"),
        }
    }
}

/// The signals that ask for a stop in order. They count from the moment this exists.
struct StopSignals {
    terminate: tokio::signal::unix::Signal,
    interrupt: tokio::signal::unix::Signal,
}

impl StopSignals {
    fn listen() -> std::io::Result<Self> {
        use tokio::signal::unix::{SignalKind, signal};
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
        })
    }

    async fn wait(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}

async fn show_status(data: PathBuf, json: bool) -> anyhow::Result<()> {
    let status = local::ask(&data).await.with_context(|| {
        format!(
            "no agent answers on `{}`; is `eyot-agent run` running?",
            local::socket_path(&data).display()
        )
    })?;
    if json {
        println!("{}", serde_json::to_string(&status)?);
        return Ok(());
    }
    println!("{} ({}) version {}", status.name, status.id, status.version);
    let by_itself = if status.link == "none" {
        "; this device works by itself"
    } else {
        ""
    };
    println!("link      {}{by_itself}", status.link);
    println!("attempts  {} running, {} queued", status.running, status.queued);
    print!("{}", status.disk.describe(&status.waiting));
    if let Some(skew) = status
        .clock_skew_millis
        .filter(|skew| skew.unsigned_abs() > eyot_clock::SKEW_LIMIT.0)
    {
        let direction = if skew > 0 { "ahead of" } else { "behind" };
        println!(
            "clock     {} {direction} the control plane's",
            eyot_model::Millis(skew.unsigned_abs())
        );
    }
    for run in status.runs {
        let standing = if run.paused {
            "paused: waits for the control plane (`pauseAfter`)"
        } else if run.done_here {
            "done here"
        } else {
            "in progress"
        };
        println!(
            "run       {} {} {standing}{}",
            run.id,
            run.workflow,
            if run.own { ", of this agent's own" } else { "" }
        );
    }
    for trigger in status.triggers {
        let standing = trigger
            .wrong
            .map_or_else(|| "listening".to_owned(), |wrong| format!("CANNOT FIRE: {wrong}"));
        println!(
            "trigger   {}/{} {} ({}) {standing}",
            trigger.namespace, trigger.workflow, trigger.name, trigger.kind
        );
    }
    for run in status.refused {
        println!("refused   {} {}", run.id, run.why);
    }
    Ok(())
}

async fn describe(component: PathBuf) -> anyhow::Result<()> {
    let bytes = std::fs::read(&component).with_context(|| format!("cannot read `{}`", component.display()))?;
    let digest = eyot_model::Digest::of(&bytes);
    // A name that nobody can know before, and a folder of this user alone: what is compiled here is run.
    let cache = tempfile::Builder::new()
        .prefix("eyot-describe-")
        .tempdir()
        .context("cannot make a folder for the compiled code")?;
    let mut key = [0; 32];
    getrandom::fill(&mut key).map_err(|e| anyhow::anyhow!("no randomness: {e}"))?;
    let host = Host::new(HostConfig::new(cache.path().to_owned(), key, 1, Compiler::this_program()?))?;
    let described = async {
        let prepared = host
            .prepare(digest, &component)
            .await
            .map_err(|e| anyhow::anyhow!("{}", e.to_failure()))?;
        let host = Arc::clone(&host);
        let description = tokio::task::spawn_blocking(move || host.describe(&prepared)).await?;
        description.map_err(|failure| anyhow::anyhow!("{failure}"))
    };
    let described = described.await;
    drop(cache);
    println!("{}", serde_json::to_string(&described?)?);
    Ok(())
}

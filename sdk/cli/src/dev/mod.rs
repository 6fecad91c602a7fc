//! `eyot dev`: a control plane and agents on this machine, each its own process, for trying out.
//!
//! Everything listens on loopback. The programs are the ones that are installed for real; only the control plane's
//! `--dev` makes them any different: no TLS and no token on the HTTP side. The agents join as any device does.

mod process;

use crate::args::DevArgs;
use crate::config::file_fault;
use crate::exit::{Exit, Fault, Outcome};
use crate::output::Output;
use crate::siblings;
use eyot_client::{Client, Options};
use eyot_model::LinkState;
use eyot_model::api::InviteRequest;
use process::{Process, Spawn};
use std::collections::BTreeMap;
use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::{Instant, sleep};

/// Longest wait for the control plane, and then for the agents.
const START_LIMIT: Duration = Duration::from_secs(60);
const POLL: Duration = Duration::from_millis(50);

/// An agent to start.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct AgentSpec {
    pub(crate) name: String,
    pub(crate) labels: BTreeMap<String, String>,
}

/// Reads `camera`, `camera:role=camera` or `camera:role=camera,floor=2`.
///
/// # Errors
/// When the name or a label is malformed.
pub(crate) fn parse_agent(text: &str) -> Result<AgentSpec, String> {
    let (name, rest) = text.split_once(':').unwrap_or((text, ""));
    let plain = |s: &str| !s.is_empty() && s.len() <= 63 && s.chars().all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c));
    if !plain(name) || name.starts_with('.') {
        return Err(format!("`{name}` is no name for an agent; use letters, digits, `-`, `_` and `.`"));
    }
    let mut labels = BTreeMap::new();
    for label in rest.split(',').filter(|l| !l.is_empty()) {
        let (key, value) = label
            .split_once('=')
            .ok_or_else(|| format!("the label `{label}` has no `=`; write NAME:LABEL=VALUE"))?;
        if !plain(key) {
            return Err(format!("`{key}` is no name for a label"));
        }
        labels.insert(key.to_owned(), value.to_owned());
    }
    Ok(AgentSpec {
        name: name.to_owned(),
        labels,
    })
}

/// The named agents, and as many more as were asked for.
fn agents(args: &DevArgs) -> Outcome<Vec<AgentSpec>> {
    let mut all = args.named.clone();
    let wanted = (args.agents as usize).min(256);
    let mut number = 1;
    while all.len() < wanted {
        let name = format!("agent-{number}");
        number += 1;
        if all.iter().all(|a| a.name != name) {
            all.push(AgentSpec {
                name,
                labels: BTreeMap::new(),
            });
        }
    }
    for (at, agent) in all.iter().enumerate() {
        if all[..at].iter().any(|other| other.name == agent.name) {
            return Err(Fault::usage(format!("two agents are called `{}`", agent.name)));
        }
    }
    Ok(all)
}

/// The folder with all data; a temporary one goes away when this is dropped.
enum Data {
    Kept(PathBuf),
    Temporary(tempfile::TempDir),
}

impl Data {
    fn open(kept: Option<&Path>) -> Outcome<Self> {
        match kept {
            Some(path) => {
                std::fs::create_dir_all(path).map_err(|e| file_fault("make", path, e))?;
                let path = std::fs::canonicalize(path).map_err(|e| file_fault("find", path, e))?;
                Ok(Self::Kept(path))
            }
            None => {
                let dir = tempfile::Builder::new().prefix("eyot-dev-").tempdir();
                Ok(Self::Temporary(dir.map_err(|e| file_fault("make", &std::env::temp_dir(), e))?))
            }
        }
    }

    fn path(&self) -> &Path {
        match self {
            Self::Kept(path) => path,
            Self::Temporary(dir) => dir.path(),
        }
    }
}

pub(crate) async fn run(args: DevArgs, output: Output) -> Outcome {
    let cloud = siblings::find("eyot-cloud")?;
    let agent = siblings::find("eyot-agent")?;
    let specs = agents(&args)?;
    let (http, quic) = ports(args.port)?;
    let data = Data::open(args.data.as_deref())?;
    let stop = stop_signal()?;
    tokio::pin!(stop);

    let names = specs.iter().map(|s| s.name.as_str()).chain(["cloud"]);
    let spawn = Spawn {
        width: names.map(str::len).max().unwrap_or(0),
        verbose: args.verbose,
        output,
    };
    let mut house = House {
        spawn,
        agent_program: agent,
        data: data.path().to_owned(),
        processes: Vec::new(),
    };
    let outcome = {
        let life = async {
            let client = house.start_cloud(&cloud, http, quic).await?;
            house.start_agents(&client, &specs).await?;
            house.tell_ready(&client, &specs, matches!(data, Data::Temporary(_)), &output)?;
            Err(house.first_end().await)
        };
        tokio::select! {
            ended = life => ended,
            () = &mut stop => Ok(()),
        }
    };
    if outcome.is_ok() {
        output.note("stopping");
    }
    house.stop().await;
    outcome
}

/// Ends at Ctrl-C or SIGTERM.
fn stop_signal() -> Outcome<impl Future<Output = ()>> {
    let failed = |e| Fault::local(format!("cannot wait for signals: {e}"));
    let mut interrupt = signal(SignalKind::interrupt()).map_err(failed)?;
    let mut terminate = signal(SignalKind::terminate()).map_err(failed)?;
    Ok(async move {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
    })
}

/// The port for people must be the one that was asked for; agents learn theirs from their token.
fn ports(http: u16) -> Outcome<(SocketAddr, SocketAddr)> {
    let loopback = |port| SocketAddr::from(([127, 0, 0, 1], port));
    let tcp = TcpListener::bind(loopback(http)).map_err(|error| {
        Fault::local(format!("port {http} on loopback cannot be used: {error}"))
            .help("is another `eyot dev` running? `--port 0` takes any free port")
    })?;
    let udp = UdpSocket::bind(loopback(0)).map_err(|error| Fault::local(format!("no free port: {error}")))?;
    let failed = |error| Fault::local(format!("no free port: {error}"));
    Ok((tcp.local_addr().map_err(failed)?, udp.local_addr().map_err(failed)?))
}

struct House {
    spawn: Spawn,
    agent_program: PathBuf,
    data: PathBuf,
    processes: Vec<Process>,
}

impl House {
    async fn start_cloud(&mut self, program: &Path, http: SocketAddr, quic: SocketAddr) -> Outcome<Client> {
        let folder = self.data.join("cloud");
        std::fs::create_dir_all(&folder).map_err(|e| file_fault("make", &folder, e))?;
        let mut command = tokio::process::Command::new(program);
        command.args(["serve", "--dev", "--data"]).arg(&folder);
        command.args([
            "--listen-http",
            &http.to_string(),
            "--listen-quic",
            &quic.to_string(),
            "--public-address",
            &quic.to_string(),
        ]);
        self.processes.push(self.spawn.start("cloud", command)?);
        let client = Client::new(&Options::new(format!("http://{http}")))?;
        let limit = Instant::now() + START_LIMIT;
        loop {
            match client.health().await {
                Ok(_) => return Ok(client),
                Err(error) if Instant::now() > limit => return Err(error.into()),
                Err(_) => self.check()?,
            }
            sleep(POLL).await;
        }
    }

    async fn start_agents(&mut self, client: &Client, specs: &[AgentSpec]) -> Outcome {
        for spec in specs {
            let folder = self.data.join("agents").join(&spec.name);
            std::fs::create_dir_all(&folder).map_err(|e| file_fault("make", &folder, e))?;
            // An agent of kept data has joined before; its labels are those that it joined with.
            if !folder.join("agent.json").exists() {
                self.join(client, spec, &folder).await?;
            }
            let mut command = tokio::process::Command::new(&self.agent_program);
            command.arg("run").arg("--data").arg(&folder);
            self.processes.push(self.spawn.start(&spec.name, command)?);
        }
        let limit = Instant::now() + START_LIMIT;
        loop {
            self.check()?;
            let there = client.agents().await?;
            let missing = specs
                .iter()
                .find(|s| !there.iter().any(|a| a.name == s.name && a.link == LinkState::Connected));
            let Some(missing) = missing else { return Ok(()) };
            if Instant::now() > limit {
                return Err(Fault::local(format!(
                    "agent {} did not connect within {} s",
                    missing.name,
                    START_LIMIT.as_secs()
                )));
            }
            sleep(POLL).await;
        }
    }

    async fn join(&self, client: &Client, spec: &AgentSpec, folder: &Path) -> Outcome {
        let request = InviteRequest {
            name: Some(spec.name.clone()),
            valid_for: None,
        };
        let invitation = client.invite(&request).await?;
        let mut command = tokio::process::Command::new(&self.agent_program);
        command
            .args(["join", "--token-file", "-", "--data"])
            .arg(folder)
            .args(["--name", &spec.name]);
        for (key, value) in &spec.labels {
            command.arg("--label").arg(format!("{key}={value}"));
        }
        process::run_with_input(command, &invitation.token, &format!("agent {} could not join", spec.name)).await
    }

    /// An error if any process has ended.
    fn check(&mut self) -> Outcome {
        for process in &mut self.processes {
            if let Some(fault) = process.ended() {
                return Err(fault);
            }
        }
        Ok(())
    }

    /// Waits until a process ends by itself, which none should.
    async fn first_end(&mut self) -> Fault {
        loop {
            if let Err(fault) = self.check() {
                return fault;
            }
            sleep(Duration::from_millis(250)).await;
        }
    }

    fn tell_ready(&self, client: &Client, specs: &[AgentSpec], temporary: bool, output: &Output) -> Outcome {
        let pids: BTreeMap<&str, u32> = self.processes.iter().map(|p| (p.name.as_str(), p.pid)).collect();
        if output.is_json() {
            let ready = serde_json::json!({"ready": true, "server": client.server(), "data": self.data, "pids": pids});
            return output.line(ready.to_string());
        }
        let paint = output.note_paint;
        let agents: Vec<String> = specs
            .iter()
            .map(|spec| {
                let labels: Vec<String> = spec.labels.iter().map(|(k, v)| format!("{k}={v}")).collect();
                if labels.is_empty() {
                    spec.name.clone()
                } else {
                    format!("{} ({})", spec.name, labels.join(", "))
                }
            })
            .collect();
        output.note(format!("\n  {}  {}", paint.dim("control plane"), paint.bold(client.server())));
        output.note(format!("  {}         {}", paint.dim("agents"), agents.join(", ")));
        let removed = if temporary {
            paint.dim(" (removed at the end)")
        } else {
            String::new()
        };
        output.note(format!("  {}           {}{removed}\n", paint.dim("data"), self.data.display()));
        if client.server() != eyot_client::DEFAULT_ADDRESS {
            output.note(format!("In another terminal: export EYOT_SERVER={}", client.server()));
        }
        output.note("Ready. `eyot agents ls`, `eyot run FILE -i NAME=VALUE --wait`; Ctrl-C ends all.");
        Ok(())
    }

    /// Agents first, so that they can still report; then the control plane.
    async fn stop(&mut self) {
        let mut cloud: Vec<Process> = self.processes.drain(..self.processes.len().min(1)).collect();
        process::stop_all(&mut self.processes).await;
        process::stop_all(&mut cloud).await;
    }
}

/// The fault of a program that ended by itself.
fn ended_fault(name: &str, status: impl std::fmt::Display, last_lines: &[String]) -> Fault {
    let mut message = format!("{name} ended by itself ({status})");
    if !last_lines.is_empty() {
        message.push_str(&format!("; its last words:\n  {}", last_lines.join("\n  ")));
    }
    Fault::new(Exit::Local, "dev.process-ended", anyhow::anyhow!(message))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn agents_are_named_and_labelled() {
        let spec = parse_agent("camera:role=camera,floor=2").unwrap();
        assert_eq!(spec.name, "camera");
        assert_eq!(spec.labels.get("floor").map(String::as_str), Some("2"));
        assert_eq!(parse_agent("plain").unwrap().labels.len(), 0);
        for wrong in ["", ":a=b", "a b", "../x", "a:b", "a:=c", ".hidden"] {
            assert!(parse_agent(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn named_agents_count() {
        let args = |named: &[&str], agents| DevArgs {
            agents,
            named: named.iter().map(|n| parse_agent(n).unwrap()).collect(),
            data: None,
            port: 0,
            verbose: false,
        };
        let names = |args: &DevArgs| agents(args).map(|all| all.into_iter().map(|a| a.name).collect::<Vec<_>>());
        assert_eq!(names(&args(&[], 2)).unwrap(), ["agent-1", "agent-2"]);
        assert_eq!(names(&args(&["agent-1", "b"], 3)).unwrap(), ["agent-1", "b", "agent-2"]);
        assert_eq!(names(&args(&["a", "b"], 1)).unwrap(), ["a", "b"]);
        assert!(names(&args(&["a", "a"], 1)).is_err());
    }
}

//! The processes of the demo and their end: whatever happens, they are stopped by their process ids and their folder
//! is removed.

use crate::command;
use anyhow::{Context, Result, bail};
use rustix::process::{Pid, Signal, kill_process};
use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

const START_LIMIT: Duration = Duration::from_secs(60);
const STOP_LIMIT: Duration = Duration::from_secs(10);
const POLL: Duration = Duration::from_millis(50);

/// A control plane with TLS and token, and its agents.
pub(super) struct House {
    programs: PathBuf,
    data: PathBuf,
    http: SocketAddr,
    quic: SocketAddr,
    inside: Arc<Mutex<Inside>>,
}

/// What has to go at the end, also when Ctrl-C is the end.
#[derive(Default)]
struct Inside {
    processes: Vec<(String, Child)>,
    temporary: Option<tempfile::TempDir>,
}

impl House {
    pub(super) fn open(programs: &Path, keep: Option<&Path>) -> Result<Self> {
        let (data, temporary) = match keep {
            Some(path) => {
                std::fs::create_dir_all(path).with_context(|| format!("cannot make {}", path.display()))?;
                (path.canonicalize()?, None)
            }
            None => {
                let dir = tempfile::Builder::new()
                    .prefix("eyot-demo-")
                    .tempdir()
                    .context("cannot make a temporary folder")?;
                (dir.path().to_owned(), Some(dir))
            }
        };
        let inside = Arc::new(Mutex::new(Inside {
            processes: Vec::new(),
            temporary,
        }));
        stop_at_signals(Arc::clone(&inside))?;
        // Held only until here: the ports were free a moment ago.
        let tcp = TcpListener::bind("127.0.0.1:0").context("no free port")?;
        let udp = UdpSocket::bind("127.0.0.1:0").context("no free port")?;
        Ok(Self {
            programs: programs.to_owned(),
            data,
            http: tcp.local_addr()?,
            quic: udp.local_addr()?,
            inside,
        })
    }

    /// The `eyot` command, logged in as the administrator.
    pub(super) fn eyot(&self) -> Command {
        let mut eyot = Command::new(self.programs.join("eyot"));
        eyot.env("EYOT_SERVER", format!("https://{}", self.http));
        eyot.env("EYOT_TOKEN_FILE", self.data.join("cloud/admin-token"));
        eyot.env("EYOT_CA", self.data.join("cloud/ca.pem"));
        eyot.env("EYOT_CONFIG", self.data.join("no-config.json"));
        eyot
    }

    pub(super) fn start_cloud(&mut self) -> Result<()> {
        eprintln!("==> starting eyot-cloud on https://{}", self.http);
        let mut cloud = Command::new(self.programs.join("eyot-cloud"));
        cloud.args(["serve", "--data"]).arg(self.data.join("cloud"));
        cloud.args(["--listen-http", &self.http.to_string(), "--listen-quic", &self.quic.to_string()]);
        cloud.args(["--public-address", &self.quic.to_string(), "--http-name", "127.0.0.1"]);
        self.spawn("cloud", cloud)?;
        // It has written its CA and token by the time that it takes requests with them.
        self.until("eyot-cloud answers", |house| {
            command::read(house.eyot().args(["--quiet", "-o", "json", "agents", "ls"])).map(|_| true)
        })
    }

    pub(super) fn start_agent(&mut self, name: &str, label: &str) -> Result<()> {
        eprintln!("==> agent {name} ({label}) joins");
        let folder = self.data.join(name);
        std::fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
        let invitation = command::read(self.eyot().args(["-o", "json", "agents", "invite", "--name", name]))?;
        let invitation: serde_json::Value = serde_json::from_str(&invitation)?;
        let token = invitation["token"].as_str().context("the invitation has no token")?;

        let mut join = Command::new(self.programs.join("eyot-agent"));
        join.args(["join", "--token-file", "-", "--data"])
            .arg(&folder)
            .args(["--name", name, "--label", label]);
        let mut child = join
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .spawn()
            .context("cannot run eyot-agent")?;
        if let Some(mut stdin) = child.stdin.take() {
            std::io::Write::write_all(&mut stdin, format!("{token}\n").as_bytes()).context("eyot-agent read no token")?;
        }
        let status = child.wait()?;
        if !status.success() {
            bail!("agent {name} could not join ({status})");
        }
        let mut agent = Command::new(self.programs.join("eyot-agent"));
        agent.args(["run", "--data"]).arg(&folder);
        self.spawn(name, agent)
    }

    pub(super) fn wait_for_agents(&self, count: usize) -> Result<()> {
        self.until("the agents are connected", |house| {
            let text = command::read(house.eyot().args(["-o", "json", "agents", "ls"]))?;
            let agents: serde_json::Value = serde_json::from_str(&text)?;
            let connected = agents
                .as_array()
                .map_or(0, |all| all.iter().filter(|a| a["link"] == "connected").count());
            Ok(connected >= count)
        })
    }

    /// Tries until it is true. Processes that ended meanwhile are the better error.
    fn until(&self, what: &str, mut test: impl FnMut(&Self) -> Result<bool>) -> Result<()> {
        let limit = Instant::now() + START_LIMIT;
        loop {
            let outcome = test(self);
            if matches!(outcome, Ok(true)) {
                return Ok(());
            }
            let mut inside = self.inside.lock().unwrap_or_else(PoisonError::into_inner);
            for (name, child) in &mut inside.processes {
                if let Some(status) = child.try_wait()? {
                    let log = std::fs::read_to_string(self.data.join(format!("{name}.log"))).unwrap_or_default();
                    let last: Vec<&str> = log.lines().rev().take(12).collect();
                    let last: Vec<&str> = last.into_iter().rev().collect();
                    bail!("{name} ended by itself ({status}):\n{}", last.join("\n"));
                }
            }
            drop(inside);
            if Instant::now() > limit {
                return match outcome {
                    Err(error) => Err(error.context(format!("waited in vain until {what}"))),
                    Ok(_) => bail!("waited in vain until {what}"),
                };
            }
            std::thread::sleep(POLL);
        }
    }

    /// In a process group of its own, so that Ctrl-C comes here first; what it says goes to a file.
    fn spawn(&mut self, name: &str, mut command: Command) -> Result<()> {
        let log = self.data.join(format!("{name}.log"));
        let file = std::fs::File::create(&log).with_context(|| format!("cannot write {}", log.display()))?;
        command.stdin(Stdio::null()).stdout(file.try_clone()?).stderr(file).process_group(0);
        let child = command.spawn().with_context(|| format!("cannot start {name}"))?;
        self.inside
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .processes
            .push((name.to_owned(), child));
        Ok(())
    }

    /// Stops everything and removes the data.
    pub(super) fn close(self) {
        // Dropping does it.
    }
}

impl Drop for House {
    fn drop(&mut self) {
        self.inside.lock().unwrap_or_else(PoisonError::into_inner).end();
    }
}

impl Inside {
    /// Agents first (they came last), so that they can still report.
    fn end(&mut self) {
        for (_, mut child) in self.processes.drain(..).rev() {
            // The id is ours until the child is waited for.
            if let Some(pid) = i32::try_from(child.id()).ok().and_then(Pid::from_raw)
                && matches!(child.try_wait(), Ok(None))
            {
                kill_process(pid, Signal::TERM).ok();
            }
            let limit = Instant::now() + STOP_LIMIT;
            while matches!(child.try_wait(), Ok(None)) {
                if Instant::now() > limit {
                    child.kill().ok();
                }
                std::thread::sleep(POLL);
            }
        }
        self.temporary.take();
    }
}

/// Ctrl-C and SIGTERM end the processes too.
fn stop_at_signals(inside: Arc<Mutex<Inside>>) -> Result<()> {
    use tokio::signal::unix::{SignalKind, signal};
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_io()
        .build()
        .context("cannot wait for signals")?;
    std::thread::spawn(move || {
        let waited = runtime.block_on(async {
            let (mut interrupt, mut terminate) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
            tokio::select! {
                _ = interrupt.recv() => {}
                _ = terminate.recv() => {}
            }
            Ok::<_, std::io::Error>(())
        });
        if waited.is_ok() {
            inside.lock().unwrap_or_else(PoisonError::into_inner).end();
            std::process::exit(130);
        }
    });
    Ok(())
}

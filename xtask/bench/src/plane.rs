//! A control plane and an agent as the programs that ship, each its own process, with mutual TLS, a token and real disks.

use crate::programs;
use anyhow::{Context, Result, bail, ensure};
use eyot_client::{Client, Options, Token, Update};
use eyot_model::api::{InviteRequest, RunRequest, WorkflowChoice, WorkflowSource};
use eyot_model::{Inputs, LinkState, RunState};
use std::collections::BTreeMap;
use std::io::Write;
use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// Longest wait for a program to be ready.
const START_LIMIT: Duration = Duration::from_secs(30);
const POLL: Duration = Duration::from_millis(20);
const AGENT: &str = "bench";
const WORKFLOW: &str = r#"apiVersion: eyot.dev/v1
kind: Workflow
metadata: {name: noop, version: "1"}
spec:
  tasks:
    once:
      uses: ./noop.wasm
      with: {n: 1}
"#;

/// Ends with this.
struct Process(Child);

impl Process {
    fn start(command: &mut Command) -> Result<Self> {
        if std::env::var_os("EYOT_LOG").is_none() {
            command.env("EYOT_LOG", "warn");
        }
        let program = command.get_program().to_owned();
        let child = command.stdin(Stdio::null()).stdout(Stdio::null()).spawn();
        Ok(Self(child.with_context(|| format!("cannot start `{}`", program.display()))?))
    }
}

impl Process {
    /// Asks it to end, and waits until it has.
    fn stop(mut self) -> Result<()> {
        let pid = rustix::process::Pid::from_child(&self.0);
        rustix::process::kill_process(pid, rustix::process::Signal::TERM)?;
        self.0.wait()?;
        Ok(())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

pub(crate) struct Plane {
    client: Client,
    tokio: tokio::runtime::Runtime,
    agent: Option<Process>,
    _cloud: Process,
    folder: tempfile::TempDir,
}

impl Plane {
    /// Starts the control plane and lets the agent join; the agent does not run yet.
    pub(crate) fn start() -> Result<Self> {
        let tokio = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let folder = tempfile::Builder::new().prefix("eyot-bench-").tempdir_in(programs::scratch())?;
        let (http, quic) = ports()?;
        let data = folder.path().join("cloud");
        let cloud = Process::start(
            Command::new(programs::program("eyot-cloud")?)
                .args(["serve", "--requests-per-sec", "0", "--data"])
                .arg(&data)
                .args(["--listen-http", &http.to_string(), "--listen-quic", &quic.to_string()])
                .args(["--public-address", &quic.to_string()]),
        )?;
        let client = tokio.block_on(connect(&data, http))?;
        let plane = Self {
            client,
            tokio,
            agent: None,
            _cloud: cloud,
            folder,
        };
        plane.join()?;
        Ok(plane)
    }

    /// The folder on whose disk everything is.
    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    fn agent_data(&self) -> PathBuf {
        self.folder.path().join("agent")
    }

    fn join(&self) -> Result<()> {
        let request = InviteRequest {
            name: Some(AGENT.to_owned()),
            valid_for: None,
        };
        let invitation = self.tokio.block_on(self.client.invite(&request))?;
        let mut child = Command::new(programs::program("eyot-agent")?)
            .args(["join", "--token-file", "-", "--name", AGENT, "--data"])
            .arg(self.agent_data())
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .spawn()
            .context("cannot start eyot-agent")?;
        let mut stdin = child.stdin.take().context("eyot-agent has no standard input")?;
        stdin.write_all(invitation.token.as_bytes())?;
        drop(stdin);
        let status = child.wait()?;
        ensure!(status.success(), "the agent could not join: {status}");
        Ok(())
    }

    /// Starts the agent, ending the one that ran, and waits until the control plane has its link.
    pub(crate) fn start_agent(&mut self) -> Result<()> {
        if let Some(agent) = self.agent.take() {
            agent.stop()?;
            self.wait_for_link(LinkState::Disconnected)?;
        }
        self.agent = Some(Process::start(
            Command::new(programs::program("eyot-agent")?)
                .args(["run", "--data"])
                .arg(self.agent_data()),
        )?);
        self.wait_for_link(LinkState::Connected)
    }

    fn wait_for_link(&self, wanted: LinkState) -> Result<()> {
        let limit = Instant::now() + START_LIMIT;
        loop {
            let agent = self.tokio.block_on(self.client.agent(AGENT))?;
            if agent.link == wanted {
                return Ok(());
            }
            ensure!(Instant::now() < limit, "the agent's link is {:?}, not {wanted:?}", agent.link);
            std::thread::sleep(POLL);
        }
    }

    /// Resident memory of the agent, in bytes.
    pub(crate) fn agent_memory(&self) -> Result<u64> {
        let agent = self.agent.as_ref().context("no agent runs")?;
        let path = format!("/proc/{}/status", agent.0.id());
        let text = std::fs::read_to_string(&path).with_context(|| format!("`{path}` cannot be read"))?;
        let line = text.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let kib = line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok());
        Ok(kib.with_context(|| format!("`{path}` does not say VmRSS"))? << 10)
    }

    /// Stores the workflow of one no-op task.
    pub(crate) fn store_workflow(&self) -> Result<()> {
        let component = programs::component("noop")?;
        self.tokio.block_on(async {
            let blob = self.client.upload_file(&component, None).await?;
            let source = WorkflowSource {
                text: WORKFLOW.to_owned(),
                files: BTreeMap::from([("./noop.wasm".to_owned(), blob.digest)]),
            };
            self.client.push_workflow(&source).await?;
            Ok(())
        })
    }

    /// Seconds from asking for a run of the workflow to the news that it has ended.
    pub(crate) fn run(&self) -> Result<f64> {
        let request = RunRequest {
            workflow: WorkflowChoice::Ref("noop".to_owned()),
            inputs: Inputs::new(),
            idempotency_key: None,
        };
        self.tokio.block_on(async {
            let start = Instant::now();
            let run = self.client.start(&request).await?.id;
            let mut events = self.client.events(run, 0);
            let taken = loop {
                match events.next().await {
                    Some(Ok(Update::Event(event))) if event.kind == "run-ended" => {
                        ensure!(
                            event.run_state == Some(RunState::Succeeded),
                            "run {run} ended {:?}",
                            event.run_state
                        );
                        break start.elapsed().as_secs_f64();
                    }
                    Some(Ok(_)) => {}
                    Some(Err(error)) => return Err(error.into()),
                    None => bail!("the events of run {run} ended before it did"),
                }
            };
            // So that the connection is free for the next one.
            ensure!(events.next().await.is_none(), "something came after the end of run {run}");
            Ok(taken)
        })
    }
}

fn ports() -> Result<(SocketAddr, SocketAddr)> {
    let any = SocketAddr::from(([127, 0, 0, 1], 0));
    Ok((TcpListener::bind(any)?.local_addr()?, UdpSocket::bind(any)?.local_addr()?))
}

/// Waits for the control plane, which makes its CA and its first token at its first start.
async fn connect(data: &Path, http: SocketAddr) -> Result<Client> {
    let limit = Instant::now() + START_LIMIT;
    loop {
        let connected = try_connect(data, http).await;
        match connected {
            Ok(client) => return Ok(client),
            Err(error) if Instant::now() > limit => return Err(error.context("the control plane did not start")),
            Err(_) => tokio::time::sleep(POLL).await,
        }
    }
}

async fn try_connect(data: &Path, http: SocketAddr) -> Result<Client> {
    let mut options = Options::new(format!("https://{http}"));
    options.ca_pem = Some(std::fs::read_to_string(data.join("ca.pem"))?);
    options.token = Some(Token::new(std::fs::read_to_string(data.join("admin-token"))?));
    let client = Client::new(&options)?;
    client.health().await?;
    Ok(client)
}

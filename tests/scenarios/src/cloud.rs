//! A control plane with TLS and token, and asking it.

use crate::{Agent, Manner, Process, Stage, component, program, until};
use anyhow::{Context, Result, bail, ensure};
use eyot_client::{Client, Options, Token};
use eyot_model::api::{InviteRequest, RunDetail, RunEvent, RunRequest, WorkflowChoice, WorkflowSource};
use eyot_model::{Inputs, LinkState, RunId};
use std::collections::BTreeMap;
use std::fs;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, UdpSocket};
use std::path::PathBuf;
use std::process::{Command, Output};

/// Tries to find ports that nobody takes before the control plane has them.
const PORT_TRIES: u32 = 5;

/// Where a control plane listens, and what it tells agents of that.
#[derive(Clone, Debug)]
pub struct Place {
    /// Address that it listens on for agents.
    pub quic: IpAddr,
    /// Where agents are told to connect to, where that is another address: that of a relay.
    pub public: Option<SocketAddr>,
    /// More words on its command line.
    pub arguments: Vec<String>,
}

impl Default for Place {
    fn default() -> Self {
        Self {
            quic: IpAddr::V4(Ipv4Addr::LOCALHOST),
            public: None,
            arguments: Vec::new(),
        }
    }
}

/// `eyot-cloud serve` on a folder and on ports that stay its own over restarts.
#[derive(Debug)]
pub struct Cloud {
    name: String,
    data: PathBuf,
    log: PathBuf,
    http: SocketAddr,
    quic: SocketAddr,
    place: Place,
    manner: Manner,
    process: Option<Process>,
    client: Client,
}

impl Cloud {
    /// Starts one and waits until it answers.
    ///
    /// # Errors
    /// When it does not come up.
    pub async fn start(stage: &Stage, name: &str) -> Result<Self> {
        Self::start_at(stage, name, &Place::default()).await
    }

    /// As [`Cloud::start`], with more arguments of `serve`.
    ///
    /// # Errors
    /// When it does not come up.
    pub async fn start_with(stage: &Stage, name: &str, more: &[&str]) -> Result<Self> {
        let place = Place {
            arguments: more.iter().map(|argument| (*argument).to_owned()).collect(),
            ..Place::default()
        };
        Self::start_at(stage, name, &place).await
    }

    /// Starts one at a place of the caller's choice.
    ///
    /// # Errors
    /// When it does not come up.
    pub async fn start_at(stage: &Stage, name: &str, place: &Place) -> Result<Self> {
        let mut last = anyhow::anyhow!("no port was tried");
        for _ in 0..PORT_TRIES {
            match Self::try_start(stage, name, place).await {
                Ok(cloud) => return Ok(cloud),
                Err(error) => last = error,
            }
        }
        Err(last)
    }

    async fn try_start(stage: &Stage, name: &str, place: &Place) -> Result<Self> {
        // Held only until the end of this block: they were free a moment ago.
        let (http, quic) = {
            let (tcp, udp) = (TcpListener::bind("127.0.0.1:0")?, UdpSocket::bind((place.quic, 0))?);
            (tcp.local_addr()?, udp.local_addr()?)
        };
        let mut cloud = Self {
            name: name.to_owned(),
            data: stage.path(name),
            log: stage.path(&format!("{name}.log")),
            http,
            quic,
            place: place.clone(),
            manner: Manner::default(),
            process: None,
            client: Client::new(&Options::local())?,
        };
        cloud.serve().await?;
        Ok(cloud)
    }

    /// Starts the process, on the data that is there, and waits until it answers.
    ///
    /// # Errors
    /// When it does not come up.
    pub async fn serve(&mut self) -> Result<()> {
        ensure!(self.process.is_none(), "{} serves already", self.name);
        let mut serve = self.manner.command(&program("eyot-cloud")?);
        serve.args(["serve", "--data"]).arg(&self.data);
        serve.args(["--listen-http", &self.http.to_string(), "--listen-quic", &self.quic.to_string()]);
        let public = self.place.public.unwrap_or(self.quic).to_string();
        serve.args(["--public-address", &public, "--http-name", "127.0.0.1"]);
        let arguments = &self.place.arguments;
        if !arguments.iter().any(|argument| argument == "--heartbeat") {
            serve.args(["--heartbeat", "500ms"]);
        }
        serve.args(arguments);
        let mut process = Process::start(serve, &self.log)?;
        let answers = async || {
            if process.must_live().is_err() {
                return Ok(Some(None));
            }
            let client = self.connect()?;
            client.agents().await?;
            Ok(Some(Some(client)))
        };
        match until(&format!("{} answers", self.name), answers).await? {
            Some(client) => self.client = client,
            None => bail!("{} ended as soon as it was started", self.name),
        }
        self.process = Some(process);
        Ok(())
    }

    fn connect(&self) -> Result<Client> {
        let read = |name: &str| fs::read_to_string(self.data.join(name)).with_context(|| format!("no {name} yet"));
        let mut options = Options::new(self.url());
        options.ca_pem = Some(read("ca.pem")?);
        options.token = Some(Token::new(read("admin-token")?));
        Ok(Client::new(&options)?)
    }

    #[must_use]
    pub fn url(&self) -> String {
        format!("https://{}", self.http)
    }

    /// Where agents connect to, and whoever else sends datagrams.
    #[must_use]
    pub fn quic(&self) -> SocketAddr {
        self.quic
    }

    #[must_use]
    pub fn data(&self) -> &PathBuf {
        &self.data
    }

    #[must_use]
    pub fn client(&self) -> &Client {
        &self.client
    }

    /// All that it has said since it was first started.
    #[must_use]
    pub fn said(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// How the process is started from now on.
    pub fn set_manner(&mut self, manner: Manner) {
        self.manner = manner;
    }

    /// # Errors
    /// When it does not run.
    pub fn pid(&self) -> Result<u32> {
        Ok(self.process.as_ref().context("it was not started")?.pid())
    }

    /// # Errors
    /// When it has ended.
    pub fn must_live(&mut self) -> Result<()> {
        self.process.as_mut().context("it was not started")?.must_live()
    }

    /// `kill -9`
    ///
    /// # Errors
    /// When it had ended before.
    pub fn kill(&mut self) -> Result<()> {
        self.process.take().context("it was not started")?.kill()
    }

    /// SIGTERM
    ///
    /// # Errors
    /// When it does not end well.
    pub fn stop(&mut self) -> Result<()> {
        self.process.take().context("it was not started")?.stop()
    }

    /// From now on this is a control plane on another folder, with the same ports and the same token.
    ///
    /// # Errors
    /// When the token cannot be copied.
    pub fn move_to(&mut self, data: PathBuf) -> Result<()> {
        ensure!(self.process.is_none(), "{} serves", self.name);
        let from = std::mem::replace(&mut self.data, data);
        fs::copy(from.join("admin-token"), self.data.join("admin-token")).context("cannot copy the token")?;
        Ok(())
    }

    /// Waits until the log holds a line with all these words.
    ///
    /// # Errors
    /// When it does not.
    pub async fn says(&self, words: &[&str]) -> Result<String> {
        says(&self.log, words).await
    }

    /// `eyot`, logged in here.
    ///
    /// # Errors
    /// When the program is missing.
    pub fn eyot(&self) -> Result<Command> {
        let mut eyot = Command::new(program("eyot")?);
        eyot.env("EYOT_SERVER", self.url());
        eyot.env("EYOT_TOKEN_FILE", self.data.join("admin-token"));
        eyot.env("EYOT_CA", self.data.join("ca.pem"));
        eyot.env("EYOT_CONFIG", self.data.join("no-config.json"));
        eyot.env_remove("EYOT_TOKEN");
        Ok(eyot)
    }

    /// A one-time token for an agent of any name.
    ///
    /// # Errors
    /// When the request fails.
    pub async fn invite(&self) -> Result<String> {
        Ok(self.client.invite(&InviteRequest::default()).await?.token)
    }

    /// A device joins and runs; it is connected when this returns.
    ///
    /// # Errors
    /// When it cannot.
    pub async fn agent(&self, stage: &Stage, name: &str) -> Result<Agent> {
        let agent = Agent::join(stage, name, &self.invite().await?)?.run()?;
        self.connected(name).await?;
        Ok(agent)
    }

    /// Waits until an agent is connected.
    ///
    /// # Errors
    /// When it does not come.
    pub async fn connected(&self, name: &str) -> Result<()> {
        until(&format!("agent {name} is connected"), async || {
            let agent = self.client.agent(name).await?;
            Ok((agent.link == LinkState::Connected).then_some(()))
        })
        .await
    }

    /// Registers the component of the scenarios, as an operator does.
    ///
    /// # Errors
    /// When it cannot be built or is refused.
    pub async fn push_probe(&self) -> Result<()> {
        let component = tokio::task::spawn_blocking(component).await??;
        let mut push = self.eyot()?;
        push.args(["--quiet", "task", "push"]).arg(component);
        let done = tokio::process::Command::from(push).output().await.context("cannot run eyot")?;
        succeeded(&done, "eyot task push")
    }

    /// Submits a workflow.
    ///
    /// # Errors
    /// When it is refused.
    pub async fn submit(&self, text: &str, inputs: Inputs) -> Result<RunId> {
        let request = RunRequest {
            workflow: WorkflowChoice::Source(WorkflowSource {
                text: text.to_owned(),
                files: BTreeMap::new(),
            }),
            inputs,
            idempotency_key: None,
        };
        Ok(self.client.start(&request).await?.id)
    }

    /// Waits for something of a run.
    ///
    /// # Errors
    /// When it does not come, or the run ends without it.
    pub async fn run_until(&self, run: RunId, what: &str, mut enough: impl FnMut(&RunDetail) -> bool) -> Result<RunDetail> {
        let (detail, reached) = until(&format!("run {run} {what}"), async || {
            let detail = self.client.run(run).await?;
            let reached = enough(&detail);
            Ok((reached || detail.run.state.is_terminal()).then_some((detail, reached)))
        })
        .await?;
        ensure!(reached, "the run ended before it {what}: {}", told(&detail));
        Ok(detail)
    }

    /// Waits for the end of a run.
    ///
    /// # Errors
    /// When it does not end.
    pub async fn ended(&self, run: RunId) -> Result<RunDetail> {
        self.run_until(run, "has ended", |detail| detail.run.state.is_terminal()).await
    }

    /// Waits for the end of a run, which must be a success.
    ///
    /// # Errors
    /// When it is none.
    pub async fn succeeded(&self, run: RunId) -> Result<RunDetail> {
        let detail = self.ended(run).await?;
        ensure!(detail.run.state == eyot_model::RunState::Succeeded, "{}", told(&detail));
        Ok(detail)
    }

    /// All events of a run that has ended.
    ///
    /// # Errors
    /// When they cannot be had.
    pub async fn events(&self, run: RunId) -> Result<Vec<RunEvent>> {
        let mut stream = self.client.events(run, 0);
        let mut all = Vec::new();
        while let Some(update) = stream.next().await {
            if let eyot_client::Update::Event(event) = update? {
                all.push(*event);
            }
        }
        Ok(all)
    }
}

/// The state of a run and of each of its tasks, for a failed check.
#[must_use]
pub fn told(detail: &RunDetail) -> String {
    let mut text = format!("run {} is {}", detail.run.id, detail.run.state);
    if let Some(failure) = &detail.run.failure {
        text.push_str(&format!(" ({failure})"));
    }
    if let Some(why) = &detail.run.waiting_for {
        text.push_str(&format!(" and waits for {why}"));
    }
    for task in &detail.tasks {
        let item = task.item.map(|item| format!("[{item}]")).unwrap_or_default();
        let failure = task.failure.as_ref().map(|failure| format!(": {failure}")).unwrap_or_default();
        text.push_str(&format!(
            "\n  {}{item} {} after {} attempts{failure}",
            task.task, task.state, task.attempts
        ));
    }
    text
}

pub(crate) async fn says(log: &std::path::Path, words: &[&str]) -> Result<String> {
    until(&format!("{} says {words:?}", log.display()), async || {
        let text = fs::read_to_string(log).unwrap_or_default();
        Ok(text
            .lines()
            .find(|line| words.iter().all(|word| line.contains(word)))
            .map(str::to_owned))
    })
    .await
}

fn succeeded(done: &Output, what: &str) -> Result<()> {
    let said = String::from_utf8_lossy(&done.stderr);
    ensure!(done.status.success(), "{what} ended with {}: {said}", done.status);
    Ok(())
}

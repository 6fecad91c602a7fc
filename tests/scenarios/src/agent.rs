//! A device that joins and runs.

use crate::{Manner, Process, Stage, cloud, program};
use anyhow::{Context, Result, ensure};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};

/// Attempts that run at the same time on one agent.
const WORKERS: &str = "4";

/// `eyot-agent run` on a folder that has joined. Its label `name` is its name.
#[derive(Debug)]
pub struct Agent {
    name: String,
    data: PathBuf,
    log: PathBuf,
    manner: Manner,
    process: Option<Process>,
}

impl Agent {
    /// Joins, and does not run yet.
    ///
    /// # Errors
    /// When it is refused.
    pub fn join(stage: &Stage, name: &str, token: &str) -> Result<Self> {
        Self::join_by(stage, name, token, Manner::default())
    }

    /// Joins in a manner of the caller's choice, which it keeps.
    ///
    /// # Errors
    /// When it is refused.
    pub fn join_by(stage: &Stage, name: &str, token: &str, manner: Manner) -> Result<Self> {
        let data = stage.path(name);
        let done = join_by(&manner, &data, name, token)?;
        let said = String::from_utf8_lossy(&done.stderr);
        ensure!(done.status.success(), "agent {name} could not join ({}): {said}", done.status);
        Ok(Self::on(stage, name, data, manner))
    }

    /// Sets up a device that has no control plane, and does not run it yet.
    ///
    /// # Errors
    /// When it is refused.
    pub fn init(stage: &Stage, name: &str) -> Result<Self> {
        let (data, manner) = (stage.path(name), Manner::default());
        let mut init = manner.command(&program("eyot-agent")?);
        init.args(["init", "--name", name, "--data"]).arg(&data);
        let done = init.output().context("cannot run eyot-agent")?;
        let said = String::from_utf8_lossy(&done.stderr);
        ensure!(done.status.success(), "agent {name} could not be set up ({}): {said}", done.status);
        Ok(Self::on(stage, name, data, manner))
    }

    /// On a folder that is set up; nothing runs yet.
    fn on(stage: &Stage, name: &str, data: PathBuf, manner: Manner) -> Self {
        Self {
            name: name.to_owned(),
            data,
            log: stage.path(&format!("{name}.log")),
            manner,
            process: None,
        }
    }

    /// # Errors
    /// When it cannot be started.
    pub fn run(mut self) -> Result<Self> {
        self.start()?;
        Ok(self)
    }

    /// Starts the process on the data that is there.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn start(&mut self) -> Result<()> {
        ensure!(self.process.is_none(), "{} runs already", self.name);
        let mut run = self.manner.command(&program("eyot-agent")?);
        run.args(["run", "--workers", WORKERS, "--data"]).arg(&self.data);
        self.process = Some(Process::start(run, &self.log)?);
        Ok(())
    }

    /// How the process is started from now on.
    pub fn set_manner(&mut self, manner: Manner) {
        self.manner = manner;
    }

    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    #[must_use]
    pub fn data(&self) -> &Path {
        &self.data
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

    /// What `eyot-agent status` says, as JSON.
    ///
    /// # Errors
    /// When the agent does not answer.
    pub fn status(&self) -> Result<serde_json::Value> {
        let mut status = self.manner.command(&program("eyot-agent")?);
        status.args(["status", "-o", "json", "--data"]).arg(&self.data);
        let done = status.output().context("cannot run eyot-agent")?;
        let said = String::from_utf8_lossy(&done.stderr);
        ensure!(done.status.success(), "eyot-agent status ended with {}: {said}", done.status);
        serde_json::from_slice(&done.stdout).context("eyot-agent status printed no JSON")
    }

    /// Waits until the log holds a line with all these words.
    ///
    /// # Errors
    /// When it does not.
    pub async fn says(&self, words: &[&str]) -> Result<String> {
        cloud::says(&self.log, words).await
    }
}

impl Agent {
    /// All that it has said so far.
    #[must_use]
    pub fn said(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }
}

/// `eyot-agent join`, whatever comes of it.
///
/// # Errors
/// When it cannot be run.
pub fn join(data: &Path, name: &str, token: &str) -> Result<Output> {
    join_by(&Manner::default(), data, name, token)
}

fn join_by(manner: &Manner, data: &Path, name: &str, token: &str) -> Result<Output> {
    let mut join = manner.command(&program("eyot-agent")?);
    join.args(["join", "--name", name, "--label", &format!("name={name}"), "--data"])
        .arg(data);
    join.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = join.spawn().context("cannot run eyot-agent")?;
    if let Some(mut stdin) = child.stdin.take() {
        stdin.write_all(token.as_bytes()).context("eyot-agent read no token")?;
    }
    Ok(child.wait_with_output()?)
}

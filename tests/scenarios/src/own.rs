//! What a person on the device does: asks the agent itself, over its socket.

use crate::{Agent, component, program, until};
use anyhow::{Context, Result, bail, ensure};
use eyot_client::{Client, Options, RunFilter};
use eyot_model::api::{RunDetail, RunRequest, RunView, WorkflowChoice, WorkflowSource};
use std::collections::BTreeMap;
use std::process::{Command, Output};

impl Agent {
    /// `eyot --agent` for this agent.
    ///
    /// # Errors
    /// When the program is missing.
    pub fn eyot(&self) -> Result<Command> {
        let mut eyot = Command::new(program("eyot")?);
        eyot.arg("--agent").arg(self.data());
        for name in ["EYOT_SERVER", "EYOT_TOKEN", "EYOT_TOKEN_FILE", "EYOT_CA"] {
            eyot.env_remove(name);
        }
        Ok(eyot)
    }

    /// Runs `eyot --agent` with these words and gives what it printed.
    ///
    /// # Errors
    /// When it does not end well.
    pub async fn ask(&self, words: &[&str]) -> Result<String> {
        let mut eyot = self.eyot()?;
        eyot.args(words);
        let done: Output = tokio::process::Command::from(eyot).output().await.context("cannot run eyot")?;
        let said = String::from_utf8_lossy(&done.stderr);
        ensure!(done.status.success(), "eyot {words:?} ended with {}: {said}", done.status);
        Ok(String::from_utf8(done.stdout)?)
    }

    /// A client of the agent's own API.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn client(&self) -> Result<Client> {
        Ok(Client::new(&Options::agent(self.data().join("agent.sock")))?)
    }

    /// Waits until the agent answers on its socket.
    ///
    /// # Errors
    /// When it does not.
    pub async fn answers(&self) -> Result<()> {
        let client = self.client()?;
        until("the agent answers on its socket", async || Ok(client.health().await.ok()))
            .await
            .map(drop)
    }

    /// Registers the component of the scenarios with the agent itself.
    ///
    /// # Errors
    /// When it cannot be built or is refused.
    pub async fn push_probe(&self) -> Result<()> {
        let component = tokio::task::spawn_blocking(component).await??;
        let path = component.to_str().context("an odd path")?.to_owned();
        self.ask(&["--quiet", "task", "push", &path]).await.map(drop)
    }

    /// Owns a workflow from now on.
    ///
    /// # Errors
    /// When it is refused.
    pub async fn own(&self, text: &str) -> Result<()> {
        let source = WorkflowSource {
            text: text.to_owned(),
            files: BTreeMap::new(),
        };
        self.client()?.push_workflow(&source).await?;
        Ok(())
    }

    /// Begins a run of the agent's own.
    ///
    /// # Errors
    /// When it is refused.
    pub async fn begin(&self, text: &str) -> Result<eyot_model::RunId> {
        let request = RunRequest {
            workflow: WorkflowChoice::Source(WorkflowSource {
                text: text.to_owned(),
                files: BTreeMap::new(),
            }),
            inputs: eyot_model::Inputs::new(),
            idempotency_key: None,
        };
        Ok(self.client()?.start(&request).await?.id)
    }

    /// The agent's own runs of a workflow, oldest first.
    ///
    /// # Errors
    /// When they cannot be had.
    pub async fn runs_of(&self, workflow: &str) -> Result<Vec<RunView>> {
        runs_of(&self.client()?, workflow).await
    }

    /// Waits for the end of a run of the agent's own, which must be a success.
    ///
    /// # Errors
    /// When it is none.
    pub async fn own_succeeded(&self, run: eyot_model::RunId) -> Result<RunDetail> {
        let client = self.client()?;
        let detail = until(&format!("run {run} has ended"), async || {
            let detail = client.run(run).await?;
            Ok(detail.run.state.is_terminal().then_some(detail))
        })
        .await?;
        if detail.run.state != eyot_model::RunState::Succeeded {
            bail!("{:?}", detail.run);
        }
        Ok(detail)
    }
}

/// Runs of a workflow, oldest first.
///
/// # Errors
/// When they cannot be had.
pub async fn runs_of(client: &Client, workflow: &str) -> Result<Vec<RunView>> {
    let filter = RunFilter {
        limit: Some(1_000),
        ..RunFilter::default()
    };
    let mut runs = client.runs(&filter).await?.items;
    runs.retain(|run| run.workflow == workflow);
    runs.reverse();
    Ok(runs)
}

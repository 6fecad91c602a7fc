//! What the agent is doing: `eyot-agent status`, and whether it answers.

use super::App;
use crate::disk_status::{DiskStatus, WaitingStatus};
use axum::Json;
use axum::extract::State;
use serde::{Deserialize, Serialize};
use std::io;
use std::path::{Path, PathBuf};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;

/// What an agent tells of itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Status {
    pub id: String,
    pub name: String,
    pub version: String,
    /// `connected`, `disconnected`, or `none` where there is no control plane.
    pub link: String,
    pub running: u32,
    pub queued: u32,
    /// Runs that this agent holds a part of.
    pub runs: Vec<RunStatus>,
    /// Results wait for the cloud to acknowledge them.
    pub unreported: bool,
    pub disk: DiskStatus,
    pub waiting: WaitingStatus,
    /// By how much this device's clock is ahead of the control plane's, in milliseconds, as far as that is known.
    pub clock_skew_millis: Option<i64>,
    /// Runs of the agent's own that the control plane does not take, a hundred at most.
    #[serde(default)]
    pub refused: Vec<RefusedRun>,
    /// What starts runs on this device by itself.
    #[serde(default)]
    pub triggers: Vec<TriggerStatus>,
}

/// A trigger of a workflow that this agent owns.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TriggerStatus {
    pub namespace: String,
    pub workflow: String,
    pub name: String,
    /// `schedule`, `mqtt` or `file`.
    pub kind: String,
    /// What keeps it from firing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub wrong: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RefusedRun {
    pub id: String,
    pub why: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RunStatus {
    pub id: String,
    pub workflow: String,
    /// Everything that this agent owns of it has ended.
    pub done_here: bool,
    /// The agent coordinates it itself.
    #[serde(default)]
    pub own: bool,
    /// Something of it waits until the control plane has said that it still is this agent's (`pauseAfter`).
    pub paused: bool,
}

/// Where the agent of a data folder listens.
#[must_use]
pub fn socket_path(data: &Path) -> PathBuf {
    data.join("agent.sock")
}

/// The status of the agent that runs on `data`.
///
/// # Errors
/// When no agent runs there, or it does not answer.
pub async fn ask(data: &Path) -> io::Result<Status> {
    let mut stream = UnixStream::connect(socket_path(data)).await?;
    stream.write_all(b"GET /v1/agent HTTP/1.0\r\nHost: agent\r\n\r\n").await?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await?;
    let (_, body) = answer
        .split_once("\r\n\r\n")
        .ok_or_else(|| io::Error::other("the answer is cut off"))?;
    serde_json::from_str(body).map_err(io::Error::other)
}

pub(super) async fn healthz() -> &'static str {
    concat!("eyot-agent ", env!("CARGO_PKG_VERSION"), "\n")
}

pub(super) async fn show(State(app): State<App>) -> Json<Status> {
    let (disk, waiting) = (DiskStatus::of(&app.runtime), WaitingStatus::of(&app.runtime));
    let link = match (app.alone, app.runtime.is_linked()) {
        (true, _) => "none",
        (_, true) => "connected",
        (_, false) => "disconnected",
    };
    let clock_skew_millis = app.runtime.skew_millis();
    let triggers = app.runtime.triggers.list().into_iter().map(|(key, standing)| TriggerStatus {
        namespace: key.namespace,
        workflow: key.workflow,
        name: key.trigger,
        kind: standing.kind.to_owned(),
        wrong: standing.wrong,
    });
    let triggers: Vec<TriggerStatus> = triggers.collect();
    Json(app.runtime.look(|node| {
        let load = node.load();
        let own = node.own_runs();
        Status {
            id: app.id.to_string(),
            name: app.name.clone(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            link: link.to_owned(),
            running: load.running,
            queued: load.queued,
            runs: node
                .runs()
                .map(|run| RunStatus {
                    id: run.id().to_string(),
                    workflow: run.graph().workflow.name.clone(),
                    done_here: run.owned_all_ended(),
                    own: node.own_run(run.id()).is_some(),
                    paused: node.is_paused(run.id()) && !run.owned_all_ended(),
                })
                .collect(),
            disk,
            waiting,
            clock_skew_millis,
            unreported: node.has_unreported() || node.own_runs().any(|(_, own)| !own.is_told()),
            refused: own
                .filter_map(|(run, own)| {
                    Some(RefusedRun {
                        id: run.to_string(),
                        why: own.refused.clone()?,
                    })
                })
                .take(100)
                .collect(),
            triggers,
        }
    }))
}

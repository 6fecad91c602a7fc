//! `eyot-agent status`: the running agent tells over a socket that only its user may open.

use crate::disk_status::{DiskStatus, WaitingStatus};
use crate::runtime::Runtime;
use serde::{Deserialize, Serialize};
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{UnixListener, UnixStream};

/// What an agent tells of itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Status {
    pub id: String,
    pub name: String,
    pub version: String,
    /// `connected` or `disconnected`.
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
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RunStatus {
    pub id: String,
    pub workflow: String,
    /// Everything that this agent owns of it has ended.
    pub done_here: bool,
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
    let mut text = String::new();
    stream.read_to_string(&mut text).await?;
    serde_json::from_str(&text).map_err(io::Error::other)
}

/// Answers until the task is dropped.
///
/// # Errors
/// When the socket cannot be made.
pub fn serve(data: &Path, runtime: Arc<Runtime>, id: String, name: String) -> io::Result<tokio::task::JoinHandle<()>> {
    let path = socket_path(data);
    match std::fs::remove_file(&path) {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(error),
    }
    let listener = UnixListener::bind(&path)?;
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600))?;
    Ok(tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let status = status(&runtime, id.clone(), name.clone());
            if let Ok(text) = serde_json::to_string(&status) {
                // Whoever asked may have gone.
                let _ = stream.write_all(text.as_bytes()).await;
            }
        }
    }))
}

fn status(runtime: &Runtime, id: String, name: String) -> Status {
    let (disk, waiting) = (DiskStatus::of(runtime), WaitingStatus::of(runtime));
    let link = if runtime.is_linked() { "connected" } else { "disconnected" };
    let clock_skew_millis = runtime.skew_millis();
    runtime.look(|node| {
        let load = node.load();
        Status {
            id,
            name,
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
                })
                .collect(),
            unreported: node.has_unreported(),
            disk,
            waiting,
            clock_skew_millis,
        }
    })
}

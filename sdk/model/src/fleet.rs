//! What the control plane knows of an agent.

use crate::{AgentId, Digest, DiskState, Millis};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// What an agent says of itself when it connects, and what the planner works with.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AgentProfile {
    pub id: AgentId,
    pub name: String,
    /// Agents of one site can reach each other without the cloud.
    pub site: Option<String>,
    pub labels: BTreeMap<String, String>,
    /// `inference`, `gpu`, …
    pub capabilities: BTreeSet<String>,
    pub capacity: Capacity,
    /// `linux/x86_64`
    pub platform: String,
    /// Version of the agent's software.
    pub version: String,
    /// Bytes per second from the agent to the cloud, 0 where it was never measured.
    pub uplink_bytes_per_sec: u64,
    /// Bytes per second from the cloud to the agent, 0 where it was never measured.
    pub downlink_bytes_per_sec: u64,
    pub round_trip: Millis,
    /// How fast this device runs tasks: 1.0 is the reference device, 2.0 takes half the time.
    pub speed: f64,
    pub load: Load,
    /// Components and blobs that the agent already has.
    pub holds: BTreeSet<Digest>,
}

/// What an agent has in all.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Capacity {
    pub cpu_millis: u32,
    pub memory_bytes: u64,
    pub disk_bytes: u64,
    pub gpus: u32,
}

/// What an agent is busy with; comes with each heart-beat.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Load {
    pub running: u32,
    pub queued: u32,
    pub cpu_millis_used: u32,
    pub memory_bytes_used: u64,
    pub disk_bytes_free: u64,
    /// How its disk stands to the marks that it was given.
    pub disk: DiskState,
}

/// Whether an agent is in contact.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum LinkState {
    Connected,
    /// Three heart-beats missed.
    Suspect,
    #[default]
    Disconnected,
}

impl LinkState {
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Connected => "connected",
            Self::Suspect => "suspect",
            Self::Disconnected => "disconnected",
        }
    }
}

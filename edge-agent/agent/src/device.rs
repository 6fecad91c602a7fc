//! What this device is and has.

use crate::config::AgentConfig;
use eyot_model::{AgentId, AgentProfile, Capacity, Load, Millis};
use std::collections::BTreeSet;
use std::path::Path;

/// Cores and memory as the system tells them; a tenth of the memory, and at least 64 MiB, stays with the system and the
/// agent itself.
#[must_use]
pub fn capacity(data: &Path) -> Capacity {
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let memory = memory_bytes().unwrap_or(512 << 20);
    Capacity {
        cpu_millis: u32::try_from(cores * 1_000).unwrap_or(u32::MAX),
        memory_bytes: memory.saturating_sub((memory / 10).max(64 << 20)),
        disk_bytes: disk(data).map_or(0, |(total, _)| total),
        gpus: 0,
    }
}

fn memory_bytes() -> Option<u64> {
    let text = std::fs::read_to_string("/proc/meminfo").ok()?;
    let line = text.lines().find(|line| line.starts_with("MemTotal:"))?;
    line.split_whitespace().nth(1)?.parse::<u64>().ok().map(|kib| kib << 10)
}

/// Bytes in all and bytes free on the disk that holds `data`.
#[must_use]
pub fn disk(data: &Path) -> Option<(u64, u64)> {
    let stat = rustix::fs::statvfs(data).ok()?;
    Some((stat.f_frsize * stat.f_blocks, stat.f_frsize * stat.f_bavail))
}

/// What the agent says of itself to the control plane.
#[must_use]
pub fn profile(id: AgentId, config: &AgentConfig, capacity: Capacity, load: Load, holds: BTreeSet<eyot_model::Digest>) -> AgentProfile {
    AgentProfile {
        id,
        name: config.name.clone(),
        site: config.site.clone(),
        labels: config.labels.clone(),
        capabilities: BTreeSet::from(["inference".to_owned()]),
        capacity,
        platform: format!("{}/{}", std::env::consts::OS, std::env::consts::ARCH),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        uplink_bytes_per_sec: 0,
        downlink_bytes_per_sec: 0,
        round_trip: Millis(0),
        speed: 1.0,
        load,
        holds,
    }
}

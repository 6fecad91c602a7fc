//! What the agent has on its disk, and what of it waits for the cloud: for `eyot-agent status`.

use crate::device;
use crate::runtime::Runtime;
use eyot_model::DiskState;
use serde::{Deserialize, Serialize};
use std::path::Path;

/// Bytes on disk, by kind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DiskStatus {
    pub state: DiskState,
    pub free_bytes: u64,
    pub total_bytes: u64,
    /// Below this much free, no new work is taken.
    pub high_free_bytes: u64,
    /// Below this much free, no attempts are started.
    pub critical_free_bytes: u64,
    pub journal_bytes: u64,
    pub checkpoint_bytes: u64,
    pub blobs: u64,
    pub blob_bytes: u64,
    /// Compiled components.
    pub compiled_bytes: u64,
    /// What was found damaged and set aside.
    pub quarantined_bytes: u64,
}

/// What the cloud has not acknowledged.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct WaitingStatus {
    pub results: u64,
    pub result_bytes: u64,
    /// Blobs that those results name and the cloud does not have.
    pub blobs: u64,
    pub blob_bytes: u64,
    /// Age of the oldest result.
    pub oldest_seconds: Option<u64>,
    /// Runs of the agent's own that the cloud does not have all of.
    #[serde(default)]
    pub own_runs: u64,
    /// What happened in those runs and the cloud was not told of, or has not confirmed.
    #[serde(default)]
    pub own_events: u64,
    /// Lines that tasks logged.
    pub log_lines: u64,
    pub log_bytes: u64,
}

impl DiskStatus {
    pub(crate) fn of(runtime: &Runtime) -> Self {
        let data = &runtime.data;
        let (total_bytes, free_bytes) = device::disk(data).unwrap_or_default();
        let usage = runtime.blobs.usage();
        let marks = runtime.limits.marks;
        Self {
            state: runtime.look(eyot_node::Node::disk),
            free_bytes,
            total_bytes,
            high_free_bytes: marks.high_free,
            critical_free_bytes: marks.critical_free,
            journal_bytes: bytes_in(&data.join("journal")),
            checkpoint_bytes: bytes_in(&data.join("checkpoint")),
            blobs: usage.blobs,
            blob_bytes: usage.bytes,
            compiled_bytes: runtime.host.cache_bytes().unwrap_or(0),
            quarantined_bytes: crate::quarantine::bytes(data),
        }
    }
}

impl DiskStatus {
    /// Lines for people, what waits for the cloud first.
    #[must_use]
    pub fn describe(&self, waiting: &WaitingStatus) -> String {
        let size = human_bytes;
        let results = if waiting.results == 0 {
            "results   all acknowledged".to_owned()
        } else {
            format!(
                "results   {} wait for the control plane ({}, {} blobs of {}, the oldest for {} s)",
                waiting.results,
                size(waiting.result_bytes),
                waiting.blobs,
                size(waiting.blob_bytes),
                waiting.oldest_seconds.unwrap_or(0)
            )
        };
        let own = format!(
            "own runs  {} wait for the control plane ({} events)",
            waiting.own_runs, waiting.own_events
        );
        let logs = format!(
            "logs      {} lines ({}) wait for the control plane",
            waiting.log_lines,
            size(waiting.log_bytes)
        );
        let means = match self.state {
            DiskState::Normal => "room enough",
            DiskState::High => "nearly full: no new work is taken",
            DiskState::Critical => "full: no attempts are started",
            DiskState::Full => "full: nothing is acknowledged until there is room",
        };
        let disk = format!("disk      {means} ({} of {} free)", size(self.free_bytes), size(self.total_bytes));
        let kinds = format!(
            "          journal {}, checkpoint {}, {} blobs {}, compiled code {}, set aside as damaged {}",
            size(self.journal_bytes),
            size(self.checkpoint_bytes),
            self.blobs,
            size(self.blob_bytes),
            size(self.compiled_bytes),
            size(self.quarantined_bytes)
        );
        let lines = [
            Some(results),
            Some(own).filter(|_| waiting.own_runs > 0),
            Some(logs).filter(|_| waiting.log_lines > 0),
            Some(disk),
            Some(kinds),
        ];
        lines.into_iter().flatten().map(|line| line + "\n").collect()
    }
}

impl WaitingStatus {
    pub(crate) fn of(runtime: &Runtime) -> Self {
        let waiting = runtime.look(eyot_node::Node::waiting);
        let logs = runtime.logs.waiting();
        let now = runtime.clock.now();
        Self {
            results: waiting.results as u64,
            result_bytes: waiting.result_bytes as u64,
            blobs: waiting.blobs as u64,
            blob_bytes: waiting.blob_bytes,
            oldest_seconds: waiting.oldest.map(|at| now.since(at).as_duration().as_secs()),
            own_runs: waiting.own_runs as u64,
            own_events: waiting.own_events as u64,
            log_lines: logs.lines as u64,
            log_bytes: logs.bytes,
        }
    }
}

/// Bytes of all files under a folder; what cannot be read counts nothing.
pub(crate) fn bytes_in(folder: &Path) -> u64 {
    let Ok(entries) = std::fs::read_dir(folder) else { return 0 };
    entries
        .flatten()
        .map(|entry| match entry.metadata() {
            Ok(metadata) if metadata.is_dir() => bytes_in(&entry.path()),
            Ok(metadata) => metadata.len(),
            Err(_) => 0,
        })
        .sum()
}

/// As people read it.
fn human_bytes(bytes: u64) -> String {
    const UNITS: [&str; 4] = ["KiB", "MiB", "GiB", "TiB"];
    let mut size = bytes;
    let mut rest = 0;
    let mut unit = None;
    for name in UNITS {
        if size < 1_024 {
            break;
        }
        rest = size % 1_024;
        size /= 1_024;
        unit = Some(name);
    }
    match unit {
        None => format!("{size} B"),
        Some(unit) if size < 10 => format!("{size}.{} {unit}", rest * 10 / 1_024),
        Some(unit) => format!("{size} {unit}"),
    }
}

#[cfg(test)]
mod tests {
    use super::{DiskStatus, WaitingStatus, human_bytes};

    #[test]
    fn own_runs_that_the_cloud_does_not_have_are_said() {
        let mut waiting = WaitingStatus::default();
        assert!(!DiskStatus::default().describe(&waiting).contains("own runs"));
        (waiting.own_runs, waiting.own_events) = (3, 12);
        let said = DiskStatus::default().describe(&waiting);
        assert!(said.contains("own runs  3 wait for the control plane (12 events)"), "{said}");
    }

    #[test]
    fn sizes_are_short() {
        for (bytes, text) in [
            (0, "0 B"),
            (1_023, "1023 B"),
            (1_536, "1.5 KiB"),
            (64 << 20, "64 MiB"),
            (5 << 40, "5.0 TiB"),
            (5_000 << 40, "5000 TiB"),
        ] {
            assert_eq!(human_bytes(bytes), text);
        }
    }
}

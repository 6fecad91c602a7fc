//! `logs` in `agent.json`: how much of what tasks log is kept while there is no link.

use serde::{Deserialize, Serialize};
use std::time::Duration;

/// As it stands in the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct LogConfig {
    /// Most bytes of lines that wait for the link. The least important go first, then the oldest.
    pub max_bytes: u64,
    /// Lines older than this go, in hours.
    pub max_age_hours: u64,
    /// Whether what waits is written down, so that it outlives a restart of the agent or of the device.
    pub keep_over_restart: bool,
}

impl Default for LogConfig {
    fn default() -> Self {
        Self {
            max_bytes: 8 << 20,
            max_age_hours: 7 * 24,
            keep_over_restart: true,
        }
    }
}

impl LogConfig {
    #[must_use]
    pub fn max_age(&self) -> Duration {
        Duration::from_secs(self.max_age_hours.saturating_mul(3_600))
    }
}

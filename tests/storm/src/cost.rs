//! What the control plane has used, as the system counts it.

use anyhow::{Context, Result};
use serde::Serialize;

/// Of a whole process, since its start.
#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) struct Cost {
    /// Most memory that was resident at a time, in MiB.
    pub(crate) peak_mib: f64,
    /// Seconds of all cores.
    pub(crate) cpu_seconds: f64,
}

impl Cost {
    pub(crate) fn of(pid: u32) -> Result<Self> {
        let read = |name: &str| {
            let path = format!("/proc/{pid}/{name}");
            std::fs::read_to_string(&path).with_context(|| format!("cannot read {path}"))
        };
        let status = read("status")?;
        let peak_kib: f64 = status
            .lines()
            .find_map(|line| line.strip_prefix("VmHWM:"))
            .and_then(|rest| rest.split_whitespace().next())
            .and_then(|n| n.parse().ok())
            .context("no VmHWM")?;
        // User and system time are the 14th and 15th field, the 12th and 13th after the name in parentheses.
        let stat = read("stat")?;
        let after_name = stat.rsplit_once(')').context("no name in stat")?.1;
        let ticks: f64 = after_name
            .split_whitespace()
            .skip(11)
            .take(2)
            .filter_map(|n| n.parse::<f64>().ok())
            .sum();
        #[expect(clippy::cast_precision_loss, reason = "a hundred, mostly")]
        let per_second = rustix::param::clock_ticks_per_second() as f64;
        Ok(Self {
            peak_mib: peak_kib / 1_024.0,
            cpu_seconds: ticks / per_second,
        })
    }
}

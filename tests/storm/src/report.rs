//! The figures of a storm.

use crate::cost::Cost;
use serde::Serialize;
use std::fmt;
use std::time::Instant;

/// From a moment to each agent's reconciliation, in milliseconds.
#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) struct Spread {
    pub(crate) p50_ms: f64,
    pub(crate) p99_ms: f64,
    pub(crate) all_ms: f64,
}

impl Spread {
    pub(crate) fn of(moments: &[Instant], from: Instant) -> Self {
        let mut millis: Vec<f64> = moments
            .iter()
            .map(|at| at.saturating_duration_since(from).as_secs_f64() * 1e3)
            .collect();
        millis.sort_by(f64::total_cmp);
        let at = |percent: usize| {
            millis
                .get((millis.len() * percent / 100).min(millis.len().saturating_sub(1)))
                .copied()
                .unwrap_or(0.0)
        };
        Self {
            p50_ms: at(50),
            p99_ms: at(99),
            all_ms: at(100),
        }
    }
}

impl fmt::Display for Spread {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "p50 {:.0} ms, p99 {:.0} ms, all {:.0} ms", self.p50_ms, self.p99_ms, self.all_ms)
    }
}

#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) struct Report {
    pub(crate) ok: bool,
    pub(crate) agents: u32,
    pub(crate) reconciled: usize,
    /// Fragments that agents hold, and were told to keep.
    pub(crate) held: usize,
    pub(crate) outage_seconds: u64,
    /// From the start of the process to its first answer to a client.
    pub(crate) answers_ms: f64,
    /// All agents connect for the first time.
    pub(crate) first: Spread,
    /// From the start of the process to each agent's reconciliation.
    pub(crate) again: Spread,
    /// Links that came up after the start: more than agents where some came up twice.
    pub(crate) connections: u64,
    /// The control plane that was killed.
    pub(crate) before: Cost,
    /// The control plane that they came back to.
    pub(crate) cost: Cost,
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{} agents, {} fragments held", self.agents, self.held)?;
        writeln!(f, "first connection       {}", self.first)?;
        writeln!(f, "after {:>3} s without    {}", self.outage_seconds, self.again)?;
        writeln!(f, "  it answers clients   after {:.0} ms", self.answers_ms)?;
        writeln!(f, "  links that came up   {}", self.connections)?;
        write!(
            f,
            "  control plane        {:.0} MiB at most, {:.1} s of CPU (before: {:.0} MiB)",
            self.cost.peak_mib, self.cost.cpu_seconds, self.before.peak_mib
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn percentiles_are_of_the_sorted_times() {
        let from = Instant::now();
        let moments: Vec<Instant> = (1..=200).rev().map(|n| from + Duration::from_millis(n)).collect();
        let spread = Spread::of(&moments, from);
        assert!((spread.p50_ms - 101.0).abs() < 0.01 && (spread.p99_ms - 199.0).abs() < 0.01 && (spread.all_ms - 200.0).abs() < 0.01);
        assert!(Spread::of(&[], from).all_ms.abs() < f64::EPSILON);
    }
}

//! Limits of an attempt and their enforcement.

use crate::CancelToken;
use eyot_model::{Failure, FailureKind, Outcome};
use rustix::time::{ClockId, clock_gettime};
use serde::{Deserialize, Serialize};
use std::time::{Duration, Instant};
use wasmtime::ResourceLimiter;

/// What an attempt may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limits {
    /// All memories of the component together, in bytes.
    pub memory_bytes: u64,
    /// Time on the CPU; None for no limit.
    pub cpu: Option<Duration>,
    /// Time from start to end; None for no limit.
    pub wall: Option<Duration>,
    /// All outputs together, and all that is written to blobs, each in bytes.
    pub output_bytes: u64,
}

impl Default for Limits {
    /// 256 MiB of memory, an hour of CPU time, no limit on wall time, 256 MiB of output.
    fn default() -> Self {
        Self {
            memory_bytes: 256 << 20,
            cpu: Some(Duration::from_secs(3_600)),
            wall: None,
            output_bytes: 256 << 20,
        }
    }
}

/// Why the host stopped a guest. Travels through the engine as its error.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Stop {
    #[error("cancelled")]
    Cancelled,
    #[error("took longer than its timeout of {0:?}")]
    Wall(Duration),
    #[error("used more CPU time than its limit of {0:?}")]
    Cpu(Duration),
    #[error("asked for {desired} bytes of memory, over its limit of {limit}")]
    Memory { desired: u64, limit: u64 },
    #[error("{what}, over the limit of {limit} bytes")]
    Output { what: String, limit: u64 },
    #[error("{0}")]
    NoRoom(String),
    #[error("{0}")]
    NoBlob(String),
}

impl Stop {
    pub(crate) fn outcome(&self) -> Outcome {
        let kind = match self {
            Self::Cancelled => return Outcome::Cancelled,
            Self::Wall(_) => FailureKind::Timeout,
            Self::Cpu(_) => FailureKind::CpuLimit,
            Self::Memory { .. } => FailureKind::MemoryLimit,
            Self::Output { .. } => FailureKind::OutputLimit,
            Self::NoRoom(_) => FailureKind::DiskFull,
            Self::NoBlob(_) => FailureKind::BlobUnavailable,
        };
        Outcome::Failed(Failure::new(kind, self.to_string()))
    }
}

/// Watches over one attempt.
pub(crate) struct Meter {
    limits: Limits,
    started: Instant,
    deadline: Option<Instant>,
    /// What the thread had used at the start; read at the first look where nothing depends on it.
    cpu_at_start: Option<Duration>,
    cancel: CancelToken,
    memory: u64,
    last_growth: u64,
    peak_memory: u64,
    stop: Option<Stop>,
}

/// CPU limits below this are counted from a reading at the start. To ask for the CPU time of a thread is a call of the system, which
/// takes as long as a part of a short task.
const EXACT_BELOW: Duration = Duration::from_secs(10);

/// Most elements of one table.
const MAX_TABLE_ELEMENTS: usize = 1 << 20;

impl Meter {
    pub(crate) fn start(limits: Limits, cancel: CancelToken, started: Instant) -> Self {
        Self {
            limits,
            started,
            deadline: limits.wall.and_then(|wall| started.checked_add(wall)),
            cpu_at_start: limits.cpu.filter(|limit| *limit < EXACT_BELOW).map(|_| thread_cpu()),
            cancel,
            memory: 0,
            last_growth: 0,
            peak_memory: 0,
            stop: None,
        }
    }

    /// Whether the guest may go on; called at every tick and while it is blocked in the host.
    pub(crate) fn check(&mut self) -> Result<(), Stop> {
        let stop = if self.cancel.is_cancelled() {
            Stop::Cancelled
        } else if let (Some(deadline), Some(wall)) = (self.deadline, self.limits.wall)
            && Instant::now() >= deadline
        {
            Stop::Wall(wall)
        } else if let Some(cpu) = self.limits.cpu
            && self.cpu_used() >= cpu
        {
            Stop::Cpu(cpu)
        } else {
            return Ok(());
        };
        Err(self.stop_for(stop))
    }

    /// CPU time of the attempt so far. Where its start was not read, all the time until the first look counts as used.
    fn cpu_used(&mut self) -> Duration {
        let now = thread_cpu();
        let started = self.started;
        let at_start = self.cpu_at_start.get_or_insert_with(|| now.saturating_sub(started.elapsed()));
        now.saturating_sub(*at_start)
    }

    /// Notes why the guest is stopped; the first reason holds.
    pub(crate) fn stop_for(&mut self, stop: Stop) -> Stop {
        self.stop.get_or_insert(stop).clone()
    }

    pub(crate) fn stopped(&self) -> Option<&Stop> {
        self.stop.as_ref()
    }

    pub(crate) fn deadline(&self) -> Option<Instant> {
        self.deadline
    }

    pub(crate) fn cancel(&self) -> &CancelToken {
        &self.cancel
    }

    pub(crate) fn limits(&self) -> &Limits {
        &self.limits
    }

    pub(crate) fn started(&self) -> Instant {
        self.started
    }

    pub(crate) fn peak_memory(&self) -> u64 {
        self.peak_memory
    }
}

impl ResourceLimiter for Meter {
    fn memory_growing(&mut self, current: usize, desired: usize, _maximum: Option<usize>) -> wasmtime::Result<bool> {
        let growth = (desired as u64).saturating_sub(current as u64);
        let total = self.memory.saturating_add(growth);
        if total > self.limits.memory_bytes {
            // An error, not a refusal: languages turn a refusal into an abort that says nothing.
            let limit = self.limits.memory_bytes;
            return Err(self.stop_for(Stop::Memory { desired: total, limit }).into());
        }
        self.memory = total;
        self.last_growth = growth;
        self.peak_memory = self.peak_memory.max(total);
        Ok(true)
    }

    fn memory_grow_failed(&mut self, _error: wasmtime::Error) -> wasmtime::Result<()> {
        self.memory = self.memory.saturating_sub(self.last_growth);
        self.last_growth = 0;
        Ok(())
    }

    fn table_growing(&mut self, _current: usize, desired: usize, _maximum: Option<usize>) -> wasmtime::Result<bool> {
        Ok(desired <= MAX_TABLE_ELEMENTS)
    }
}

/// CPU time that this thread has used. An attempt stays on one thread.
fn thread_cpu() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec.try_into().unwrap_or(0), time.tv_nsec.try_into().unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_cpu_limit_misses_nothing_although_no_clock_is_read_at_the_start() {
        const BURNT: Duration = Duration::from_millis(20);
        let meter = |cpu, started| {
            let limits = Limits {
                cpu: Some(cpu),
                ..Limits::default()
            };
            Meter::start(limits, CancelToken::new(), started)
        };
        let (started, before) = (Instant::now(), thread_cpu());
        while thread_cpu() - before < BURNT {}
        let mut long = meter(EXACT_BELOW, started);
        let used = long.cpu_used();
        assert!(used >= BURNT && used <= started.elapsed(), "{used:?}");
        let mut short = meter(EXACT_BELOW / 2, started);
        assert!(short.cpu_used() < BURNT, "what was used before its start is not its own");
        assert!(long.cpu_used() >= used);
    }
}

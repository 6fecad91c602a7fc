//! Which ready instances may run now: first come, first served over all runs, as far as the device's resources go.

use eyot_model::{AttemptId, Capacity, Path, Resources, RunId};
use std::collections::{BTreeMap, VecDeque};

/// How far beyond a head that does not fit yet the queue is searched for something that does.
const LOOK_AHEAD: usize = 32;
/// How often a head may be passed over before everything waits for it, so that it does not starve.
const PATIENCE: u32 = 64;

#[derive(Default)]
pub(crate) struct Admission {
    capacity: Capacity,
    queue: VecDeque<(RunId, Path)>,
    running: BTreeMap<AttemptId, (u32, u64)>,
    cpu_millis: u32,
    memory_bytes: u64,
    passed_over: u32,
}

impl Admission {
    pub(crate) fn new(capacity: Capacity) -> Self {
        Self {
            capacity,
            ..Self::default()
        }
    }

    pub(crate) fn push(&mut self, run: RunId, path: Path) {
        self.queue.push_back((run, path));
    }

    /// Takes the next instance that fits. What is asked for beyond the whole device counts as the whole device: the
    /// planner has refused such a task, and an agent that shrank must still get on.
    pub(crate) fn pop<'a>(&mut self, resources: impl Fn(RunId, Path) -> Option<&'a Resources>) -> Option<(RunId, Path)> {
        let mut at = 0;
        // What did not fit: mostly it is what the next one wants too.
        let mut refused: Option<&Resources> = None;
        while at < self.queue.len().min(LOOK_AHEAD) {
            let (run, path) = self.queue[at];
            let Some(wanted) = resources(run, path) else {
                self.queue.remove(at);
                continue;
            };
            let refused_before = refused.is_some_and(|r| r.cpu_millis <= wanted.cpu_millis && r.memory_bytes <= wanted.memory_bytes);
            if !refused_before && self.fits(wanted) {
                self.passed_over = if at == 0 { 0 } else { self.passed_over + 1 };
                return self.queue.remove(at);
            }
            if self.passed_over >= PATIENCE {
                return None;
            }
            refused = Some(wanted);
            at += 1;
        }
        None
    }

    fn fits(&self, wanted: &Resources) -> bool {
        let (cpu, memory) = self.clamped(wanted);
        self.running.is_empty()
            || (self.cpu_millis + cpu <= self.capacity.cpu_millis && self.memory_bytes + memory <= self.capacity.memory_bytes)
    }

    fn clamped(&self, wanted: &Resources) -> (u32, u64) {
        (
            wanted.cpu_millis.min(self.capacity.cpu_millis),
            wanted.memory_bytes.min(self.capacity.memory_bytes),
        )
    }

    pub(crate) fn started(&mut self, id: AttemptId, wanted: &Resources) {
        let (cpu, memory) = self.clamped(wanted);
        if self.running.insert(id, (cpu, memory)).is_none() {
            self.cpu_millis += cpu;
            self.memory_bytes += memory;
        }
    }

    /// False if no such attempt was running.
    pub(crate) fn ended(&mut self, id: &AttemptId) -> bool {
        let Some((cpu, memory)) = self.running.remove(id) else {
            return false;
        };
        self.cpu_millis -= cpu;
        self.memory_bytes -= memory;
        true
    }

    pub(crate) fn running(&self) -> impl Iterator<Item = &AttemptId> {
        self.running.keys()
    }

    pub(crate) fn load(&self) -> (u32, u32, u32, u64) {
        let len = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
        (len(self.running.len()), len(self.queue.len()), self.cpu_millis, self.memory_bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use eyot_model::{Epoch, TaskIx};

    fn path(n: u32) -> Path {
        Path::task(TaskIx(n))
    }

    fn wants(cpu: u32) -> Resources {
        Resources {
            cpu_millis: cpu,
            memory_bytes: 1,
            ..Resources::default()
        }
    }

    fn id(n: u32) -> AttemptId {
        AttemptId {
            run: RunId(1),
            path: path(n),
            attempt: 1,
            epoch: Epoch(1),
        }
    }

    #[test]
    fn small_work_passes_a_head_that_does_not_fit_but_not_for_ever() {
        let mut admission = Admission::new(Capacity {
            cpu_millis: 2_000,
            memory_bytes: 100,
            ..Capacity::default()
        });
        admission.started(id(1_000), &wants(1_500));
        admission.push(RunId(1), path(0));
        for n in 1..200 {
            admission.push(RunId(1), path(n));
        }
        let (large, small) = (wants(1_000), wants(100));
        let cost = |_: RunId, p: Path| Some(if p.task.0 == 0 { &large } else { &small });
        let mut passed = 0;
        while let Some((_, path)) = admission.pop(cost) {
            assert_ne!(path.task.0, 0, "the head does not fit");
            passed += 1;
        }
        assert_eq!(passed, PATIENCE);
        admission.ended(&id(1_000));
        assert_eq!(admission.pop(cost), Some((RunId(1), path(0))));
    }

    #[test]
    fn more_than_the_device_has_runs_alone() {
        let mut admission = Admission::new(Capacity {
            cpu_millis: 1_000,
            memory_bytes: 10,
            ..Capacity::default()
        });
        admission.push(RunId(1), path(0));
        admission.push(RunId(1), path(1));
        let (large, small) = (wants(9_000), wants(1));
        assert!(admission.pop(|_, _| Some(&large)).is_some());
        admission.started(id(0), &large);
        assert!(admission.pop(|_, _| Some(&small)).is_none());
        admission.ended(&id(0));
        assert!(admission.pop(|_, _| Some(&small)).is_some());
    }
}

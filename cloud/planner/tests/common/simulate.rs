//! What a placement comes to when tasks simply start in the order in which they become ready: a model of its own, to
//! compare placements with each other. No prediction of the planner goes into it.

use eyot_model::{AgentProfile, TaskIx, Workflow};
use std::cmp::Reverse;
use std::collections::BinaryHeap;

/// What the truth is about the tasks of a workflow.
pub(crate) struct Truth<'a> {
    pub(crate) workflow: &'a Workflow,
    pub(crate) fleet: &'a [AgentProfile],
    /// Milliseconds of each task on the reference device.
    pub(crate) reference_ms: Vec<f64>,
    pub(crate) output_bytes: Vec<f64>,
}

/// How a task finds its agent.
pub(crate) enum Policy<'a> {
    /// By task.
    Placed(&'a [usize]),
    RoundRobin,
    /// The agent whose next lane is free first, when the task becomes ready.
    LeastLoaded,
}

impl Truth<'_> {
    fn transfer(&self, from: usize, to: usize, bytes: f64) -> f64 {
        if from == to {
            return 0.0;
        }
        let (from, to) = (&self.fleet[from], &self.fleet[to]);
        let rate = from.uplink_bytes_per_sec.min(to.downlink_bytes_per_sec) as f64;
        (from.round_trip.0 + to.round_trip.0) as f64 + bytes / rate * 1e3
    }

    /// Milliseconds from start to end of the run. `may` says whether an agent can run a task.
    pub(crate) fn makespan(&self, policy: &Policy<'_>, may: impl Fn(usize, usize) -> bool) -> f64 {
        let count = self.workflow.tasks.len();
        let mut after = vec![Vec::new(); count];
        let mut waits: Vec<usize> = self.workflow.tasks.iter().map(|t| t.needs.len()).collect();
        for (n, task) in self.workflow.tasks.iter().enumerate() {
            task.needs.iter().for_each(|TaskIx(b)| after[*b as usize].push(n));
        }
        let mut lanes: Vec<Vec<f64>> = self
            .fleet
            .iter()
            .map(|a| vec![0.0; (a.capacity.cpu_millis / 1_000).max(1) as usize])
            .collect();
        let mut place = vec![usize::MAX; count];
        let mut finish = vec![0.0f64; count];
        // By the time at which the last task before ended, in microseconds.
        let mut ready: BinaryHeap<Reverse<(u64, usize)>> = (0..count).filter(|n| waits[*n] == 0).map(|n| Reverse((0, n))).collect();
        let mut next = 0;
        while let Some(Reverse((_, n))) = ready.pop() {
            let agent = match policy {
                Policy::Placed(placed) => placed[n],
                Policy::RoundRobin => {
                    let found = (0..self.fleet.len())
                        .map(|i| (next + i) % self.fleet.len())
                        .find(|a| may(n, *a))
                        .unwrap();
                    next = found + 1;
                    found
                }
                Policy::LeastLoaded => {
                    let free = |a: &usize| lanes[*a].iter().copied().fold(f64::INFINITY, f64::min);
                    (0..self.fleet.len())
                        .filter(|a| may(n, *a))
                        .min_by(|a, b| free(a).total_cmp(&free(b)))
                        .unwrap()
                }
            };
            let data = self.workflow.tasks[n]
                .needs
                .iter()
                .map(|TaskIx(b)| finish[*b as usize] + self.transfer(place[*b as usize], agent, self.output_bytes[*b as usize]))
                .fold(0.0, f64::max);
            let lane = (0..lanes[agent].len())
                .min_by(|a, b| lanes[agent][*a].total_cmp(&lanes[agent][*b]))
                .unwrap();
            let start = lanes[agent][lane].max(data);
            finish[n] = start + self.reference_ms[n] / self.fleet[agent].speed;
            lanes[agent][lane] = finish[n];
            place[n] = agent;
            for &m in &after[n] {
                waits[m] -= 1;
                if waits[m] == 0 {
                    let all = self.workflow.tasks[m]
                        .needs
                        .iter()
                        .map(|TaskIx(b)| finish[*b as usize])
                        .fold(0.0, f64::max);
                    ready.push(Reverse(((all * 1e3) as u64, m)));
                }
            }
        }
        assert!(waits.iter().all(|w| *w == 0), "a task never became ready");
        finish.into_iter().fold(0.0, f64::max)
    }
}

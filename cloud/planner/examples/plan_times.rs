//! How long planning takes: `cargo run --release -p eyot-planner --example plan_times [AGENTS]`.

#[path = "../tests/common/layered.rs"]
#[allow(dead_code, clippy::unwrap_used)]
mod layered;

use eyot_model::{Inputs, LinkState};
use eyot_planner::{Candidate, Request, plan};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;

fn main() -> Result<(), eyot_planner::Error> {
    let agents = std::env::args().nth(1).and_then(|n| n.parse().ok()).unwrap_or(100);
    let profiles = layered::fleet(agents, 1);
    let fleet: Vec<Candidate<'_>> = profiles
        .iter()
        .map(|profile| Candidate {
            profile,
            draining: false,
            link: LinkState::Connected,
        })
        .collect();
    let history = layered::history(2);
    let mut first = None;
    for tasks in [1_000, 10_000, 100_000] {
        let workflow = layered::layered(tasks, tasks / 20, 3);
        let mut times = Vec::new();
        let mut last = None;
        for seed in 0..5 {
            drop(last.take()); // outside of the time that counts
            let began = Instant::now();
            let made = plan(&Request {
                workflow: &workflow,
                inputs: &Inputs::new(),
                fleet: &fleet,
                history: &history,
                settled: &BTreeSet::new(),
                outputs_at: &BTreeMap::new(),
                seed,
            })?;
            times.push(began.elapsed().as_secs_f64() * 1e3);
            last = Some(made);
        }
        times.sort_by(f64::total_cmp);
        let median = times[times.len() / 2];
        if tasks == 10_000 {
            first = Some(median);
        }
        let ratio = first.map_or(String::new(), |f| format!(", {:.1} times that of 10,000", median / f));
        let (fragments, makespan) = last.map(|p| (p.fragments.len(), p.makespan)).unwrap_or_default();
        println!("{tasks} tasks over {agents} agents: {median:.0} ms{ratio} ({fragments} fragments, makespan {makespan})");
    }
    Ok(())
}

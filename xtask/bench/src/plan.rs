//! `plan.10k`, `plan.100k`: planning large workflows over a hundred agents.

use crate::figure::{Better, Figure, Sample, Target};
use anyhow::Result;
use eyot_model::{
    AgentId, AgentProfile, Capacity, ComponentRef, Expr, Inputs, LinkState, Load, Millis, Placement, Task, TaskIx, Template, Workflow,
};
use eyot_planner::{Candidate, History, Request};
use std::collections::{BTreeMap, BTreeSet};
use std::hint::black_box;
use std::time::Instant;

const AGENTS: u32 = 100;
/// Tasks of one chain; chains run beside each other, and each task needs the one before and one of the next chain.
const DEPTH: u32 = 100;

pub(crate) fn figures() -> Vec<Figure> {
    vec![
        Figure {
            name: "plan.10k",
            what: "seconds to plan 10,000 tasks over 100 agents",
            unit: "s",
            better: Better::Less,
            target: Target::Value(1.0),
            run: Box::new(|| {
                Ok(Sample {
                    value: time(10_000)?,
                    floor: None,
                })
            }),
        },
        Figure {
            name: "plan.100k",
            what: "seconds to plan 100,000 tasks over 100 agents; its floor is the time for 10,000",
            unit: "s",
            better: Better::Less,
            target: Target::Ratio(15.0),
            run: Box::new(|| {
                let floor = Some(time(10_000)?);
                Ok(Sample {
                    value: time(100_000)?,
                    floor,
                })
            }),
        },
    ]
}

/// Seconds of one planning.
fn time(tasks: u32) -> Result<f64> {
    let workflow = workflow(tasks);
    let profiles: Vec<AgentProfile> = (0..AGENTS).map(agent).collect();
    let fleet: Vec<Candidate<'_>> = profiles
        .iter()
        .map(|profile| Candidate {
            profile,
            draining: false,
            link: LinkState::Connected,
        })
        .collect();
    let request = Request {
        workflow: &workflow,
        inputs: &Inputs::new(),
        fleet: &fleet,
        history: &History::default(),
        settled: &BTreeSet::new(),
        outputs_at: &BTreeMap::new(),
        seed: 7,
    };
    let start = Instant::now();
    let plan = black_box(eyot_planner::plan(black_box(&request)))?;
    let seconds = start.elapsed().as_secs_f64();
    anyhow::ensure!(plan.choices.len() == tasks as usize, "the plan does not place every task");
    Ok(seconds)
}

fn workflow(tasks: u32) -> Workflow {
    Workflow::new("bench", "grid", "1", (0..tasks).map(|n| task(n, tasks)).collect())
}

/// Every tenth task asks for a label that a quarter of the agents have.
fn task(n: u32, tasks: u32) -> Task {
    let mut needs = BTreeSet::new();
    if !n.is_multiple_of(DEPTH) {
        needs.insert(TaskIx(n - 1));
        // Of the chain after this one, so that no cycle comes about: one level earlier.
        needs.insert(TaskIx((n - 1 + DEPTH) % tasks));
    }
    let with = needs
        .iter()
        .map(|need| {
            let source = format!("tasks.t{}.outputs.x", need.0);
            (format!("in{}", need.0), Template::Expr(Expr { source }))
        })
        .collect();
    let require = n.is_multiple_of(10).then(|| Expr {
        source: "agent.labels.role == 'r1'".into(),
    });
    Task {
        needs,
        with,
        placement: Placement { require, prefer: None },
        ..Task::new(
            format!("t{n}"),
            ComponentRef {
                name: format!("bench/kind-{}@1", n % 7),
                digest: None,
                size: 1 << 20,
            },
        )
    }
}

fn agent(n: u32) -> AgentProfile {
    AgentProfile {
        id: AgentId(u128::from(n) + 1),
        name: format!("agent-{n}"),
        site: None,
        labels: [("role".to_owned(), format!("r{}", n % 4))].into(),
        capabilities: BTreeSet::new(),
        capacity: Capacity {
            cpu_millis: 4_000,
            memory_bytes: 8 << 30,
            disk_bytes: 64 << 30,
            gpus: 0,
        },
        platform: "linux/x86_64".into(),
        version: "0.1.0".into(),
        uplink_bytes_per_sec: 10_000_000,
        downlink_bytes_per_sec: 20_000_000,
        round_trip: Millis(20),
        speed: 1.0 + f64::from(n % 5) * 0.5,
        load: Load::default(),
        holds: BTreeSet::new(),
    }
}

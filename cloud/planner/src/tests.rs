//! Workflows and agents for the tests of this crate.

use eyot_model::{AgentId, AgentProfile, Capacity, ComponentRef, Expr, Load, Millis, Task, Workflow};
use std::collections::{BTreeMap, BTreeSet};

pub(crate) fn expr(source: &str) -> Expr {
    Expr { source: source.to_owned() }
}

/// Tasks `t0`, `t1`, … that need nothing of each other.
pub(crate) fn workflow(tasks: usize) -> Workflow {
    Workflow::new("test", "test", "1", (0..tasks).map(|n| task(&format!("t{n}"))).collect())
}

pub(crate) fn task(name: &str) -> Task {
    Task::new(
        name,
        ComponentRef {
            name: "test/noop@1".into(),
            digest: None,
            size: 0,
        },
    )
}

/// The reference device: one core, 1 GiB, 1 MB/s both ways, 10 ms.
pub(crate) fn agent(id: u128, name: &str) -> AgentProfile {
    AgentProfile {
        id: AgentId(id),
        name: name.into(),
        site: None,
        labels: BTreeMap::new(),
        capabilities: BTreeSet::new(),
        capacity: Capacity {
            cpu_millis: 1_000,
            memory_bytes: 1 << 30,
            disk_bytes: 1 << 40,
            gpus: 0,
        },
        platform: "linux/x86_64".into(),
        version: "0.1.0".into(),
        uplink_bytes_per_sec: 1_000_000,
        downlink_bytes_per_sec: 1_000_000,
        round_trip: Millis(10),
        speed: 1.0,
        load: Load::default(),
        holds: BTreeSet::new(),
    }
}

//! Made-up workflows and fleets of any size, from a seed. Used by the tests, by the example and by the benchmark.

use eyot_model::{AgentId, AgentProfile, Capacity, ComponentRef, Digest, Expr, Load, Millis, Task, TaskIx, Template, Workflow};
use eyot_planner::{History, Observation};
use std::collections::{BTreeMap, BTreeSet};

/// SplitMix64: enough for graphs that look random and are the same everywhere.
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub(crate) fn below(&mut self, end: usize) -> usize {
        usize::try_from(self.next() % u64::try_from(end.max(1)).unwrap()).unwrap()
    }
}

pub(crate) fn workflow(tasks: Vec<Task>) -> Workflow {
    Workflow::new("test", "test", "1", tasks)
}

pub(crate) fn task(name: &str) -> Task {
    Task::new(
        name,
        ComponentRef {
            name: name.into(),
            digest: None,
            size: 0,
        },
    )
}

/// Needs the task with this index and name, and reads its outputs.
pub(crate) fn read(task: &mut Task, from: usize, name: &str) {
    task.needs.insert(TaskIx(u32::try_from(from).unwrap()));
    let source = format!("tasks.{name}.outputs.value");
    task.with.insert(format!("from_{name}"), Template::Expr(Expr { source }));
}

pub(crate) fn agent(id: u128, name: &str) -> AgentProfile {
    AgentProfile {
        id: AgentId(id),
        name: name.into(),
        site: None,
        labels: BTreeMap::new(),
        capabilities: BTreeSet::new(),
        capacity: Capacity {
            cpu_millis: 1_000,
            memory_bytes: 16 << 30,
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

/// `agents` of different speed, size, links and labels.
pub(crate) fn fleet(agents: usize, seed: u64) -> Vec<AgentProfile> {
    let mut random = Random(seed);
    (0..agents)
        .map(|n| {
            let mut agent = agent(n as u128 + 1, &format!("agent-{n}"));
            agent.capacity.cpu_millis = [1_000, 2_000, 4_000, 8_000][random.below(4)];
            agent.speed = [0.5, 1.0, 1.5, 2.0, 4.0][random.below(5)];
            agent.uplink_bytes_per_sec = [1_250_000, 12_500_000, 125_000_000][random.below(3)];
            agent.downlink_bytes_per_sec = agent.uplink_bytes_per_sec * 2;
            agent.round_trip = Millis(5 + random.next() % 40);
            agent.labels.insert("zone".into(), ["a", "b", "c"][random.below(3)].into());
            agent
        })
        .collect()
}

const COMPONENTS: usize = 12;

fn component(n: usize) -> Digest {
    Digest::of(format!("component {n}").as_bytes())
}

/// Durations of 0.05 to 5 s and outputs of up to 4 MB for the components that [`layered`] uses.
pub(crate) fn history(seed: u64) -> History {
    let (mut random, mut history) = (Random(seed), History::new());
    for n in 0..COMPONENTS {
        history.record(&Observation {
            component: component(n),
            agent: AgentId(0),
            speed: 1.0,
            wall_micros: 50_000 + random.next() % 5_000_000,
            output_bytes: random.next() % 4_000_000,
        });
    }
    history
}

/// `tasks` in layers of about `width`; each reads one to four tasks of the two layers before.
pub(crate) fn layered(tasks: usize, width: usize, seed: u64) -> Workflow {
    let mut random = Random(seed);
    let mut made: Vec<Task> = Vec::with_capacity(tasks);
    for n in 0..tasks {
        let mut new = task(&format!("t{n}"));
        let c = random.below(COMPONENTS);
        new.uses = ComponentRef {
            name: format!("test/c{c}@1"),
            digest: Some(component(c)),
            size: 200_000,
        };
        let layer = n / width * width;
        if layer > 0 {
            let from = layer.saturating_sub(2 * width);
            for _ in 0..=random.below(4) {
                let before = from + random.below(layer - from);
                let name = format!("t{before}");
                read(&mut new, before, &name);
            }
        }
        if random.below(5) == 0 {
            new.placement.require = Some(Expr {
                source: "agent.labels.zone != 'a'".into(),
            });
        }
        made.push(new);
    }
    workflow(made)
}

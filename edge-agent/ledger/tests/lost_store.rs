//! The checkpoint store is lost after everything was folded into it: what the agent alone has is still there.
#![allow(clippy::unwrap_used)]

use eyot_checkpoint::{Checkpoint, Config, DiskMarks, JournalError, MemorySource, Record, SimDisk, StoreSource};
use eyot_ledger::{Gate, NodeFold};
use eyot_model::{
    Capacity, ComponentRef, Digest, Event, Inputs, Mark, Origin, Outcome, Position, RunId, Task, TaskIx, Timestamp, Usage, Value, Workflow,
};
use eyot_node::{Command, Node, OwnComponent, OwnPolicy, OwnWorkflow, Recovered, TriggerKey};
use eyot_wire::{Submission, ToAgent, ToCloud};
use std::collections::BTreeMap;
use std::sync::Arc;

const NOW: Timestamp = Timestamp(1_000_000_000);
const JOURNAL: Config = Config {
    segment_bytes: 24 << 10,
    journal_bytes: 64 << 10,
    fold_bytes: 16 << 10,
    marks: DiskMarks {
        high_free: 0,
        critical_free: 0,
        reserve: 0,
    },
};

/// Tasks one after the other.
fn workflow(name: &str, tasks: u32) -> Arc<Workflow> {
    let component = ComponentRef {
        name: "x".into(),
        digest: Some(Digest::of(b"x")),
        size: 1,
    };
    let task = |ix: u32| Task {
        needs: ix.checked_sub(1).map(TaskIx).into_iter().collect(),
        ..Task::new(format!("t{ix}"), component.clone())
    };
    Arc::new(Workflow::new("n", name, "1", (0..tasks).map(task).collect()))
}

fn own(name: &str) -> OwnWorkflow {
    OwnWorkflow {
        workflow: workflow(name, 1),
        text: format!("name: {name}"),
        digest: Digest::of(name.as_bytes()),
        stored_at: NOW,
        revision: Some(3),
    }
}

fn component(name: &str, version: &str) -> OwnComponent {
    OwnComponent {
        name: name.into(),
        version: version.into(),
        digest: Digest::of(version.as_bytes()),
        size: 9,
        description: "{}".into(),
        pushed_at: NOW,
    }
}

fn trigger(workflow: &str) -> TriggerKey {
    TriggerKey {
        namespace: "n".into(),
        workflow: workflow.into(),
        trigger: "t".into(),
    }
}

struct Written<'a>(&'a mut Checkpoint);

impl eyot_ledger::Journal for Written<'_> {
    fn append(&mut self, records: &mut Vec<Record>) -> Result<Position, JournalError> {
        self.0.append(records)
    }

    fn synced(&self) -> Position {
        self.0.synced()
    }
}

/// An agent whose tasks end at once with an output of so many bytes.
struct Device {
    node: Node,
    checkpoint: Checkpoint,
    gate: Gate,
    output: usize,
    sent: Vec<ToCloud>,
}

impl Device {
    fn start(disk: &SimDisk, source: &MemorySource, generation: u64) -> Self {
        let (checkpoint, found) = Checkpoint::open(
            JOURNAL,
            Arc::new(disk.clone()),
            Arc::new(source.clone()),
            Arc::new(NodeFold),
            generation,
            "label",
        )
        .unwrap();
        assert_eq!(found.report.loss, None, "{:?}", found.report);
        let recovered = Recovered {
            records: eyot_ledger::read(&found).unwrap(),
            last: found.report.taken,
            synced: eyot_ledger::durable(&checkpoint, &found.report),
        };
        let capacity = Capacity {
            cpu_millis: 4_000,
            memory_bytes: 1 << 30,
            ..Capacity::default()
        };
        let (node, recovery) = Node::recover(eyot_node::Config { capacity }, recovered, NOW);
        assert_eq!((recovery.lost.len(), recovery.incomplete.len()), (0, 0), "{recovery:?}");
        let mut device = Self {
            node,
            checkpoint,
            gate: Gate::default(),
            output: 10,
            sent: Vec::new(),
        };
        device.settle();
        device
    }

    /// Until nothing is left to do.
    fn settle(&mut self) {
        loop {
            let commands = self.gate.drain(&mut self.node, &mut Written(&mut self.checkpoint), NOW);
            self.checkpoint.sync().unwrap();
            self.node.journal_synced(self.checkpoint.synced());
            if commands.is_empty() {
                let more = self.gate.drain(&mut self.node, &mut Written(&mut self.checkpoint), NOW);
                if more.is_empty() {
                    return;
                }
                more.into_iter().for_each(|command| self.act(command));
            }
            commands.into_iter().for_each(|command| self.act(command));
        }
    }

    fn act(&mut self, command: Command) {
        match command {
            Command::Start { start, .. } => {
                let value = Value::String("x".repeat(self.output));
                let outcome = Outcome::Succeeded(BTreeMap::from([("out".to_owned(), value)]));
                self.node.attempt_ended(&start.id, outcome, Usage::default(), NOW);
            }
            Command::Send(message) => self.sent.push(message),
            Command::Archive { run } => self.node.archive(run),
            _ => {}
        }
    }

    fn submit(&mut self, run: u128, tasks: u32) {
        let submission = Submission {
            run: RunId(run),
            workflow: workflow("own", tasks),
            inputs: Arc::new(Inputs::new()),
            created_at: NOW,
            origin: Origin::Device { key: None },
        };
        self.node.submit(submission, NOW).unwrap();
        self.settle();
    }

    /// The link comes up, and the cloud answers until all is told that it wants; then the link is gone.
    fn meet(&mut self, cloud: &mut Cloud) {
        self.node.link_up(NOW);
        self.node.handle_message(ToAgent::Reconciled(vec![]), NOW);
        self.settle();
        while !self.sent.is_empty() {
            for message in std::mem::take(&mut self.sent) {
                if let Some(answer) = cloud.hears(message) {
                    self.node.handle_message(answer, NOW);
                }
            }
            self.settle();
        }
        self.node.link_down(NOW);
        self.settle();
    }

    fn own(&self) -> BTreeMap<RunId, Vec<Event>> {
        let events = |own: &eyot_node::OwnRun| own.events.iter().map(|(_, event)| event.clone()).collect();
        self.node.own_runs().map(|(run, own)| (run, events(own))).collect()
    }
}

/// Holds what it was told by number.
#[derive(Default)]
struct Cloud {
    runs: BTreeMap<RunId, Vec<Event>>,
    /// Takes no runs with a higher number.
    most: u128,
    heard: usize,
}

impl Cloud {
    fn hears(&mut self, message: ToCloud) -> Option<ToAgent> {
        let ToCloud::OwnRun(told) = message else { return None };
        if told.run.0 > self.most {
            return None;
        }
        self.heard += 1;
        let known = self.runs.entry(told.run).or_default();
        let first = usize::try_from(told.first).unwrap() - 1;
        assert!(first <= known.len(), "a gap before event {first} of run {}", told.run);
        for (n, event) in (first..).zip(told.events) {
            match known.get(n) {
                Some(same) => assert_eq!(*same, event),
                None => known.push(event),
            }
        }
        Some(ToAgent::OwnRunStored {
            run: told.run,
            through: known.len() as u64,
        })
    }
}

#[test]
fn what_only_the_agent_has_outlives_its_store() {
    let (disk, source) = (SimDisk::new(), MemorySource::new());
    let mut device = Device::start(&disk, &source, 1);
    let mut cloud = Cloud {
        most: 20,
        ..Cloud::default()
    };
    for name in ["stays", "goes", "comes-again"] {
        device.node.put_workflow(own(name));
        for n in 0..5 {
            let mark = Mark::Message {
                packet: n,
                content: Digest::of(b"m"),
                n: u64::from(n) + 1,
            };
            device.node.mark(trigger(name), mark);
        }
    }
    device.node.put_component(component("c", "1"));
    device.node.put_component(component("c", "2"));
    device.node.remove_workflow("n", "goes");
    device.node.remove_workflow("n", "comes-again");
    device.node.put_workflow(own("comes-again"));
    device.settle();
    for run in 1..=40 {
        device.submit(run, 2);
        if run == 20 {
            device.meet(&mut cloud);
            assert_eq!(cloud.runs.len(), 20);
        }
        device.checkpoint.fold().unwrap();
    }
    // A history of several records.
    device.output = 900 << 10;
    device.submit(41, 6);
    device.output = 10;
    device.checkpoint.fold().unwrap();
    // Enough that all of it was once in a segment that was dropped: the cloud has these.
    cloud.most = 0;
    for run in 1_000..1_400 {
        device.submit(run, 1);
        device.checkpoint.fold().unwrap();
    }
    for run in 1_000..1_400 {
        assert!(device.node.own_run(RunId(run)).unwrap().ended_at.is_some());
        device.node.release(RunId(run));
    }
    device.settle();
    device.checkpoint.fold().unwrap();
    let (own_runs, workflows, components) = (
        device.own(),
        device.node.workflows().cloned().collect::<Vec<_>>(),
        device.node.components().cloned().collect::<Vec<_>>(),
    );
    assert_eq!((own_runs.len(), workflows.len(), components.len()), (41, 2, 2));
    let fires = device.node.fires(&trigger("stays")).cloned();
    assert!(
        fires.is_some()
            && device
                .node
                .fires(&trigger("comes-again"))
                .is_none_or(|f| *f == eyot_node::Fires::default())
    );
    drop(device);
    disk.crash(7);
    source.quarantine("lost").unwrap();

    let mut device = Device::start(&disk, &source, 2);
    assert_eq!(device.node.workflows().cloned().collect::<Vec<_>>(), workflows);
    assert_eq!(device.node.components().cloned().collect::<Vec<_>>(), components);
    assert_eq!(device.node.fires(&trigger("stays")).cloned(), fires);
    for gone in ["goes", "comes-again"] {
        let fires = device.node.fires(&trigger(gone)).cloned().unwrap_or_default();
        assert_eq!(fires, eyot_node::Fires::default(), "{gone}");
    }
    let again = device.own();
    for (run, events) in own_runs.iter().filter(|(run, _)| run.0 > 20) {
        assert_eq!(again.get(run), Some(events), "run {run} was not told to anybody");
    }
    assert!(again.keys().all(|run| own_runs.contains_key(run)), "what was released stays away");
    cloud.most = u128::MAX;
    let heard = cloud.heard;
    device.meet(&mut cloud);
    assert_eq!(cloud.runs, own_runs);
    assert!(cloud.heard - heard >= 21);
    let heard = cloud.heard;
    device.meet(&mut cloud);
    assert_eq!(cloud.heard, heard, "all of it is told");

    // Once the cloud has it, it takes no room in the journal.
    for run in 2_000..2_100 {
        device.submit(run, 1);
        device.meet(&mut cloud);
        device.checkpoint.fold().unwrap();
    }
    let bytes = device.checkpoint.journal_bytes();
    assert!(bytes < 160 << 10, "{bytes} bytes");
}

#[test]
fn what_an_agent_without_a_cloud_keeps_is_bounded() {
    let (disk, source) = (SimDisk::new(), MemorySource::new());
    let mut device = Device::start(&disk, &source, 1);
    device.node.set_own_policy(OwnPolicy {
        tells: false,
        keep: 1_000,
        keep_bytes: 30 << 10,
        ..OwnPolicy::default()
    });
    for run in 1..=300 {
        device.submit(run, 1);
        device.checkpoint.fold().unwrap();
        let bytes = device.checkpoint.journal_bytes();
        assert!(bytes < 250 << 10, "{bytes} bytes after run {run}");
    }
    let kept = device.own();
    assert!((10..100).contains(&kept.len()), "{}", kept.len());
    drop(device);
    disk.crash(3);
    source.quarantine("lost").unwrap();
    assert_eq!(Device::start(&disk, &source, 2).own(), kept);
}

#[test]
fn what_was_told_to_another_store_of_the_cloud_is_told_again_over_starts_and_folding() {
    let (disk, source) = (SimDisk::new(), MemorySource::new());
    let mut device = Device::start(&disk, &source, 1);
    let mut cloud = Cloud {
        most: u128::MAX,
        ..Cloud::default()
    };
    device.node.set_cloud_store(7);
    for run in 1..=4 {
        device.submit(run, 1);
    }
    device.meet(&mut cloud);
    device.checkpoint.fold().unwrap();
    assert_eq!(cloud.runs.len(), 4);

    // It was put back from a back-up, and the link breaks when half is told.
    let mut cloud = Cloud {
        most: 2,
        ..Cloud::default()
    };
    device.node.set_cloud_store(8);
    device.meet(&mut cloud);
    for (start, folds) in [(2, true), (3, false), (4, true)] {
        if folds {
            device.checkpoint.fold().unwrap();
        }
        drop(device);
        disk.crash(start);
        device = Device::start(&disk, &source, start);
        let told = device.node.own_runs().filter(|(_, own)| own.is_told()).map(|(run, _)| run);
        assert_eq!(told.collect::<Vec<_>>(), [RunId(1), RunId(2)], "start {start}");
    }
    let heard = cloud.heard;
    cloud.most = u128::MAX;
    assert!(!device.node.set_cloud_store(8));
    device.meet(&mut cloud);
    assert_eq!(cloud.runs, device.own());
    assert_eq!(cloud.heard, heard + 2, "what it had is not told again");
}

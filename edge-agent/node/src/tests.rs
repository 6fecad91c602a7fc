//! What the link does to the fragments of an agent: pauses, new epochs, fragments taken away.

use crate::{Command, Config, Node, Record, Recovered};
use eyot_model::{
    AttemptId, Capacity, ComponentRef, Digest, Epoch, Event, FailureKind, FragmentId, Inputs, Millis, OnDisconnect, Outcome, Outputs,
    Position, RetryPolicy, RunId, State, Task, TaskIx, Timestamp, Usage, Value, Workflow,
};
use eyot_wire::{Assignment, FragmentStanding, ReportItem, ToAgent, ToCloud};
use std::sync::Arc;

const RUN: RunId = RunId(1);
const FIRST: FragmentId = FragmentId(0);

fn at(seconds: u64) -> Timestamp {
    Timestamp(seconds * 1_000_000)
}

fn config() -> Config {
    Config {
        capacity: Capacity {
            cpu_millis: 8_000,
            memory_bytes: 8 << 30,
            disk_bytes: 1 << 40,
            gpus: 0,
        },
    }
}

/// Two tasks in a row; the agent pauses after ten seconds, or never.
fn assignment(epoch: u64, pauses: bool, idempotent: bool, facts: Vec<Event>) -> Box<Assignment> {
    let task = |ix: u32| Task {
        needs: ix.checked_sub(1).map(TaskIx).into_iter().collect(),
        retry: RetryPolicy {
            max_attempts: 1,
            ..RetryPolicy::default()
        },
        idempotent,
        ..Task::new(
            format!("t{ix}"),
            ComponentRef {
                name: "x".into(),
                digest: Some(Digest::of(b"x")),
                size: 1,
            },
        )
    };
    let workflow = Workflow {
        on_disconnect: OnDisconnect {
            pause_after: pauses.then_some(Millis::from_secs(10)),
            reassign_after: None,
            accept_late: false,
        },
        ..Workflow::new("n", "w", "1", (0..2).map(task).collect())
    };
    Box::new(Assignment {
        run: RUN,
        fragment: FIRST,
        epoch: Epoch(epoch),
        workflow: Arc::new(workflow),
        inputs: Arc::new(Inputs::new()),
        tasks: vec![TaskIx(0), TaskIx(1)],
        awaits: Vec::new(),
        facts,
        created_at: at(0),
        saved: Vec::new(),
    })
}

/// A node whose journal is always synced, and what it wanted.
struct Device {
    node: Node,
    journal: Vec<(Position, Record)>,
    started: Vec<AttemptId>,
    stopped: Vec<AttemptId>,
    reported: Vec<ReportItem>,
}

impl Device {
    fn new(pauses: bool, idempotent: bool) -> Self {
        let mut device = Self {
            node: Node::new(config(), 1),
            journal: Vec::new(),
            started: Vec::new(),
            stopped: Vec::new(),
            reported: Vec::new(),
        };
        device.links_up(0, vec![]);
        device.hears(ToAgent::Assign(assignment(1, pauses, idempotent, vec![])), 0);
        device
    }

    fn drain(&mut self) {
        loop {
            let mut appended = None;
            while let Some(command) = self.node.poll_command() {
                match command {
                    Command::Append { position, record } => {
                        self.journal.push((position, record));
                        appended = Some(position);
                    }
                    Command::Start { start, .. } => self.started.push(start.id),
                    Command::Stop { id } => self.stopped.push(id),
                    Command::Send(ToCloud::Report(report)) => {
                        let message = ToCloud::Report(report.clone());
                        assert!(eyot_wire::encode(&message).is_ok(), "a message that cannot be sent");
                        self.reported.extend(report.items);
                    }
                    _ => {}
                }
            }
            match appended {
                Some(position) => self.node.journal_synced(position),
                None => return,
            }
        }
    }

    fn links_up(&mut self, seconds: u64, standings: Vec<FragmentStanding>) {
        self.node.link_up(at(seconds));
        self.hears(ToAgent::Reconciled(standings), seconds);
    }

    fn hears(&mut self, message: ToAgent, seconds: u64) {
        self.node.handle_message(message, at(seconds));
        self.drain();
    }

    fn time(&mut self, seconds: u64) {
        self.node.handle_timeout(at(seconds));
        self.drain();
    }

    fn ends(&mut self, id: AttemptId, outcome: Outcome, seconds: u64) {
        self.node.attempt_ended(&id, outcome, Usage::default(), at(seconds));
        self.drain();
    }

    fn restarts(&mut self, seconds: u64) {
        let records = self.journal.clone();
        let last = records.last().map(|(position, _)| *position).unwrap();
        let (node, recovery) = Node::recover(
            config(),
            Recovered {
                records,
                last,
                synced: last,
            },
            at(seconds),
        );
        assert!(recovery.lost.is_empty());
        self.node = node;
        self.started.clear();
        self.drain();
    }

    fn state(&self, task: usize) -> State {
        self.node.run(RUN).unwrap().tasks()[task].own.state
    }
}

fn keep(epoch: u64) -> FragmentStanding {
    FragmentStanding::Keep {
        run: RUN,
        fragment: FIRST,
        epoch: Epoch(epoch),
    }
}

fn done() -> Outcome {
    Outcome::Succeeded(Outputs::from([("n".to_owned(), Value::Int(1))]))
}

#[test]
fn the_lease_runs_from_the_send_of_the_last_acknowledged_heart_beat() {
    let mut device = Device::new(true, true);
    device.node.acknowledged(at(5), at(7));
    assert_eq!(device.node.poll_timeout(), Some(at(15)));
    device.time(14);
    assert!(device.stopped.is_empty());
    device.time(15);
    assert_eq!(device.stopped, device.started);
    let id = device.started[0];
    device.ends(id, Outcome::Cancelled, 16);
    assert_eq!(
        device.state(0),
        State::Queued,
        "it gave its place back, and the one attempt that it has is not used up"
    );
    assert_eq!(
        (device.started.len(), device.node.poll_timeout()),
        (1, None),
        "nothing is begun, nothing is due"
    );
    device.node.acknowledged(at(17), at(18));
    device.drain();
    assert_eq!(device.started.len(), 2, "a fresh heart-beat on the same link resumes it");
    let again = device.started[1];
    assert_eq!(again.attempt, 2);
    device.ends(again, done(), 19);
    assert_eq!((device.state(0), device.started.len()), (State::Succeeded, 3));
}

#[test]
fn a_clock_that_was_set_back_does_not_make_a_lease_longer() {
    let mut device = Device::new(true, true);
    // It was heard of far in the future, and the clock was set right while there was no link.
    device.node.acknowledged(at(1_000_000), at(1_000_000));
    device.node.link_down(at(10));
    device.links_up(20, vec![keep(1)]);
    assert_eq!(device.node.poll_timeout(), Some(at(30)));
    device.time(30);
    assert_eq!(device.stopped, device.started);
}

#[test]
fn heart_beats_before_the_inventory_is_answered_resume_nothing() {
    let mut device = Device::new(true, true);
    device.node.link_down(at(0));
    device.time(10);
    assert_eq!(device.stopped.len(), 1);
    let id = device.started[0];
    device.ends(id, Outcome::Cancelled, 11);
    device.node.link_up(at(20));
    device.node.acknowledged(at(20), at(21));
    device.drain();
    assert_eq!(device.started.len(), 1);
    device.hears(ToAgent::Reconciled(vec![keep(1)]), 22);
    assert_eq!(device.started.len(), 2);
    assert_eq!(device.node.poll_timeout(), Some(at(30)), "the lease runs from the inventory");
}

#[test]
fn without_that_policy_the_agent_goes_on() {
    let mut device = Device::new(false, true);
    device.node.link_down(at(0));
    device.time(1_000_000);
    assert!(device.stopped.is_empty());
    device.restarts(1_000_001);
    assert!(device.state(0) != State::Queued, "it takes up what it had");
}

#[test]
fn after_a_restart_a_fragment_with_a_lease_waits_for_the_cloud() {
    let mut device = Device::new(true, true);
    let id = device.started[0];
    device.ends(id, done(), 1);
    device.restarts(2);
    assert!(device.started.is_empty(), "its second task may be another agent's by now");
    assert!(device.node.is_paused(RUN));
    device.links_up(3, vec![keep(1)]);
    assert!(!device.node.is_paused(RUN));
}

#[test]
fn what_must_not_be_begun_twice_ends_with_an_unknown_outcome() {
    for (outcome, unknown) in [(Outcome::Cancelled, true), (done(), false)] {
        let mut device = Device::new(true, false);
        device.node.link_down(at(0));
        device.time(10);
        assert_eq!(device.stopped, device.started);
        let id = device.started[0];
        device.ends(id, outcome, 11);
        let failure = device.node.run(RUN).unwrap().tasks()[0].own.failure.clone();
        assert_eq!(failure.map(|f| f.kind) == Some(FailureKind::OutcomeUnknown), unknown);
        assert_eq!(device.started.len(), 1);
    }
}

#[test]
fn what_was_not_reported_is_reported_under_the_new_epoch() {
    for restart in [false, true] {
        let mut device = Device::new(false, true);
        device.node.link_down(at(0));
        let id = device.started[0];
        device.ends(id, done(), 1);
        device.reported.clear();
        device.node.link_up(at(2));
        device.hears(ToAgent::Assign(assignment(3, false, true, vec![])), 2);
        if restart {
            device.restarts(3);
            device.node.link_up(at(4));
        }
        device.hears(ToAgent::Reconciled(vec![keep(3)]), 5);
        let ends: Vec<&ReportItem> = device.reported.iter().filter(|i| matches!(i.event, Event::Ended { .. })).collect();
        assert!(!ends.is_empty() && device.reported.iter().all(|item| item.epoch == Epoch(3)));
        let second = device.node.run(RUN).unwrap().tasks()[1].own.attempts;
        assert!(second >= 1, "the second task goes on");
    }
}

#[test]
fn large_results_fit_into_messages_after_a_restart_too() {
    let mut device = Device::new(false, true);
    device.node.link_down(at(0));
    let large = || Outcome::Succeeded(Outputs::from([("n".to_owned(), Value::Bytes(vec![7; 9 << 20]))]));
    device.ends(device.started[0], large(), 1);
    device.ends(device.started[1], large(), 2);
    device.restarts(3);
    device.reported.clear();
    device.links_up(4, vec![keep(1)]);
    let ends = device.reported.iter().filter(|item| matches!(item.event, Event::Ended { .. }));
    assert_eq!(ends.count(), 2);
}

#[test]
fn facts_that_the_journal_lost_are_taken_from_the_cloud() {
    let mut device = Device::new(false, true);
    let id = device.started[0];
    let lost = Event::Ended {
        path: id.path,
        attempt: 1,
        epoch: Epoch(1),
        at: at(1),
        outcome: done(),
        usage: Usage::default(),
        retry_at: None,
    };
    device.links_up(2, vec![]);
    device.hears(ToAgent::Assign(assignment(2, false, true, vec![lost])), 2);
    assert_eq!((device.state(0), device.state(1)), (State::Succeeded, State::Running));
    device.ends(id, Outcome::Cancelled, 3);
    assert_eq!(device.state(0), State::Succeeded, "its own attempt comes too late");
}

#[test]
fn results_of_a_fragment_that_was_taken_away_are_told_under_its_old_epoch() {
    let mut device = Device::new(false, true);
    device.node.link_down(at(0));
    let id = device.started[0];
    device.ends(id, done(), 1);
    device.reported.clear();
    device.links_up(
        2,
        vec![FragmentStanding::Superseded {
            run: RUN,
            fragment: FIRST,
            epoch: Epoch(1),
        }],
    );
    assert!(device.node.run(RUN).is_none());
    assert!(device.reported.iter().any(|item| matches!(item.event, Event::Ended { .. })));
    assert!(device.reported.iter().all(|item| item.epoch == Epoch(1)));
    let through = device.journal.last().unwrap().0;
    device.hears(ToAgent::Committed { through }, 3);
    assert!(!device.node.has_unreported());
}

#[test]
fn an_agent_that_is_taken_for_a_copy_stops_what_it_has() {
    let mut device = Device::new(false, true);
    device.node.link_down(at(0));
    device.node.turned_away(at(1));
    device.drain();
    assert_eq!(device.stopped, device.started);
}

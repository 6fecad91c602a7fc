//! Saved states, and fragments that come to rest, as the journal and the cloud see them.

use crate::{Command, Config, Node, Record, Recovered};
use eyot_model::{
    AttemptId, BlobForm, BlobRef, Capacity, ComponentRef, Digest, Epoch, Event, Expr, FragmentId, Inputs, Outcome, Outputs, Position,
    RunId, State, Task, TaskIx, Template, Timestamp, Usage, Value, Workflow,
};
use eyot_wire::{Assignment, FragmentStanding, SavedBody, SavedState, ToAgent, ToCloud};
use std::sync::Arc;

pub(crate) const RUN: RunId = RunId(1);
pub(crate) const ALL: FragmentId = FragmentId(0);
pub(crate) const NOW: Timestamp = Timestamp(1_000_000);

pub(crate) fn config() -> Config {
    Config {
        capacity: Capacity {
            cpu_millis: 8_000,
            memory_bytes: 8 << 30,
            disk_bytes: 1 << 40,
            gpus: 0,
        },
    }
}

fn blob() -> BlobRef {
    BlobRef {
        digest: Digest::of(b"file"),
        size: 4,
        form: BlobForm::Raw,
    }
}

pub(crate) fn assignment(epoch: u64, idempotent: bool, facts: Vec<Event>, saved: Vec<SavedState>) -> Box<Assignment> {
    let task = |ix: u32| Task {
        needs: ix.checked_sub(1).map(TaskIx).into_iter().collect(),
        with: (ix > 0)
            .then(|| {
                let source = "tasks.t0.outputs.file".to_owned();
                ("file".to_owned(), Template::Expr(Expr { source }))
            })
            .into_iter()
            .collect(),
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
    let workflow = Workflow::new("n", "w", "1", (0..2).map(task).collect());
    Box::new(Assignment {
        run: RUN,
        fragment: ALL,
        epoch: Epoch(epoch),
        workflow: Arc::new(workflow),
        inputs: Arc::new(Inputs::new()),
        tasks: vec![TaskIx(0), TaskIx(1)],
        awaits: Vec::new(),
        facts,
        created_at: Timestamp(0),
        saved,
    })
}

/// A node over a journal that is always synced.
pub(crate) struct Device {
    pub(crate) node: Node,
    pub(crate) journal: Vec<(Position, Record)>,
    pub(crate) started: Vec<AttemptId>,
    pub(crate) stopped: Vec<AttemptId>,
    pub(crate) uploads: Vec<Digest>,
    pub(crate) sent: Vec<ToCloud>,
}

impl Device {
    pub(crate) fn new(idempotent: bool) -> Self {
        let mut device = Self::over(Node::new(config(), 1), Vec::new());
        device.link(vec![]);
        device.hear(ToAgent::Assign(assignment(1, idempotent, vec![], vec![])));
        device
    }

    pub(crate) fn over(node: Node, journal: Vec<(Position, Record)>) -> Self {
        Self {
            node,
            journal,
            started: Vec::new(),
            stopped: Vec::new(),
            uploads: Vec::new(),
            sent: Vec::new(),
        }
    }

    pub(crate) fn drain(&mut self) {
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
                    Command::Upload(blob) => self.uploads.push(blob.digest),
                    Command::Send(message) => self.sent.push(message),
                    _ => {}
                }
            }
            match appended {
                Some(position) => self.node.journal_synced(position),
                None => return,
            }
        }
    }

    pub(crate) fn link(&mut self, standings: Vec<FragmentStanding>) {
        self.node.link_up(NOW);
        self.hear(ToAgent::Reconciled(standings));
    }

    pub(crate) fn hear(&mut self, message: ToAgent) {
        self.node.handle_message(message, NOW);
        self.drain();
    }

    pub(crate) fn end(&mut self, id: AttemptId, outcome: Outcome) {
        self.node.attempt_ended(&id, outcome, Usage::default(), NOW);
        self.drain();
    }

    pub(crate) fn save(&mut self, id: &AttemptId, bytes: &[u8]) -> bool {
        let body = SavedBody::Inline(bytes.to_vec());
        let saved = self.node.save(id, Digest::of(b"x"), Digest::of(b"i"), body).is_some();
        self.drain();
        saved
    }

    pub(crate) fn loads(&self, id: &AttemptId) -> Vec<SavedBody> {
        self.node.saved_for(RUN, id.path, Digest::of(b"x"), Digest::of(b"i"))
    }

    pub(crate) fn yields(&mut self) {
        self.hear(ToAgent::Yield {
            run: RUN,
            fragment: ALL,
            epoch: Epoch(1),
        });
    }

    pub(crate) fn yielded(&self) -> bool {
        self.sent.iter().any(|message| matches!(message, ToCloud::Yielded { .. }))
    }

    pub(crate) fn state(&self, task: u32) -> State {
        self.node.run(RUN).expect("it is held").tasks()[task as usize].own.state
    }

    pub(crate) fn crash(self) -> Self {
        let last = self.journal.last().map(|(position, _)| *position).unwrap_or_default();
        let records = self.journal.clone();
        let (node, recovery) = Node::recover(
            config(),
            Recovered {
                records,
                last,
                synced: last,
            },
            NOW,
        );
        assert!(recovery.lost.is_empty());
        let mut device = Self::over(node, self.journal);
        device.drain();
        device
    }
}

fn inline(bytes: &[u8]) -> SavedBody {
    SavedBody::Inline(bytes.to_vec())
}

fn good() -> Outcome {
    Outcome::Succeeded(Outputs::from([("file".to_owned(), Value::Blob(blob()))]))
}

#[test]
fn the_two_latest_states_are_there_after_a_crash_and_go_with_their_instance() {
    let mut device = Device::new(true);
    let id = device.started[0];
    for n in 1..=3 {
        assert!(device.save(&id, &[n]));
    }
    let device = device.crash();
    assert_eq!(device.loads(&id), [inline(&[3]), inline(&[2])]);
    let other = device
        .node
        .saved_for(RUN, id.path, Digest::of(b"another version"), Digest::of(b"i"));
    assert!(other.is_empty(), "another component never takes it up");

    let mut device = Device::new(true);
    let id = device.started[0];
    device.save(&id, &[1]);
    device.end(id, good());
    assert!(device.loads(&id).is_empty());
    assert!(device.journal.iter().any(|(_, record)| matches!(record, Record::Unsaved { .. })));
    assert!(!device.save(&id, &[2]), "an attempt that has ended saves nothing");
    assert!(device.crash().loads(&id).is_empty());
}

#[test]
fn only_the_latest_state_goes_up_and_again_over_a_new_link() {
    let mut device = Device::new(true);
    let id = device.started[0];
    let next = |device: &mut Device| match device.node.next_saved() {
        Some(ToCloud::Saved { state, .. }) => Some(state.body),
        _ => None,
    };
    assert_eq!(next(&mut device), None);
    device.save(&id, &[1]);
    device.save(&id, &[2]);
    assert_eq!(next(&mut device), Some(inline(&[2])));
    assert_eq!(next(&mut device), None);
    device.node.link_down(NOW);
    device.save(&id, &[3]);
    assert_eq!(next(&mut device), None, "there is no link");
    device.link(vec![]);
    assert_eq!(next(&mut device), Some(inline(&[3])));
}

#[test]
fn a_fragment_comes_to_rest_with_what_others_need_in_the_cloud() {
    let mut device = Device::new(true);
    device.end(device.started[0], good());
    let second = device.started[1];
    device.save(&second, &[7]);
    assert!(device.uploads.is_empty(), "only this agent needs the file so far");
    device.yields();
    assert_eq!(device.stopped, [second]);
    assert!(!device.yielded());
    device.end(second, Outcome::Cancelled);
    assert_eq!(device.state(1), State::Queued);
    assert_eq!(device.uploads, [blob().digest]);
    assert!(!device.yielded(), "the file is not there yet");
    device.node.uploaded(blob().digest);
    device.drain();
    let order: Vec<&str> = device
        .sent
        .iter()
        .filter_map(|message| match message {
            ToCloud::Report(_) => Some("report"),
            ToCloud::Saved { .. } => Some("saved"),
            ToCloud::Yielded { .. } => Some("yielded"),
            _ => None,
        })
        .collect();
    assert!(order.ends_with(&["saved", "yielded"]) && order.contains(&"report"), "{order:?}");
    assert_eq!(device.started.len(), 2, "nothing begins while it is at rest");
    device.hear(ToAgent::Superseded {
        run: RUN,
        fragment: ALL,
        epoch: Epoch(1),
    });
    assert!(device.node.run(RUN).is_none());
}

#[test]
fn what_must_not_be_repeated_ends_before_the_fragment_rests() {
    let mut device = Device::new(false);
    let first = device.started[0];
    device.yields();
    assert!(device.stopped.is_empty() && !device.yielded());
    device.end(first, good());
    device.node.uploaded(blob().digest);
    device.drain();
    assert!(device.yielded());
    assert_eq!(
        (device.state(0), device.state(1)),
        (State::Succeeded, State::Pending),
        "what comes next is for its new owner to decide"
    );
}

#[test]
fn before_it_was_told_a_lost_link_calls_the_move_off_and_after_it_only_the_cloud_does() {
    let mut device = Device::new(true);
    device.yields();
    device.node.link_down(NOW);
    device.drain();
    device.end(device.started[0], Outcome::Cancelled);
    assert_eq!(device.started.len(), 2, "it goes on");

    let mut device = Device::new(true);
    device.yields();
    device.end(device.started[0], Outcome::Cancelled);
    assert!(device.yielded());
    device.node.link_down(NOW);
    device.drain();
    assert_eq!(device.started.len(), 1, "another agent may have it");
    let mut device = device.crash();
    assert!(device.started.is_empty(), "over a restart too");
    device.link(vec![FragmentStanding::Keep {
        run: RUN,
        fragment: ALL,
        epoch: Epoch(1),
    }]);
    assert_eq!(device.started.len(), 1, "it was not given away after all");
    let device = device.crash();
    assert_eq!(device.node.run(RUN).map(|run| run.tasks()[0].own.attempts), Some(2));
}

#[test]
fn what_another_agent_saved_is_taken_up_here() {
    let mut device = Device::over(Node::new(config(), 1), Vec::new());
    device.link(vec![]);
    let path = eyot_model::Path::task(TaskIx(0));
    let state = SavedState {
        path,
        epoch: Epoch(1),
        serial: 9,
        component: Digest::of(b"x"),
        inputs: Digest::of(b"i"),
        body: inline(&[42]),
    };
    device.hear(ToAgent::Assign(assignment(2, true, vec![], vec![state])));
    let id = device.started[0];
    assert_eq!(device.loads(&id), [inline(&[42])]);
    assert!(device.node.next_saved().is_none(), "it came from there");
    device.save(&id, &[43]);
    let device = device.crash();
    assert_eq!(device.loads(&id), [inline(&[43]), inline(&[42])]);
}

#[test]
fn an_agent_that_is_stopped_in_order_begins_where_it_was_without_an_attempt() {
    let mut device = Device::new(true);
    let id = device.started[0];
    device.node.shut_down(NOW);
    device.drain();
    assert_eq!(device.stopped, [id]);
    device.end(id, Outcome::Cancelled);
    assert!(!device.node.is_at_work());
    let device = device.crash();
    assert_eq!(device.started.len(), 1);
    let run = device.node.run(RUN).expect("it is held");
    assert_eq!(run.tasks()[0].own.tries(), 1);
}

#[test]
fn what_an_operator_has_tried_again_begins_again() {
    let mut device = Device::new(false).crash();
    device.link(vec![]);
    assert_eq!(device.state(0), State::Waiting);
    device.hear(ToAgent::Resolve {
        run: RUN,
        path: eyot_model::Path::task(TaskIx(0)),
        attempt: 1,
        resolution: eyot_model::Resolution::Retry,
        by: "somebody".into(),
    });
    assert_eq!(device.started.len(), 1);
    let id = device.started[0];
    assert_eq!(id.attempt, 2);
    device.end(id, good());
    assert_eq!(device.state(0), State::Succeeded);
    assert!(device.sent.iter().any(|message| matches!(message, ToCloud::Report(_))));
}

const SECOND: FragmentId = FragmentId(1);

/// A device that holds the two tasks in fragments of their own; the second one reads what the first one gives.
fn two_fragments() -> Device {
    let mut device = Device::over(Node::new(config(), 1), Vec::new());
    device.link(vec![]);
    for (fragment, task) in [(ALL, 0), (SECOND, 1)] {
        let mut part = assignment(1, true, vec![], vec![]);
        (part.fragment, part.tasks) = (fragment, vec![TaskIx(task)]);
        part.awaits = (task > 0).then_some(TaskIx(0)).into_iter().collect();
        device.hear(ToAgent::Assign(part));
    }
    device
}

fn yield_second(device: &mut Device) {
    let (run, fragment, epoch) = (RUN, SECOND, Epoch(1));
    device.hear(ToAgent::Yield { run, fragment, epoch });
}

fn told_end(device: &Device) -> bool {
    let ends = |item: &eyot_wire::ReportItem| {
        matches!(
            item.event,
            Event::Ended {
                outcome: Outcome::Succeeded(_),
                ..
            }
        )
    };
    let told = |message: &ToCloud| matches!(message, ToCloud::Report(report) if report.items.iter().any(ends));
    device.sent.iter().any(told)
}

#[test]
fn what_a_fragment_on_its_way_reads_of_another_one_here_is_in_the_cloud_before_it_is_told() {
    // Before it comes to rest.
    let mut device = two_fragments();
    device.end(device.started[0], good());
    assert!(
        told_end(&device) && device.uploads.is_empty(),
        "only this agent needs the file so far"
    );
    device.end(
        device.started[1],
        Outcome::Failed(eyot_model::Failure::new(eyot_model::FailureKind::Retryable, "busy")),
    );
    yield_second(&mut device);
    assert!(device.uploads == [blob().digest] && !device.yielded());
    device.node.uploaded(blob().digest);
    device.drain();
    assert!(device.yielded());

    // While it is at rest, over a restart too.
    for restart in [false, true] {
        let mut device = two_fragments();
        yield_second(&mut device);
        assert!(device.yielded());
        if restart {
            device = device.crash();
            device.link(vec![]);
            device.node.handle_timeout(Timestamp(NOW.0 + 3_600_000_000));
            device.drain();
        }
        device.end(device.started[0], good());
        assert_eq!(device.uploads, [blob().digest]);
        assert!(!told_end(&device), "the file is not there yet");
        device.node.uploaded(blob().digest);
        device.drain();
        assert!(told_end(&device));
    }

    // Where the device hears only afterwards that it was taken away.
    let mut device = two_fragments();
    device.node.link_down(NOW);
    device.end(device.started[0], good());
    let (run, epoch) = (RUN, Epoch(1));
    let (kept, fragment) = (ALL, SECOND);
    device.link(vec![
        FragmentStanding::Superseded { run, fragment, epoch },
        FragmentStanding::Keep {
            run,
            fragment: kept,
            epoch,
        },
    ]);
    assert!(device.uploads == [blob().digest] && !told_end(&device));
}

#[test]
fn a_file_that_is_lost_does_not_hold_a_move_up() {
    let mut device = Device::new(true);
    device.end(device.started[0], good());
    device.yields();
    device.end(device.started[1], Outcome::Cancelled);
    assert!(!device.yielded());
    device.node.blob_lost(blob().digest);
    device.drain();
    assert!(device.yielded(), "the cloud sees what it does not have");
}

#[test]
fn nothing_is_decided_about_a_fragment_at_rest() {
    let broken = || Outcome::Failed(eyot_model::Failure::new(eyot_model::FailureKind::Permanent, "no"));
    let mut device = two_fragments();
    yield_second(&mut device);
    device.end(device.started[0], broken());
    assert_eq!(device.state(1), State::Pending);
    let mut device = device.crash();
    device.link(vec![]);
    assert_eq!(device.state(1), State::Pending, "over a restart too");
    let (run, fragment, epoch) = (RUN, SECOND, Epoch(1));
    device.hear(ToAgent::GoOn { run, fragment, epoch });
    assert_eq!(device.state(1), State::UpstreamFailed, "it stays, so it is due now");
}

#[test]
fn a_fragment_at_rest_that_is_given_to_its_agent_again_goes_on() {
    let mut device = Device::new(true);
    device.yields();
    device.end(device.started[0], Outcome::Cancelled);
    assert!(device.yielded() && device.started.len() == 1);
    device.hear(ToAgent::Assign(assignment(2, true, vec![], vec![])));
    assert_eq!(device.started.len(), 2);
    assert_eq!(device.started[1].epoch, Epoch(2));
}

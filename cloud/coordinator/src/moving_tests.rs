//! Fragments that move on purpose, and what has to be made again because only a lost device held it.

use crate::{Change, Command, Coordinator, Submission};
use eyot_model::{
    AgentId, BlobForm, BlobRef, ComponentRef, Digest, Epoch, Event, Expr, FailureKind, Fragment, FragmentId, Inputs, LinkState, Millis,
    OnDisconnect, Outcome, Outputs, Path, Plan, Position, Resolution, RunId, State, Task, TaskIx, Template, Timestamp, Usage, Value,
    Workflow,
};
use eyot_wire::{Report, ReportItem, SavedBody, SavedState, ToAgent};
use std::collections::BTreeSet;
use std::sync::Arc;

mod lost;

const RUN: RunId = RunId(1);
const A: AgentId = AgentId(10);
const B: AgentId = AgentId(11);
const ALL: FragmentId = FragmentId(0);
const SECOND: FragmentId = FragmentId(1);

fn blob(task: u32) -> BlobRef {
    BlobRef {
        digest: Digest::of(&task.to_le_bytes()),
        size: 4,
        form: BlobForm::Raw,
    }
}

/// A chain in which each task reads what the one before gave: a blob.
fn chain(on_disconnect: OnDisconnect, idempotent: [bool; 3]) -> Arc<Workflow> {
    let task = |ix: u32| {
        let source = format!("tasks.t{}.outputs.file", ix.wrapping_sub(1));
        Task {
            needs: ix.checked_sub(1).map(TaskIx).into_iter().collect(),
            with: (ix > 0)
                .then(|| ("file".to_owned(), Template::Expr(Expr { source })))
                .into_iter()
                .collect(),
            idempotent: idempotent[ix as usize],
            ..Task::new(
                format!("t{ix}"),
                ComponentRef {
                    name: "x".into(),
                    digest: Some(Digest::of(b"x")),
                    size: 1,
                },
            )
        }
    };
    Arc::new(Workflow {
        on_disconnect,
        ..Workflow::new("n", "w", "1", (0..3).map(task).collect())
    })
}

struct Cloud {
    coordinator: Coordinator,
    stored: Vec<Change>,
    sent: Vec<(AgentId, ToAgent)>,
    asked: usize,
}

fn submission(on_disconnect: OnDisconnect, idempotent: [bool; 3]) -> Submission {
    Submission {
        run: RUN,
        workflow: chain(on_disconnect, idempotent),
        inputs: Arc::new(Inputs::new()),
        created_at: Timestamp(0),
    }
}

/// Both agents are there, and nothing else.
fn empty_cloud() -> Cloud {
    let mut cloud = Cloud {
        coordinator: Coordinator::new(),
        stored: Vec::new(),
        sent: Vec::new(),
        asked: 0,
    };
    for agent in [A, B] {
        cloud.coordinator.link_changed(agent, LinkState::Connected, Timestamp(0));
    }
    cloud
}

/// `ended` tasks of the chain have ended on A, which holds all of it.
fn cloud(idempotent: [bool; 3], ended: u32) -> Cloud {
    cloud_under(OnDisconnect::default(), idempotent, ended)
}

fn cloud_under(on_disconnect: OnDisconnect, idempotent: [bool; 3], ended: u32) -> Cloud {
    let mut cloud = empty_cloud();
    cloud.start(submission(on_disconnect, idempotent), &[(ALL, 0..3)]);
    for task in 0..ended {
        cloud.reports(A, 1, task, 0);
    }
    cloud
}

impl Cloud {
    fn start(&mut self, submission: Submission, fragments: &[(FragmentId, std::ops::Range<u32>)]) {
        self.coordinator.submit(submission, Timestamp(0)).expect("it compiles");
        let fragment = |(id, tasks): &(FragmentId, std::ops::Range<u32>)| Fragment {
            id: *id,
            agent: A,
            tasks: tasks.clone().map(TaskIx).collect(),
            start: Millis(0),
            finish: Millis(0),
            transfers: Vec::new(),
        };
        let plan = Plan {
            fragments: fragments.iter().map(fragment).collect(),
            ..Plan::default()
        };
        self.coordinator.planned(RUN, plan, Timestamp(0));
        self.drain();
    }

    fn drain(&mut self) {
        while let Some(command) = self.coordinator.poll_command() {
            match command {
                Command::Commit(change) => self.stored.push(change),
                Command::Send { agent, message } => self.sent.push((agent, *message)),
                Command::Replan { .. } => self.asked += 1,
                Command::Plan { .. } | Command::Ended { .. } | Command::Alarm { .. } => {}
            }
        }
    }

    /// A task has succeeded with a blob.
    fn reports(&mut self, agent: AgentId, epoch: u64, task: u32, generation: u32) {
        let event = Event::Ended {
            path: Path::task(TaskIx(task)).of_generation(generation),
            attempt: 1,
            epoch: Epoch(epoch),
            at: Timestamp(1),
            outcome: Outcome::Succeeded(Outputs::from([("file".to_owned(), Value::Blob(blob(task)))])),
            usage: Usage::default(),
            retry_at: None,
        };
        let item = ReportItem {
            position: Position { generation: 1, n: 1 },
            run: RUN,
            fragment: ALL,
            epoch: Epoch(epoch),
            event,
        };
        self.coordinator.reported(agent, Report { items: vec![item] }, Timestamp(1));
        self.drain();
    }

    fn found(&mut self, found: Result<AgentId, String>) {
        self.coordinator.replanned(RUN, ALL, found, Timestamp(2));
        self.drain();
    }

    fn yields(&mut self, missing: &[u32]) {
        let missing = missing.iter().map(|task| blob(*task).digest).collect();
        self.coordinator.yielded(A, RUN, ALL, Epoch(1), &missing, Timestamp(2));
        self.drain();
    }

    fn owner(&self) -> (Option<AgentId>, u64) {
        let owned = &self.coordinator.entry(RUN).expect("it goes on").fragments[&ALL];
        (owned.agent, owned.epoch.0)
    }

    fn task(&self, task: u32) -> (State, u32) {
        let entry = &self.coordinator.entry(RUN).expect("it goes on").run.tasks()[task as usize];
        (entry.own.state, entry.generation)
    }

    fn told(&self, agent: AgentId, wanted: impl Fn(&ToAgent) -> bool) -> bool {
        self.sent.iter().any(|(to, message)| *to == agent && wanted(message))
    }
}

fn state(epoch: u64, serial: u64, body: SavedBody) -> SavedState {
    SavedState {
        path: Path::task(TaskIx(1)),
        epoch: Epoch(epoch),
        serial,
        component: Digest::of(b"x"),
        inputs: Digest::of(b"i"),
        body,
    }
}

#[test]
fn a_fragment_moves_once_its_owner_has_it_at_rest() {
    let mut cloud = cloud([true; 3], 1);
    cloud.coordinator.move_all(A);
    cloud.drain();
    assert_eq!(cloud.asked, 1);
    cloud.found(Ok(B));
    assert!(cloud.told(A, |m| matches!(m, ToAgent::Yield { epoch: Epoch(1), .. })));
    assert_eq!(cloud.owner(), (Some(A), 1), "it is A's until it is at rest");
    cloud.coordinator.saved(A, RUN, ALL, state(1, 1, SavedBody::Inline(vec![7])));
    cloud.yields(&[]);
    assert_eq!(cloud.owner(), (Some(B), 2));
    let carried = cloud.told(B, |m| matches!(m, ToAgent::Assign(a) if a.saved.len() == 1 && !a.facts.is_empty()));
    assert!(carried, "facts and saved states come with it");
    assert!(cloud.told(A, |m| matches!(m, ToAgent::Superseded { epoch: Epoch(1), .. })));
    assert!(cloud.coordinator.moves_of(A).is_empty());
    for task in 1..3 {
        cloud.reports(B, 2, task, 0);
    }
    assert!(cloud.stored.iter().any(|change| matches!(change, Change::Ended { .. })));
    assert!(
        cloud.stored.iter().any(|change| matches!(change, Change::Unsaved { .. })),
        "states go with their instances"
    );
}

#[test]
fn what_finds_nobody_stays_says_why_and_is_tried_again() {
    let mut cloud = cloud([true; 3], 0);
    cloud.coordinator.move_all(A);
    cloud.drain();
    cloud.found(Err("no agent has a camera".to_owned()));
    let moves = cloud.coordinator.moves_of(A);
    assert_eq!(moves[0].stays.as_deref(), Some("no agent has a camera"));
    assert!(!cloud.told(A, |m| matches!(m, ToAgent::Yield { .. })));
    cloud.coordinator.fleet_changed();
    cloud.drain();
    assert_eq!(cloud.asked, 2);
    cloud.found(Ok(B));
    cloud.yields(&[]);
    assert_eq!(cloud.owner(), (Some(B), 2));
}

#[test]
fn a_move_that_is_called_off_leaves_the_fragment_where_it_is() {
    let mut cloud = cloud([true; 3], 0);
    cloud.coordinator.move_all(A);
    cloud.found(Ok(B));
    cloud.coordinator.call_off_moves(A);
    cloud.drain();
    assert!(cloud.told(A, |m| matches!(m, ToAgent::GoOn { .. })));
    cloud.sent.clear();
    cloud.yields(&[]);
    assert_eq!(cloud.owner(), (Some(A), 1));
    assert!(
        cloud.told(A, |m| matches!(m, ToAgent::GoOn { .. })),
        "it had come to rest meanwhile"
    );
}

#[test]
fn an_agent_that_has_gone_meanwhile_gets_nothing() {
    let mut cloud = cloud([true; 3], 0);
    cloud.coordinator.move_all(A);
    cloud.found(Ok(B));
    cloud.coordinator.link_changed(B, LinkState::Disconnected, Timestamp(3));
    cloud.yields(&[]);
    assert_eq!(cloud.owner(), (Some(A), 1));
    cloud.found(Err("nobody is left".to_owned()));
    assert!(cloud.told(A, |m| matches!(m, ToAgent::GoOn { .. })));
}

#[test]
fn a_move_ends_when_the_fragment_is_taken_away_meanwhile() {
    let mut cloud = cloud([true; 3], 0);
    cloud.coordinator.move_all(A);
    cloud.drain();
    cloud.coordinator.expel(A, "it was revoked", Timestamp(3));
    cloud.found(Ok(B));
    assert_eq!(cloud.owner().0, Some(B));
    // The answer to the question that the move had asked.
    cloud.found(Ok(A));
    assert!(
        !cloud.told(B, |m| matches!(m, ToAgent::Yield { .. })),
        "nobody wants it away from B"
    );
    assert!(cloud.coordinator.moves_of(B).is_empty() || cloud.coordinator.moves_of(B)[0].to.is_none());
}

#[test]
fn what_was_lost_is_made_again_as_far_upstream_as_it_is_lost() {
    for (missing, states) in [
        (vec![1], [(State::Succeeded, 0), (State::Pending, 1)]),
        (vec![0, 1], [(State::Pending, 1), (State::Pending, 1)]),
        // Nobody who has not ended needs it.
        (vec![0], [(State::Succeeded, 0), (State::Succeeded, 0)]),
        (vec![], [(State::Succeeded, 0), (State::Succeeded, 0)]),
    ] {
        let mut cloud = cloud([true; 3], 2);
        cloud.coordinator.move_all(A);
        cloud.found(Ok(B));
        cloud.yields(&missing);
        assert_eq!([cloud.task(0), cloud.task(1)], states, "without {missing:?}");
        let told = |m: &ToAgent| matches!(m, ToAgent::Assign(a) if a.facts.iter().filter(|e| matches!(e, Event::Rewound { .. })).count() == states.iter().filter(|s| s.1 == 1).count());
        assert!(cloud.told(B, told), "the new owner is told");
        for (task, (state, generation)) in (0..).zip(states) {
            if state == State::Pending {
                cloud.reports(B, 2, task, generation);
            }
        }
        cloud.reports(B, 2, 2, 0);
        assert!(cloud.stored.iter().any(|change| matches!(change, Change::Ended { .. })));
    }
}

#[test]
fn what_must_not_be_made_twice_fails_what_needs_it() {
    let mut cloud = cloud([false, true, true], 2);
    cloud.coordinator.move_all(A);
    cloud.found(Ok(B));
    cloud.yields(&[0, 1]);
    let failed = cloud.stored.iter().find_map(|change| match change {
        Change::Event {
            event: Event::Failed { path, failure, .. },
            ..
        } => Some((path.task, failure.kind)),
        _ => None,
    });
    assert_eq!(failed, Some((TaskIx(2), FailureKind::StateLost)));
    assert!(!cloud.stored.iter().any(|change| matches!(
        change,
        Change::Event {
            event: Event::Rewound { .. },
            ..
        }
    )));
}

#[test]
fn a_saved_state_counts_from_the_owner_alone_and_the_latest_wins() {
    let mut cloud = cloud([true; 3], 1);
    let saved = |cloud: &mut Cloud, agent, epoch, serial, bytes: Vec<u8>| {
        let before = cloud.stored.len();
        cloud
            .coordinator
            .saved(agent, RUN, ALL, state(epoch, serial, SavedBody::Inline(bytes)));
        cloud.drain();
        cloud.stored.len() > before
    };
    assert!(saved(&mut cloud, A, 1, 2, vec![2]));
    assert!(!saved(&mut cloud, A, 1, 1, vec![1]), "an older one");
    assert!(!saved(&mut cloud, B, 1, 3, vec![3]), "not its owner");
    assert!(!saved(&mut cloud, A, 0, 9, vec![9]), "an old epoch");
    assert!(!saved(&mut cloud, A, 1, 4, vec![0; 1 << 20]), "over the bound");
    cloud.reports(A, 1, 1, 0);
    assert!(!saved(&mut cloud, A, 1, 5, vec![5]), "the instance has ended");
}

#[test]
fn an_operators_word_goes_to_the_owner_if_something_waits_for_it() {
    let mut cloud = cloud([false, true, true], 0);
    let word = |cloud: &mut Cloud| cloud.coordinator.resolve(RUN, TaskIx(0), None, Resolution::Retry, "somebody");
    assert!(word(&mut cloud).is_err(), "it does not wait");
    let unknown = Event::Ended {
        path: Path::task(TaskIx(0)),
        attempt: 1,
        epoch: Epoch(1),
        at: Timestamp(1),
        outcome: Outcome::Failed(eyot_model::Failure::new(FailureKind::OutcomeUnknown, "cut off")),
        usage: Usage::default(),
        retry_at: None,
    };
    let item = ReportItem {
        position: Position { generation: 1, n: 1 },
        run: RUN,
        fragment: ALL,
        epoch: Epoch(1),
        event: unknown,
    };
    cloud.coordinator.reported(A, Report { items: vec![item] }, Timestamp(1));
    assert_eq!(word(&mut cloud), Ok(()));
    cloud.drain();
    assert!(cloud.told(A, |m| matches!(m, ToAgent::Resolve { attempt: 1, .. })));
    cloud.coordinator.link_changed(A, LinkState::Disconnected, Timestamp(2));
    assert_eq!(word(&mut cloud), Err(crate::Unresolvable::Away(A)));
}

#[test]
fn a_late_agent_does_not_get_back_what_was_found_to_be_lost_meanwhile() {
    let mut cloud = cloud_under(
        OnDisconnect {
            reassign_after: Some(Millis(1)),
            accept_late: true,
            ..OnDisconnect::default()
        },
        [false, true, true],
        1,
    );
    cloud.coordinator.link_changed(A, LinkState::Disconnected, Timestamp(0));
    cloud.coordinator.handle_timeout(Timestamp(5_000));
    cloud.coordinator.note_missing(RUN, ALL, [blob(0).digest].into());
    cloud.found(Ok(B));
    assert_eq!((cloud.owner(), cloud.task(1).0), ((Some(B), 2), State::Failed));
    let held = vec![eyot_wire::Held {
        run: RUN,
        fragment: ALL,
        epoch: Epoch(1),
        ended: false,
    }];
    let last = Position { generation: 1, n: 9 };
    let committed = Position { generation: 1, n: 1 };
    let inventory = eyot_wire::Inventory { held, last, committed };
    cloud.coordinator.inventory(A, &inventory, Timestamp(6_000));
    assert_eq!(cloud.owner(), (Some(B), 2), "what it did since cannot be told any more");
}

#[test]
fn a_move_that_has_something_made_anew_ends_every_epoch_that_its_owner_had() {
    let mut cloud = empty_cloud();
    cloud.start(submission(OnDisconnect::default(), [true; 3]), &[(ALL, 0..1), (SECOND, 1..3)]);
    cloud.coordinator.move_all(A);
    cloud.drain();
    cloud.coordinator.replanned(RUN, SECOND, Ok(B), Timestamp(2));
    cloud.drain();
    cloud.reports(A, 1, 0, 0);
    cloud.sent.clear();
    cloud
        .coordinator
        .yielded(A, RUN, SECOND, Epoch(1), &[blob(0).digest].into(), Timestamp(2));
    cloud.drain();
    let epoch = cloud.coordinator.entry(RUN).expect("it goes on").fragments[&SECOND].epoch;
    let over = |m: &ToAgent| matches!(m, ToAgent::Superseded { fragment: SECOND, epoch: over, .. } if over.0 + 1 == epoch.0);
    assert!(cloud.told(A, over), "it has no epoch of it any more");
}

#[test]
fn who_had_a_fragment_before_is_told_so_before_it_moves_back() {
    let mut cloud = cloud([true; 3], 0);
    let moves = |cloud: &mut Cloud, from, to, epoch| {
        cloud.coordinator.move_all(from);
        cloud.found(Ok(to));
        cloud
            .coordinator
            .yielded(from, RUN, ALL, Epoch(epoch), &BTreeSet::new(), Timestamp(2));
        cloud.drain();
    };
    moves(&mut cloud, A, B, 1);
    cloud.sent.clear();
    moves(&mut cloud, B, A, 2);
    let told = |wanted: &dyn Fn(&ToAgent) -> bool| cloud.sent.iter().position(|(to, m)| *to == A && wanted(m));
    let over = told(&|m| matches!(m, ToAgent::Superseded { epoch: Epoch(1), .. }));
    let given = told(&|m| matches!(m, ToAgent::Assign(a) if a.epoch == Epoch(3)));
    assert!(over.is_some() && over < given, "{over:?}, {given:?}");
}

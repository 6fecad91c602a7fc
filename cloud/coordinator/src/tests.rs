//! Links that break, agents that come back: who owns what afterwards, and what commits.

use crate::{Change, Command, Coordinator, Nothing, Stored, StoredFragment, Submission, Which};
use eyot_model::{
    AgentId, ComponentRef, Digest, Epoch, Event, Fragment, FragmentId, Inputs, LinkState, Millis, OnDisconnect, Outcome, Outputs, Path,
    Plan, Position, RunId, RunOutcome, RunState, State, Task, TaskIx, Timestamp, Usage, Value, Workflow,
};
use eyot_wire::{FragmentStanding, Held, Inventory, Refusal, Report, ReportItem, ToAgent};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

mod forbidden;
mod restart;
mod waits;

const RUN: RunId = RunId(1);
const A: AgentId = AgentId(10);
const B: AgentId = AgentId(11);
const FIRST: FragmentId = FragmentId(0);
const SECOND: FragmentId = FragmentId(1);
const GRACE: Millis = Millis(300_000);

fn at(seconds: u64) -> Timestamp {
    Timestamp(seconds * 1_000_000)
}

fn reassign(accept_late: bool) -> OnDisconnect {
    OnDisconnect {
        pause_after: None,
        reassign_after: Some(GRACE),
        accept_late,
    }
}

/// A chain of `count` tasks.
fn workflow(count: u32, on_disconnect: OnDisconnect) -> Arc<Workflow> {
    let task = |ix: u32| Task {
        needs: ix.checked_sub(1).map(TaskIx).into_iter().collect(),
        ..Task::new(
            format!("t{ix}"),
            ComponentRef {
                name: "x".into(),
                digest: Some(Digest::of(b"x")),
                size: 1,
            },
        )
    };
    Arc::new(Workflow {
        on_disconnect,
        ..Workflow::new("n", "w", "1", (0..count).map(task).collect())
    })
}

/// A coordinator with one run of two tasks, the first fragment of which is A's.
struct Cloud {
    coordinator: Coordinator,
    stored: Vec<Change>,
    sent: Vec<(AgentId, ToAgent)>,
    replans: Vec<(FragmentId, BTreeSet<AgentId>)>,
    alarms: usize,
    generation: u64,
}

impl Cloud {
    fn new(on_disconnect: OnDisconnect) -> Self {
        let mut cloud = Self {
            coordinator: Coordinator::new(),
            stored: Vec::new(),
            sent: Vec::new(),
            replans: Vec::new(),
            alarms: 0,
            generation: 5,
        };
        for agent in [A, B] {
            cloud.coordinator.link_changed(agent, LinkState::Connected, at(0));
        }
        cloud.coordinator.submit(submission(on_disconnect), at(0)).unwrap();
        let fragment = Fragment {
            id: FIRST,
            agent: A,
            tasks: vec![TaskIx(0), TaskIx(1)],
            start: Millis(0),
            finish: Millis(0),
            transfers: Vec::new(),
        };
        let plan = Plan {
            fragments: vec![fragment],
            ..Plan::default()
        };
        cloud.coordinator.planned(RUN, plan, at(0));
        cloud.drain();
        cloud
    }

    /// The run anew, with a task in each of two fragments: A's and B's.
    fn two_fragments(&mut self, on_disconnect: OnDisconnect) {
        self.coordinator = Coordinator::new();
        for agent in [A, B] {
            self.coordinator.link_changed(agent, LinkState::Connected, at(0));
        }
        self.coordinator.submit(submission(on_disconnect), at(0)).unwrap();
        let fragment = |id, agent, task| Fragment {
            id,
            agent,
            tasks: vec![TaskIx(task)],
            start: Millis(0),
            finish: Millis(0),
            transfers: Vec::new(),
        };
        let plan = Plan {
            fragments: vec![fragment(FIRST, A, 0), fragment(SECOND, B, 1)],
            ..Plan::default()
        };
        self.coordinator.planned(RUN, plan, at(0));
        self.drain();
    }

    fn drain(&mut self) {
        while let Some(command) = self.coordinator.poll_command() {
            match command {
                Command::Commit(change) => self.stored.push(change),
                Command::Send { agent, message } => self.sent.push((agent, *message)),
                Command::Replan { fragment, exclude, .. } => self.replans.push((fragment, exclude)),
                Command::Alarm { .. } => self.alarms += 1,
                Command::Plan { .. } | Command::Ended { .. } => {}
            }
        }
    }

    fn lose(&mut self, agent: AgentId, seconds: u64) {
        self.coordinator.link_changed(agent, LinkState::Disconnected, at(seconds));
        self.drain();
    }

    fn time(&mut self, seconds: u64) {
        self.coordinator.handle_timeout(at(seconds));
        self.drain();
    }

    fn found(&mut self, agent: AgentId, seconds: u64) {
        self.coordinator.replanned(RUN, FIRST, Ok(agent), at(seconds));
        self.drain();
    }

    fn found_none(&mut self) {
        self.coordinator.replanned(RUN, FIRST, Err("no agent has a GPU".into()), at(0));
        self.drain();
    }

    /// An agent comes back with the fragment under `epoch`; what it is told of it.
    fn returns(&mut self, agent: AgentId, epoch: u64, generation: u64) -> FragmentStanding {
        self.generation = generation;
        self.coordinator.link_changed(agent, LinkState::Connected, at(0));
        let inventory = Inventory {
            held: vec![Held {
                run: RUN,
                fragment: FIRST,
                epoch: Epoch(epoch),
                ended: false,
            }],
            last: Position { generation, n: 9 },
            committed: Position { generation, n: 0 },
        };
        self.coordinator.inventory(agent, &inventory, at(0));
        self.drain();
        let reconciled = self.sent.iter().rev().find_map(|(to, message)| match message {
            ToAgent::Reconciled(standings) if *to == agent => standings.first().copied(),
            _ => None,
        });
        reconciled.unwrap()
    }

    fn reports(&mut self, agent: AgentId, epoch: u64, events: Vec<Event>) {
        let item = |(n, event)| ReportItem {
            position: Position {
                generation: self.generation,
                n,
            },
            run: RUN,
            fragment: FIRST,
            epoch: Epoch(epoch),
            event,
        };
        let items = (1..).zip(events).map(item).collect();
        self.coordinator.reported(agent, Report { items }, at(1));
        self.drain();
    }

    fn owner(&self) -> Option<(Option<AgentId>, u64)> {
        let owned = &self.coordinator.entry(RUN)?.fragments[&FIRST];
        Some((owned.agent, owned.epoch.0))
    }

    fn state(&self, task: u32) -> State {
        self.coordinator.entry(RUN).unwrap().run.tasks()[task as usize].own.state
    }

    fn waits(&self) -> Option<&str> {
        self.coordinator.entry(RUN).unwrap().waiting_for.as_deref()
    }

    fn was_sent(&self, agent: AgentId, wanted: impl Fn(&ToAgent) -> bool) -> bool {
        self.sent.iter().any(|(to, message)| *to == agent && wanted(message))
    }

    fn ended(&self) -> Option<RunState> {
        self.stored.iter().find_map(|change| match change {
            Change::Ended { outcome, .. } => Some(outcome.state),
            _ => None,
        })
    }
}

fn submission(on_disconnect: OnDisconnect) -> Submission {
    Submission {
        run: RUN,
        workflow: workflow(2, on_disconnect),
        inputs: Arc::new(Inputs::new()),
        created_at: at(0),
    }
}

fn started(task: u32, attempt: u32, epoch: u64) -> Event {
    Event::Started {
        path: Path::task(TaskIx(task)),
        attempt,
        epoch: Epoch(epoch),
        at: at(1),
    }
}

fn ended(task: u32, attempt: u32, epoch: u64, output: i64) -> Event {
    Event::Ended {
        path: Path::task(TaskIx(task)),
        attempt,
        epoch: Epoch(epoch),
        at: at(2),
        outcome: Outcome::Succeeded(Outputs::from([("n".to_owned(), Value::Int(output))])),
        usage: Usage::default(),
        retry_at: None,
    }
}

fn superseded(epoch: u64) -> impl Fn(&ToAgent) -> bool {
    move |message| matches!(message, ToAgent::Superseded { epoch: told, .. } if told.0 == epoch)
}

fn assigned(epoch: u64) -> impl Fn(&ToAgent) -> bool {
    move |message| matches!(message, ToAgent::Assign(a) if a.epoch.0 == epoch)
}

#[test]
fn a_fragment_changes_hands_when_its_agent_is_away_for_longer_than_the_grace_time() {
    // Policy, seconds away, whether another agent is looked for.
    let never = OnDisconnect::default();
    for (policy, away, looks) in [
        (never, 1_000_000, false),
        (reassign(false), 299, false),
        (reassign(false), 300, true),
        (reassign(true), 301, true),
    ] {
        let mut cloud = Cloud::new(policy);
        assert_eq!(cloud.coordinator.poll_timeout(), None, "connected: no timer");
        cloud.lose(A, 100);
        cloud.time(100 + away);
        assert_eq!(!cloud.replans.is_empty(), looks, "{policy:?} after {away} s");
        assert_eq!(cloud.owner(), Some((Some(A), 1)), "it keeps it until another is found");
        if !looks {
            continue;
        }
        assert_eq!(cloud.replans, [(FIRST, [A].into())]);
        let before = cloud.stored.len();
        cloud.found(B, 500);
        assert_eq!(cloud.owner(), Some((Some(B), 2)));
        assert!(matches!(
            &cloud.stored[before],
            Change::Assigned {
                agent: B,
                epoch: Epoch(2),
                ..
            }
        ));
        assert!(cloud.was_sent(B, assigned(2)) && cloud.was_sent(A, superseded(1)));
        cloud.reports(A, 1, vec![ended(0, 1, 1, 7)]);
        assert_eq!(cloud.state(0), State::Pending, "a late result changes nothing");
        assert!(cloud.stored.iter().any(|c| matches!(
            c,
            Change::Late {
                agent: A,
                epoch: Epoch(1),
                ..
            }
        )));
        cloud.reports(B, 2, vec![started(0, 1, 2), ended(0, 1, 2, 7), started(1, 1, 2), ended(1, 1, 2, 8)]);
        assert_eq!(cloud.ended(), Some(RunState::Succeeded));
    }
}

#[test]
fn an_inventory_stops_the_grace_time_and_a_link_alone_does_not() {
    let mut cloud = Cloud::new(reassign(false));
    cloud.lose(A, 0);
    cloud.coordinator.link_changed(A, LinkState::Connected, at(200));
    cloud.lose(A, 201);
    cloud.time(300);
    assert_eq!(cloud.replans.len(), 1, "it told nothing in between");

    let mut cloud = Cloud::new(reassign(false));
    cloud.lose(A, 0);
    assert!(matches!(cloud.returns(A, 1, 5), FragmentStanding::Keep { epoch: Epoch(1), .. }));
    cloud.lose(A, 250);
    cloud.time(400);
    assert!(cloud.replans.is_empty());
    cloud.time(550);
    assert_eq!(cloud.replans.len(), 1);
    assert!(
        matches!(cloud.returns(A, 1, 5), FragmentStanding::Keep { .. }),
        "nobody was found yet"
    );
    cloud.found(B, 551);
    assert_eq!(cloud.owner(), Some((Some(A), 1)), "the search was over when its answer came");
}

#[test]
fn a_suspect_keeps_what_it_has() {
    let mut cloud = Cloud::new(reassign(false));
    cloud.coordinator.link_changed(A, LinkState::Suspect, at(1));
    cloud.time(10_000);
    assert!(cloud.replans.is_empty());
}

#[test]
fn a_late_agent_gets_its_fragment_back_only_while_nothing_of_it_was_committed() {
    for (accept_late, progress, back) in [(true, false, true), (true, true, false), (false, false, false)] {
        let mut cloud = Cloud::new(reassign(accept_late));
        cloud.reports(A, 1, vec![started(0, 1, 1)]);
        cloud.lose(A, 0);
        cloud.time(300);
        cloud.found(B, 300);
        if progress {
            cloud.reports(B, 2, vec![ended(0, 1, 1, 9)]);
        }
        let standing = cloud.returns(A, 1, 5);
        if back {
            assert!(matches!(standing, FragmentStanding::Keep { epoch: Epoch(3), .. }), "{standing:?}");
            assert!(cloud.was_sent(A, assigned(3)) && cloud.was_sent(B, superseded(2)));
            cloud.reports(A, 3, vec![ended(0, 1, 1, 7)]);
            cloud.reports(B, 2, vec![ended(0, 2, 2, 9)]);
            assert_eq!(cloud.state(0), State::Succeeded);
            assert_eq!(cloud.alarms, 0, "the replacement's result is fenced, not a contradiction");
        } else {
            assert!(
                matches!(standing, FragmentStanding::Superseded { epoch: Epoch(1), .. }),
                "{standing:?}"
            );
            assert_eq!(cloud.owner(), Some((Some(B), 2)));
        }
    }
}

#[test]
fn who_had_a_fragment_before_is_told_that_it_is_over_before_it_gets_it_again() {
    let mut cloud = Cloud::new(reassign(false));
    cloud.lose(A, 0);
    cloud.time(300);
    cloud.found(B, 300);
    // A is back, and is asked to take it before its inventory is here.
    cloud.coordinator.link_changed(A, LinkState::Connected, at(400));
    cloud.lose(B, 400);
    cloud.time(700);
    cloud.found(A, 700);
    let told = |wanted: &dyn Fn(&ToAgent) -> bool| cloud.sent.iter().rposition(|(to, message)| *to == A && wanted(message));
    let (over, again) = (told(&superseded(1)), told(&assigned(3)));
    assert!(over.is_some() && over < again, "{over:?}, {again:?}");
}

#[test]
fn who_had_one_fragment_is_told_that_it_is_over_before_it_gets_another_one() {
    let mut cloud = Cloud::new(reassign(false));
    cloud.two_fragments(reassign(false));
    cloud.lose(A, 0);
    cloud.time(300);
    cloud.found(B, 300);
    cloud.coordinator.link_changed(A, LinkState::Connected, at(400));
    cloud.lose(B, 400);
    cloud.time(700);
    cloud.coordinator.replanned(RUN, SECOND, Ok(A), at(700));
    cloud.drain();
    let told = |wanted: &dyn Fn(&ToAgent) -> bool| cloud.sent.iter().rposition(|(to, message)| *to == A && wanted(message));
    let over = told(&|message| {
        matches!(
            message,
            ToAgent::Superseded {
                fragment: FIRST,
                epoch: Epoch(1),
                ..
            }
        )
    });
    let given = told(&|message| matches!(message, ToAgent::Assign(a) if a.fragment == SECOND));
    assert!(over.is_some() && over < given, "{over:?}, {given:?}");
}

#[test]
fn what_an_agent_kept_under_a_later_epoch_is_over_before_it_gets_a_fragment_again() {
    let mut cloud = Cloud::new(reassign(false));
    cloud.coordinator = Coordinator::new();
    let stored = |fragment: FragmentId, task: u32| StoredFragment {
        fragment,
        agent: Some(A),
        epoch: Epoch(1),
        tasks: vec![TaskIx(task)],
        former: BTreeMap::new(),
    };
    let stored = Stored {
        submission: submission(reassign(false)),
        plan: Some(Plan::default()),
        fragments: vec![stored(FIRST, 0), stored(SECOND, 1)],
        events: Vec::new(),
        saved: Vec::new(),
    };
    cloud.coordinator.restore(stored, at(0)).unwrap();
    cloud.lose(A, 0);
    cloud.coordinator.reassign(RUN, Which::Fragment(FIRST), at(1)).unwrap();
    // The second fragment stays A's, under a new epoch that A does not hear of.
    cloud.found(B, 1);
    cloud.lose(B, 2);
    cloud.sent.clear();
    cloud.coordinator.link_changed(A, LinkState::Connected, at(3));
    cloud.coordinator.reassign(RUN, Which::Fragment(FIRST), at(3)).unwrap();
    cloud.found(A, 3);
    let over = |message: &ToAgent| matches!(message, ToAgent::Superseded { fragment, epoch: Epoch(1), .. } if *fragment == SECOND);
    let told = |wanted: &dyn Fn(&ToAgent) -> bool| cloud.sent.iter().position(|(to, message)| *to == A && wanted(message));
    let (over, given) = (told(&over), told(&assigned(3)));
    assert!(over.is_some() && over < given, "{over:?}, {given:?}");
}

#[test]
fn what_the_replacement_holds_besides_begins_again_when_a_late_agent_gets_its_fragment_back() {
    let mut cloud = Cloud::new(reassign(true));
    cloud.two_fragments(reassign(true));
    cloud.lose(A, 0);
    cloud.time(300);
    cloud.found(B, 300);
    assert!(matches!(cloud.returns(A, 1, 5), FragmentStanding::Keep { epoch: Epoch(3), .. }));
    let over = |message: &ToAgent| matches!(message, ToAgent::Superseded { fragment, epoch: Epoch(1), .. } if *fragment == SECOND);
    let again = |message: &ToAgent| matches!(message, ToAgent::Assign(a) if a.fragment == SECOND && a.epoch == Epoch(2));
    assert!(cloud.was_sent(B, over) && cloud.was_sent(B, again));
}

#[test]
fn where_nobody_can_take_it_the_run_says_so_and_asks_again_when_the_fleet_changes() {
    let mut cloud = Cloud::new(reassign(false));
    cloud.lose(A, 0);
    cloud.time(300);
    cloud.found_none();
    assert_eq!(cloud.waits(), Some("another agent for fragment 0: no agent has a GPU"));
    cloud.coordinator.fleet_changed();
    cloud.drain();
    assert_eq!(cloud.replans.len(), 2);
    cloud.found(B, 400);
    assert_eq!((cloud.waits(), cloud.owner()), (None, Some((Some(B), 2))));
    assert!(matches!(cloud.stored.last(), Some(Change::Waiting { why: None, .. })));
}

#[test]
fn a_refused_fragment_is_fenced_and_another_agent_is_asked() {
    for why in [Refusal::Draining, Refusal::DiskFull, Refusal::Invalid("what is this".into())] {
        let mut cloud = Cloud::new(OnDisconnect::default());
        cloud.coordinator.refused(A, RUN, FIRST, Epoch(1), &why, at(1));
        cloud.drain();
        assert_eq!(cloud.replans, [(FIRST, [A].into())], "{why:?}");
        assert_eq!(cloud.owner(), Some((None, 2)));
        cloud.found(A, 1);
        assert_eq!(cloud.owner(), Some((None, 2)), "not the one that refused");
        cloud.found_none();
        cloud.coordinator.fleet_changed();
        cloud.drain();
        assert_eq!(cloud.replans[1], (FIRST, [].into()), "it may take it by now");
        cloud.found(A, 2);
        assert_eq!(cloud.owner(), Some((Some(A), 3)));
    }
    let mut cloud = Cloud::new(OnDisconnect::default());
    cloud.coordinator.accepted(A, RUN, FIRST, Epoch(1));
    cloud.coordinator.refused(A, RUN, FIRST, Epoch(1), &Refusal::Draining, at(1));
    cloud.drain();
    assert!(cloud.replans.is_empty(), "it has taken it before");
}

#[test]
fn a_new_generation_of_the_journal_is_a_new_epoch_for_the_same_agent() {
    let mut cloud = Cloud::new(OnDisconnect::default());
    assert!(matches!(cloud.returns(A, 1, 5), FragmentStanding::Keep { epoch: Epoch(1), .. }));
    cloud.reports(A, 1, vec![started(0, 1, 1)]);
    let told = cloud.sent.len();
    assert!(matches!(cloud.returns(A, 1, 6), FragmentStanding::Keep { epoch: Epoch(2), .. }));
    let order: Vec<bool> = cloud.sent[told..].iter().map(|(_, m)| assigned(2)(m)).collect();
    assert!(order[0], "the new epoch is there before work flows");
    cloud.reports(A, 1, vec![ended(0, 1, 1, 1)]);
    assert_eq!(cloud.state(0), State::Running, "the old numbers are fenced");
    assert!(
        matches!(cloud.returns(A, 1, 6), FragmentStanding::Keep { epoch: Epoch(2), .. }),
        "told again"
    );
    cloud.reports(A, 2, vec![ended(0, 1, 1, 1)]);
    assert_eq!(cloud.state(0), State::Succeeded);
}

#[test]
fn what_builds_on_a_result_that_is_not_the_committed_one_does_not_commit() {
    let mut cloud = Cloud::new(OnDisconnect::default());
    cloud.reports(A, 1, vec![started(0, 1, 1), ended(0, 1, 1, 7)]);
    cloud.reports(A, 1, vec![ended(0, 1, 1, 8), started(1, 1, 1), ended(1, 1, 1, 9)]);
    assert_eq!(
        (cloud.state(0), cloud.state(1), cloud.alarms),
        (State::Succeeded, State::Pending, 1)
    );
    assert_eq!(cloud.owner(), Some((Some(A), 2)), "it begins again from the facts");
    assert!(cloud.was_sent(A, superseded(1)) && cloud.was_sent(A, assigned(2)));
    cloud.reports(A, 2, vec![ended(0, 2, 2, 8)]);
    assert_eq!(cloud.owner(), Some((None, 3)), "a second time another agent is asked");
    assert_eq!(cloud.replans, [(FIRST, [A].into())]);
}

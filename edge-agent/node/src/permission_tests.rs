//! What must not be done twice begins when the control plane knows of it, and what never began does not count.

use crate::yielding_tests::{ALL, Device, NOW, RUN, assignment, config};
use crate::{Node, Record};
use eyot_model::{Epoch, Event, FailureKind, Millis, OnDisconnect, State};
use eyot_wire::{Assignment, FragmentStanding, ToAgent};
use std::sync::Arc;

fn given(epoch: u64, idempotent: bool, reassign: bool) -> Box<Assignment> {
    let mut given = assignment(epoch, idempotent, vec![], vec![]);
    let mut workflow = (*given.workflow).clone();
    workflow.on_disconnect = OnDisconnect {
        pause_after: reassign.then_some(Millis(1_000)),
        reassign_after: reassign.then_some(Millis(5_000)),
        ..OnDisconnect::default()
    };
    given.workflow = Arc::new(workflow);
    given
}

/// A device that was given a fragment of which the first task may not be done twice.
fn device() -> Device {
    with(given(1, false, true))
}

fn with(assignment: Box<Assignment>) -> Device {
    let mut device = Device::over(Node::new(config(), 1), Vec::new());
    device.link(vec![]);
    device.hear(ToAgent::Assign(assignment));
    device
}

fn commits(device: &mut Device) {
    let through = device.journal.last().unwrap().0;
    device.hear(ToAgent::Committed { through });
}

fn gave_back(device: &Device) -> usize {
    let yielded = |record: &Record| {
        matches!(
            record,
            Record::Own {
                event: Event::Yielded { .. },
                ..
            }
        )
    };
    device.journal.iter().filter(|(_, record)| yielded(record)).count()
}

#[test]
fn only_what_another_agent_might_do_again_waits() {
    for (idempotent, reassign, waits) in [(false, true, true), (true, true, false), (false, false, false)] {
        let mut device = with(given(1, idempotent, reassign));
        assert_eq!(device.started.is_empty(), waits, "idempotent {idempotent}, reassign {reassign}");
        assert_eq!(device.node.held_starts().count(), usize::from(waits));
        commits(&mut device);
        assert_eq!(device.started.len(), 1, "the control plane knows of it");
        commits(&mut device);
        assert_eq!(device.started.len(), 1);
    }
}

#[test]
fn what_the_control_plane_knows_of_begins_after_that_is_written_down() {
    let mut device = Device::over(Node::new(config(), 1), Vec::new());
    device.link(vec![]);
    device.hear(ToAgent::Assign(given(1, false, true)));
    let through = device.journal.last().unwrap().0;
    device.node.handle_message(ToAgent::Committed { through }, NOW);
    let (mut written, mut starts) = (None, 0);
    while let Some(command) = device.node.poll_command() {
        match command {
            crate::Command::Append {
                position,
                record: Record::Committed { .. },
            } => written = Some(position),
            crate::Command::Start { after, .. } => {
                assert!(written.is_some() && after == written, "{after:?}");
                starts += 1;
            }
            _ => {}
        }
    }
    assert_eq!(starts, 1);
}

#[test]
fn what_waits_out_of_contact_gives_its_place_back_in_a_pause_and_begins_after_it() {
    let mut device = device();
    device.node.link_down(NOW);
    device.drain();
    device.node.handle_timeout(NOW.after(Millis(1_000)));
    device.drain();
    assert!(device.node.is_paused(RUN));
    assert_eq!((device.started.len(), device.stopped.len(), gave_back(&device)), (0, 0, 1));
    assert_eq!(device.state(0), State::Queued);
    device.link(vec![FragmentStanding::Keep {
        run: RUN,
        fragment: ALL,
        epoch: Epoch(1),
    }]);
    commits(&mut device);
    assert_eq!(device.started.len(), 1);
    let instance = device.node.run(RUN).unwrap().tasks()[0].own.clone();
    assert_eq!((instance.attempts, instance.tries()), (2, 1), "what never began does not count");
}

#[test]
fn what_waits_ends_with_its_fragment_its_run_or_its_process() {
    let superseded = ToAgent::Superseded {
        run: RUN,
        fragment: ALL,
        epoch: Epoch(1),
    };
    let yields = ToAgent::Yield {
        run: RUN,
        fragment: ALL,
        epoch: Epoch(1),
    };
    let cancel = ToAgent::Cancel { run: RUN };
    for (message, back) in [(superseded, 0), (yields, 1), (cancel, 0)] {
        let mut device = device();
        device.hear(message.clone());
        commits(&mut device);
        assert!(device.started.is_empty() && device.stopped.is_empty(), "{message:?}");
        assert_eq!(gave_back(&device), back, "{message:?}");
        assert!(!device.node.is_at_work(), "its place is free after {message:?}");
    }
    let mut device = device();
    device.node.shut_down(NOW);
    device.drain();
    assert_eq!((gave_back(&device), device.node.is_at_work()), (1, false));
}

#[test]
fn under_a_new_epoch_it_asks_again() {
    let mut device = device();
    device.hear(ToAgent::Assign(given(3, false, true)));
    assert_eq!((device.started.len(), gave_back(&device)), (0, 1));
    commits(&mut device);
    assert_eq!(device.started.len(), 1);
    assert_eq!((device.started[0].attempt, device.started[0].epoch), (2, Epoch(3)));
}

#[test]
fn after_a_restart_only_what_may_have_begun_is_unknown() {
    let device = device().crash();
    assert_eq!((gave_back(&device), device.state(0)), (1, State::Queued), "it cannot have begun");

    let mut device = self::device();
    commits(&mut device);
    let device = device.crash();
    let failure = device.node.run(RUN).unwrap().tasks()[0].own.failure.clone();
    assert_eq!(failure.map(|f| f.kind), Some(FailureKind::OutcomeUnknown));
    assert_eq!((gave_back(&device), device.state(0)), (0, State::Waiting));
}

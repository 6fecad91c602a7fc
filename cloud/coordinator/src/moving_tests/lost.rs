//! Work whose inputs are lost when it changes hands, and who makes them again.

use super::*;
use crate::Which;

const C: AgentId = AgentId(12);

#[test]
fn what_is_at_rest_and_found_nobody_at_first_is_made_again_for_whom_is_found_later() {
    let mut cloud = cloud([true; 3], 2);
    cloud.coordinator.move_all(A);
    cloud.found(Ok(B));
    cloud.coordinator.link_changed(B, LinkState::Disconnected, Timestamp(3));
    cloud.yields(&[1]);
    assert_eq!((cloud.owner(), cloud.task(1)), ((Some(A), 1), (State::Succeeded, 0)));
    cloud.coordinator.note_missing(RUN, ALL, BTreeSet::from([blob(1).digest]));
    cloud.found(Ok(C));
    assert_eq!((cloud.owner(), cloud.task(1)), ((Some(C), 2), (State::Pending, 1)));
}

#[test]
fn what_was_noted_for_an_answer_is_forgotten_with_it() {
    let mut cloud = cloud([true; 3], 2);
    cloud.coordinator.move_all(A);
    for found in [Ok(B), Err("nobody".to_owned())] {
        cloud.coordinator.note_missing(RUN, ALL, BTreeSet::from([blob(1).digest]));
        cloud.found(found);
        assert!(cloud.coordinator.missing.is_empty());
    }
    assert_eq!(cloud.task(1), (State::Succeeded, 0), "it has not changed hands");
}

/// The first two tasks have ended on A, and the last one is B's.
fn two_owners() -> Cloud {
    let mut cloud = empty_cloud();
    cloud.coordinator.link_changed(C, LinkState::Connected, Timestamp(0));
    cloud
        .coordinator
        .submit(submission(OnDisconnect::default(), [true; 3]), Timestamp(0))
        .expect("it compiles");
    let fragment = |id, agent, tasks: &[u32]| Fragment {
        id,
        agent,
        tasks: tasks.iter().copied().map(TaskIx).collect(),
        start: Millis(0),
        finish: Millis(0),
        transfers: Vec::new(),
    };
    let plan = Plan {
        fragments: vec![fragment(ALL, A, &[0, 1]), fragment(SECOND, B, &[2])],
        ..Plan::default()
    };
    cloud.coordinator.planned(RUN, plan, Timestamp(0));
    cloud.drain();
    cloud.reports(A, 1, 0, 0);
    cloud.reports(A, 1, 1, 0);
    cloud
}

#[test]
fn what_runs_again_goes_to_its_owner_only_while_that_can_be_reached() {
    for away in [false, true] {
        let mut cloud = two_owners();
        if away {
            cloud.coordinator.link_changed(A, LinkState::Disconnected, Timestamp(1));
        }
        assert_eq!(
            cloud.coordinator.reassign(RUN, Which::Fragment(SECOND), Timestamp(2)),
            Ok(vec![SECOND])
        );
        cloud.drain();
        let asked = cloud.asked;
        cloud.coordinator.note_missing(RUN, SECOND, BTreeSet::from([blob(1).digest]));
        cloud.coordinator.replanned(RUN, SECOND, Ok(C), Timestamp(2));
        cloud.drain();
        assert_eq!(cloud.task(1), (State::Pending, 1));
        assert_eq!(cloud.owner(), (Some(A).filter(|_| !away), 2));
        assert_eq!(cloud.asked - asked, usize::from(away), "another agent is asked for");
        if away {
            cloud.found(Ok(C));
        }
        let (owner, epoch) = cloud.owner();
        cloud.reports(owner.expect("somebody has it"), epoch, 1, 1);
        assert_eq!(cloud.task(1), (State::Succeeded, 1));
    }
}

//! How waits end: by a cancel, an operator, an expulsion, a restart.

use super::*;

#[test]
fn a_cancelled_fragment_of_an_agent_out_of_contact_ends_with_the_fence() {
    for (policy, operator) in [(reassign(false), false), (OnDisconnect::default(), true)] {
        let mut cloud = Cloud::new(policy);
        cloud.reports(A, 1, vec![started(0, 1, 1)]);
        cloud.lose(A, 0);
        assert!(cloud.coordinator.cancel(RUN, "somebody", at(10)));
        cloud.drain();
        assert_eq!(cloud.ended(), None, "cancelling until confirmed or fenced");
        if operator {
            cloud.time(100_000);
            assert_eq!(cloud.ended(), None);
            assert_eq!(cloud.coordinator.reassign(RUN, Which::Away, at(100_000)), Ok(vec![FIRST]));
            cloud.drain();
        } else {
            cloud.time(300);
        }
        assert_eq!(cloud.ended(), Some(RunState::Cancelled));
        let fence = cloud.stored.iter().position(|c| matches!(c, Change::Fenced { .. })).unwrap();
        let cancelled = |c: &Change| {
            matches!(
                c,
                Change::Event {
                    event: Event::Cancelled { .. },
                    ..
                }
            )
        };
        assert_eq!(cloud.stored[fence + 1..].iter().filter(|c| cancelled(c)).count(), 2);
        assert!(cloud.replans.is_empty());
    }
}

#[test]
fn a_run_that_is_cancelled_when_the_grace_time_is_over_ends_at_once() {
    let mut cloud = Cloud::new(reassign(false));
    cloud.lose(A, 0);
    cloud.time(300);
    cloud.found_none();
    assert!(cloud.coordinator.cancel(RUN, "somebody", at(400)));
    cloud.drain();
    assert_eq!(cloud.ended(), Some(RunState::Cancelled));
}

#[test]
fn what_else_an_agent_holds_of_the_run_begins_again_when_a_fragment_is_taken_from_it() {
    let mut cloud = Cloud::new(OnDisconnect::default());
    cloud.coordinator = Coordinator::new();
    let stored = |fragment: u32, task: u32| StoredFragment {
        fragment: FragmentId(fragment),
        agent: Some(A),
        epoch: Epoch(1),
        tasks: vec![TaskIx(task)],
        former: BTreeMap::new(),
    };
    let stored = Stored {
        submission: submission(OnDisconnect::default()),
        plan: Some(Plan::default()),
        fragments: vec![stored(0, 0), stored(1, 1)],
        events: Vec::new(),
        saved: Vec::new(),
    };
    cloud.coordinator.restore(stored, at(0)).unwrap();
    assert_eq!(cloud.coordinator.reassign(RUN, Which::Fragment(FIRST), at(1)), Ok(vec![FIRST]));
    cloud.found(B, 1);
    let second = &cloud.coordinator.entry(RUN).unwrap().fragments[&FragmentId(1)];
    assert_eq!(
        (second.agent, second.epoch),
        (Some(A), Epoch(2)),
        "its task waits for the one that moved"
    );
    let to_a: Vec<&ToAgent> = cloud.sent.iter().filter(|(to, _)| *to == A).map(|(_, m)| m).collect();
    let [.., ToAgent::Superseded { .. }, ToAgent::Superseded { .. }, ToAgent::Assign(again)] = to_a.as_slice() else {
        panic!("{to_a:?}");
    };
    assert_eq!((again.fragment, again.epoch), (FragmentId(1), Epoch(2)));
}

#[test]
fn an_operator_ends_any_wait() {
    let mut cloud = Cloud::new(OnDisconnect::default());
    assert_eq!(cloud.coordinator.reassign(RUN, Which::Away, at(1)), Err(Nothing::NobodyAway));
    assert_eq!(cloud.coordinator.reassign(RUN, Which::Agent(B), at(1)), Err(Nothing::NotTheirs));
    assert_eq!(
        cloud.coordinator.reassign(RUN, Which::Fragment(FragmentId(9)), at(1)),
        Err(Nothing::NoFragment)
    );
    assert_eq!(cloud.coordinator.reassign(RunId(2), Which::Away, at(1)), Err(Nothing::NoRun));
    cloud.lose(A, 0);
    assert_eq!(cloud.coordinator.reassign(RUN, Which::Away, at(1)), Ok(vec![FIRST]));
    cloud.drain();
    assert!(matches!(cloud.returns(A, 1, 5), FragmentStanding::Keep { .. }));
    cloud.found(B, 2);
    assert_eq!(
        cloud.owner(),
        Some((Some(B), 2)),
        "it was asked for, so it goes on although the agent came back"
    );
    assert_eq!(cloud.coordinator.reassign(RUN, Which::Agent(B), at(3)), Ok(vec![FIRST]));
}

#[test]
fn what_an_expelled_agent_had_is_fenced_at_once() {
    let mut cloud = Cloud::new(OnDisconnect::default());
    cloud.coordinator.expel(A, "its certificate was revoked", at(1));
    cloud.drain();
    assert_eq!((cloud.owner(), cloud.replans.len()), (Some((None, 2)), 1));
    cloud.reports(A, 1, vec![ended(0, 1, 1, 1)]);
    assert_eq!(cloud.state(0), State::Pending);
    assert!(cloud.coordinator.cancel(RUN, "somebody", at(2)));
    cloud.drain();
    assert_eq!(cloud.ended(), Some(RunState::Cancelled), "nobody has to confirm it");
}

#[test]
fn after_a_restart_everybody_is_out_of_contact_from_then_on() {
    for fenced in [false, true] {
        let mut cloud = Cloud::new(reassign(true));
        cloud.coordinator = Coordinator::new();
        let stored = Stored {
            submission: submission(reassign(true)),
            plan: Some(Plan::default()),
            fragments: vec![StoredFragment {
                fragment: FIRST,
                agent: (!fenced).then_some(A),
                epoch: Epoch(4),
                tasks: vec![TaskIx(0), TaskIx(1)],
                former: BTreeMap::new(),
            }],
            events: vec![started(0, 1, 4)],
            saved: Vec::new(),
        };
        cloud.coordinator.restore(stored, at(1_000)).unwrap();
        cloud.drain();
        assert_eq!(cloud.replans.len(), usize::from(fenced), "what nobody owns is looked for at once");
        assert_eq!(cloud.coordinator.poll_timeout(), (!fenced).then(|| at(1_300)));
        cloud.time(1_300);
        cloud.found(B, 1_300);
        assert_eq!(cloud.owner(), Some((Some(B), 5)));
        assert!(matches!(cloud.returns(A, 4, 5), FragmentStanding::Superseded { .. }) || !fenced);
    }
}

#[test]
fn a_fragment_that_has_ended_has_no_grace_time() {
    let mut cloud = Cloud::new(reassign(false));
    cloud.reports(A, 1, vec![started(0, 1, 1), ended(0, 1, 1, 1)]);
    cloud.lose(A, 0);
    assert_eq!(cloud.coordinator.poll_timeout(), Some(at(300)));
    cloud.reports(A, 1, vec![started(1, 1, 1), ended(1, 1, 1, 1)]);
    cloud.time(300);
    assert!(cloud.replans.is_empty());
}

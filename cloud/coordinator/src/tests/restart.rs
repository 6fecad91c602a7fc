//! The control plane was restarted: what it knows then, and what an agent that comes back may still say.

use super::*;

/// The run anew, as the store has it: its one fragment is A's under epoch 4.
fn restarted() -> Cloud {
    let mut cloud = Cloud::new(OnDisconnect::default());
    cloud.coordinator = Coordinator::new();
    cloud.sent.clear();
    let stored = Stored {
        submission: submission(OnDisconnect::default()),
        plan: Some(Plan::default()),
        fragments: vec![StoredFragment {
            fragment: FIRST,
            agent: Some(A),
            epoch: Epoch(4),
            tasks: vec![TaskIx(0), TaskIx(1)],
            former: BTreeMap::new(),
        }],
        events: Vec::new(),
        saved: Vec::new(),
    };
    cloud.coordinator.restore(stored, at(1_000)).unwrap();
    cloud.drain();
    cloud
}

/// A comes back and holds nothing.
fn returns_empty(cloud: &mut Cloud) {
    cloud.coordinator.link_changed(A, LinkState::Connected, at(1_001));
    let inventory = Inventory {
        last: Position {
            generation: cloud.generation,
            n: 9,
        },
        ..Inventory::default()
    };
    cloud.coordinator.inventory(A, &inventory, at(1_001));
    cloud.drain();
}

#[test]
fn what_never_arrived_is_told_again_and_may_be_refused() {
    let mut cloud = restarted();
    returns_empty(&mut cloud);
    assert!(cloud.was_sent(A, assigned(4)));
    cloud.coordinator.refused(A, RUN, FIRST, Epoch(4), &Refusal::Draining, at(1_002));
    cloud.drain();
    assert_eq!(cloud.owner(), Some((None, 5)));
    assert_eq!(cloud.replans, [(FIRST, [A].into())]);
}

#[test]
fn what_it_holds_it_has_accepted_until_it_comes_back_without_it() {
    let mut cloud = restarted();
    assert!(matches!(cloud.returns(A, 4, 5), FragmentStanding::Keep { .. }));
    let refused = |cloud: &mut Cloud| {
        cloud.coordinator.refused(A, RUN, FIRST, Epoch(4), &Refusal::DiskFull, at(1_002));
        cloud.drain();
    };
    refused(&mut cloud);
    assert_eq!(cloud.owner(), Some((Some(A), 4)));
    returns_empty(&mut cloud);
    refused(&mut cloud);
    assert_eq!(cloud.owner(), Some((None, 5)));
}

#[test]
fn what_an_agent_had_confirmed_is_doubted_once_it_lost_records() {
    let mut cloud = restarted();
    let lost = |cloud: &Cloud| cloud.stored.contains(&Change::RecordsLost { agent: A });
    let comes = |cloud: &mut Cloud, generation| {
        cloud.stored.clear();
        let inventory = Inventory {
            last: Position { generation, n: 3 },
            ..Inventory::default()
        };
        cloud.coordinator.inventory(A, &inventory, at(1_001));
        cloud.drain();
    };
    cloud.coordinator.heard(A, Position { generation: 5, n: 2 });
    cloud.drain();
    comes(&mut cloud, 5);
    assert!(!lost(&cloud) && cloud.owner() == Some((Some(A), 4)));
    comes(&mut cloud, 6);
    assert!(lost(&cloud) && cloud.owner() == Some((Some(A), 5)));
    comes(&mut cloud, 6);
    assert!(!lost(&cloud));
    cloud.coordinator.start_over(A, "an operator let it begin anew", at(1_002));
    cloud.drain();
    assert!(lost(&cloud));
    comes(&mut cloud, 7);
    assert!(!lost(&cloud), "it has begun anew");
}

#[test]
fn a_run_that_a_back_up_knows_without_a_plan_begins_above_what_may_have_been_given_out_since() {
    let mut cloud = Cloud::new(OnDisconnect::default());
    cloud.coordinator = Coordinator::new();
    cloud.coordinator.begin_above(Epoch(1_000));
    let stored = Stored {
        submission: submission(OnDisconnect::default()),
        plan: None,
        fragments: Vec::new(),
        events: Vec::new(),
        saved: Vec::new(),
    };
    cloud.coordinator.restore(stored, at(1_000)).unwrap();
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
    cloud.coordinator.planned(RUN, plan, at(1_000));
    cloud.drain();
    assert_eq!(cloud.owner(), Some((Some(A), 1_001)));
    assert!(matches!(cloud.returns(A, 1, 5), FragmentStanding::Superseded { .. }));
}

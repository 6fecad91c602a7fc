//! States that tasks save, and what goes on from them.

use eyot_model::{Millis, OnDisconnect, RunState, State};
use eyot_sim::scenario::{Scenario, Step};
use eyot_sim::weather::Trouble;
use eyot_sim::{Setup, World};

/// A task that saves its state twice, after 300 and after 600 ms.
fn saving() -> Step {
    let mut step = Step::new("long").takes(900);
    step.habit.saves = true;
    step
}

/// The machine loses its power in mid-attempt, before anything was saved and after: the next attempt goes on from what was
/// durable, and what was not is not missed.
#[test]
fn power_cut_between_states() {
    for (after, goes_on) in [(100_000, false), (500_000, true), (850_000, true)] {
        let setup = Setup::calm(1).with(Scenario::scripted(OnDisconnect::default(), &[saving()]));
        let mut world = World::new(setup);
        assert!(world.until(|w| w.state_at(0, 1, "long") == Some(State::Running)));
        world.pass(after);
        world.trouble(Trouble::PowerCut { machine: 0, lasts: 10_000 });
        world.finish().unwrap();
        assert_eq!(world.outcome(1), Some(RunState::Succeeded));
        assert_eq!(world.outside.states.taken_up > 0, goes_on, "cut after {after} us");
    }
}

/// The machine is lost after the cloud was told of a state: the other one goes on from it.
#[test]
fn state_of_a_lost_machine() {
    let policy = OnDisconnect {
        reassign_after: Some(Millis(100)),
        ..OnDisconnect::default()
    };
    let mut world = World::new(Setup::calm(2).with(Scenario::scripted(policy, &[saving().on(1)])));
    assert!(world.until(|w| w.state_at(0, 1, "long") == Some(State::Running)));
    world.pass(550_000);
    world.trouble(Trouble::Lose { machine: 0 });
    world.finish().unwrap();
    assert_eq!(world.outcome(1), Some(RunState::Succeeded));
    assert!(world.devices[1].started > 0 && world.outside.states.taken_up > 0);
}

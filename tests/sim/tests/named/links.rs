//! Links that break at the wrong moment.

use eyot_model::{OnDisconnect, RunId, RunState, State};
use eyot_sim::happening::Happening;
use eyot_sim::scenario::{Scenario, Step};
use eyot_sim::weather::Trouble;
use eyot_sim::{Setup, World};

/// A run is cancelled while its agent is out of contact. It is not cancelled before the agent has heard of it; then what ran
/// is stopped, and what had not begun never does.
#[test]
fn cancel_while_disconnected() {
    let steps = [
        Step::new("done").on(1),
        Step::new("long").on(1).after(0).takes(5_000),
        Step::new("never").on(1).after(1),
    ];
    let mut world = World::new(Setup::calm(1).with(Scenario::scripted(OnDisconnect::default(), &steps)));
    assert!(world.until(|w| w.state_at(0, 1, "long") == Some(State::Running)));
    world.trouble(Trouble::Cut {
        machine: 0,
        lasts: 1_000_000,
        late: 0,
    });
    world.pass(50_000);
    world.at(world.elapsed(), Happening::Cancel { run: RunId(1) });
    world.pass(500_000);
    assert!(
        world.outside.cancelled.contains(&RunId(1)),
        "the operator was told that it is noted"
    );
    assert_eq!(world.outcome(1), None, "nobody knows yet what the agent does");
    assert_eq!(world.state_at(0, 1, "long"), Some(State::Running), "the agent has not heard of it");
    world.finish().unwrap();
    assert_eq!(world.outcome(1), Some(RunState::Cancelled));
    assert_eq!(world.state(1, "done"), Some(State::Succeeded));
    assert_eq!(world.state(1, "long"), Some(State::Cancelled));
    assert_eq!(world.state(1, "never"), Some(State::Cancelled));
    assert!(world.elapsed() < 5_000_000, "it did not wait for the long task");
}

/// A cancel reaches an attempt whose start is not durable yet, so that it has not begun: it ends, and does not run for ever.
#[test]
fn cancel_before_a_start_is_durable() {
    let mut pay = Step::new("pay").on(1).takes(200);
    pay.idempotent = false;
    let mut world = World::new(Setup::calm(1).with(Scenario::scripted(OnDisconnect::default(), &[pay])));
    assert!(world.until(|w| w.state_at(0, 1, "pay") == Some(State::Running)));
    assert!(
        world.devices[0].process.as_ref().is_some_and(|p| p.running.is_empty()),
        "it waits for the sync"
    );
    let effects = world.devices[0].turn(world.now, |node, now| {
        node.handle_message(eyot_wire::ToAgent::Cancel { run: RunId(1) }, now)
    });
    world.carry_out(0, effects);
    world.at(world.elapsed(), Happening::Cancel { run: RunId(1) });
    world.finish().unwrap();
    assert_eq!(world.outcome(1), Some(RunState::Cancelled));
    assert_eq!(world.devices[0].started, 0);
}

/// The link breaks with an acknowledgement on its way, and again and again: each result commits once.
#[test]
fn acknowledgements_lost_with_their_links() {
    let steps = [Step::new("a").on(1), Step::new("b").on(2).after(0), Step::new("c").on(1).after(1)];
    let mut setup = Setup::calm(2).with(Scenario::scripted(OnDisconnect::default(), &steps));
    for n in 0..60 {
        let machine = usize::from(n % 2 == 0);
        let cut = Trouble::Cut {
            machine,
            lasts: 5_000,
            late: n % 4,
        };
        setup.weather.push((110_000 + n * 20_000, cut));
    }
    let mut world = World::new(setup);
    world.finish().unwrap();
    assert_eq!(world.outcome(1), Some(RunState::Succeeded));
}

//! Disks that are put back, or used twice.

use eyot_model::{OnDisconnect, RunState, State};
use eyot_sim::scenario::{Scenario, Step};
use eyot_sim::weather::Trouble;
use eyot_sim::{Setup, World};

/// `a` to `d`, one after the other, on agent 1, which has been started a second time.
fn world() -> (World, eyot_sim::copies::Image) {
    const NAMES: [&str; 4] = ["a", "b", "c", "d"];
    let step = |i: u32| {
        let step = Step::new(NAMES[i as usize]).on(1).takes(200);
        if i == 0 { step } else { step.after(i - 1) }
    };
    let steps: Vec<Step> = (0..4).map(step).collect();
    let mut world = World::new(Setup::calm(2).with(Scenario::scripted(OnDisconnect::default(), &steps)));
    assert!(world.until(|w| w.state(1, "a") == Some(State::Succeeded)));
    let image = world.devices[0].image();
    world.trouble(Trouble::Kill { machine: 0, lasts: 20_000 });
    assert!(world.until(|w| w.state(1, "b") == Some(State::Succeeded)), "it goes on");
    (world, image)
}

/// A machine's disk is put back to an older image. The control plane does not take it: its agent's work goes to another one,
/// and nothing of what the old image does counts. An operator lets it begin anew, and then it is an agent like any other.
#[test]
fn restored_disk() {
    let (mut world, image) = world();
    world.trouble(Trouble::PowerCut { machine: 0, lasts: 50_000 });
    assert!(world.until(|w| !w.devices[0].is_up()));
    world.devices[0].put_back(&image);
    assert!(world.until(|w| w.devices[0].turned_away > 0), "it is refused");
    assert!(world.until(|w| w.outcome(1).is_some()));
    assert_eq!(world.outcome(1), Some(RunState::Succeeded));
    assert!(world.devices[1].started >= 2, "`c` and `d` ran on the other machine");
    let refused = world.devices[0].turned_away;
    world.pass(1_000_000);
    assert!(
        world.devices[0].turned_away > refused,
        "it is refused for as long as nobody lets it in"
    );
    world.readmit(0);
    world.finish().unwrap();
}

/// A second machine starts with the disk of one that is at work. It is not taken, the first one is not disturbed, and
/// nothing of the copy goes on.
#[test]
fn cloned_disk() {
    let (mut world, image) = world();
    let copy = world.add_copy(0, &image);
    assert!(world.until(|w| w.devices[copy].turned_away > 0));
    assert!(
        world.devices[copy]
            .process
            .as_ref()
            .is_some_and(|p| p.node.is_paused(eyot_model::RunId(1)))
    );
    assert!(world.until(|w| w.outcome(1).is_some()));
    assert_eq!(world.outcome(1), Some(RunState::Succeeded));
    assert_eq!(
        (world.devices[0].turned_away, world.devices[1].started),
        (0, 0),
        "the device itself is not disturbed"
    );
    assert!(world.cloud.alarms.is_empty());
    world.pass(100_000);
    let begun = world.devices[copy].started;
    world.pass(2_000_000);
    assert_eq!(world.devices[copy].started, begun, "the copy begins nothing more");
}

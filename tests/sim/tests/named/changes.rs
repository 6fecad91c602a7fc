//! Work that changes hands, or stands still, and what of it counts.

use eyot_model::{AgentId, Digest, Event, FragmentId, Millis, OnDisconnect, Path, RunId, RunState, State, TaskIx};
use eyot_sim::scenario::{Scenario, Step};
use eyot_sim::weather::Trouble;
use eyot_sim::{Setup, World};
use eyot_wire::SavedBody;

/// `make` gives a blob that only its own machine has, and the machine is lost while `use` reads it. Where `make` may run again
/// it does, on the other machine, and so does `use`; where it must not, what needs it fails and nothing runs twice.
#[test]
fn output_held_only_by_a_lost_device() {
    for repeatable in [true, false] {
        let mut make = Step::new("make").on(1);
        make.habit.blob = true;
        make.idempotent = repeatable;
        let steps = [make, Step::new("use").on(1).after(0).takes(2_000)];
        let mut world = World::new(Setup::calm(2).with(Scenario::scripted(OnDisconnect::default(), &steps)));
        assert!(world.until(|w| w.state(1, "make") == Some(State::Succeeded) && w.state_at(0, 1, "use") == Some(State::Running)));
        assert!(world.cloud.blobs.is_empty(), "nobody else needed it");
        world.trouble(Trouble::Lose { machine: 0 });
        assert!(world.until(|w| w.outcome(1).is_some()));
        let rewound = |event: &Event| matches!(event, Event::Rewound { task: TaskIx(0), .. });
        let again = world.cloud.store.runs[&RunId(1)].events.iter().any(rewound);
        assert_eq!(again, repeatable);
        if repeatable {
            assert_eq!(world.outcome(1), Some(RunState::Succeeded));
            assert_eq!(world.devices[1].started, 2);
            world.finish().unwrap();
        } else {
            assert_eq!(
                (world.outcome(1), world.state(1, "use")),
                (Some(RunState::Failed), Some(State::Failed))
            );
            assert_eq!(world.devices[1].started, 0, "it is not made a second time");
        }
    }
}

/// The same, where another task had used the output before, and the run is cancelled while it is made again: what had ended
/// stays as it is, although what it used was cancelled in the end.
#[test]
fn cancelled_while_an_output_is_made_again() {
    let mut make = Step::new("make").on(1).takes(300);
    make.habit.blob = true;
    let steps = [
        make,
        Step::new("early").on(1).after(0),
        Step::new("late").on(1).after(0).takes(2_000),
    ];
    let mut world = World::new(Setup::calm(2).with(Scenario::scripted(OnDisconnect::default(), &steps)));
    assert!(world.until(|w| w.state(1, "early") == Some(State::Succeeded) && w.state_at(0, 1, "late") == Some(State::Running)));
    world.trouble(Trouble::Lose { machine: 0 });
    assert!(world.until(|w| w.state_at(1, 1, "make") == Some(State::Running)));
    world.trouble(Trouble::Cancel { run: 1 });
    world.finish().unwrap();
    assert_eq!(world.outcome(1), Some(RunState::Cancelled));
    let ends = ["make", "early", "late"].map(|task| world.state(1, task));
    assert_eq!(ends, [Some(State::Cancelled), Some(State::Succeeded), Some(State::Cancelled)]);
}

/// A machine that is out of contact pauses, loses its power, and starts again: nobody knows how long that took, so it begins
/// paused, and nothing begins before the control plane has said that the work is still its own.
#[test]
fn reboot_during_a_pause() {
    let policy = OnDisconnect {
        pause_after: Some(Millis(400)),
        ..OnDisconnect::default()
    };
    let steps = [Step::new("a").on(1).takes(1_500), Step::new("b").on(1).after(0)];
    for idempotent in [true, false] {
        let mut steps = steps.clone();
        steps[0].idempotent = idempotent;
        let mut world = World::new(Setup::calm(1).with(Scenario::scripted(policy, &steps)));
        let paused = |w: &World| w.devices[0].process.as_ref().is_some_and(|p| p.node.is_paused(RunId(1)));
        assert!(world.until(|w| w.devices[0].started == 1));
        world.pass(150_000);
        let (machine, lasts) = (0, 2_000_000);
        world.trouble(Trouble::Cut { machine, lasts, late: 0 });
        assert!(world.until(paused));
        world.trouble(Trouble::PowerCut { machine, lasts: 50_000 });
        assert!(world.until(|w| w.devices[0].life > 2 && w.devices[0].is_up()));
        assert!(paused(&world), "it begins paused");
        world.pass(1_000_000);
        assert_eq!(world.devices[0].started, 1, "nothing begins without the control plane's word");
        world.finish().unwrap();
        assert!(world.outcome(1).is_some());
        assert!(!paused(&world));
    }
}

/// A task that must not be done twice becomes ready while its machine is out of contact. It does not begin there: when the
/// other machine is given it, nobody has done anything, and nobody has to be asked.
#[test]
fn a_start_that_the_control_plane_cannot_know_of_waits() {
    let policy = OnDisconnect {
        pause_after: Some(Millis(500)),
        reassign_after: Some(Millis(2_000)),
        ..OnDisconnect::default()
    };
    let mut steps = [Step::new("before").on(1).takes(300), Step::new("pay").on(1).after(0)];
    steps[1].idempotent = false;
    let mut world = World::new(Setup::calm(2).with(Scenario::scripted(policy, &steps)));
    assert!(world.until(|w| w.state_at(0, 1, "before") == Some(State::Running)));
    world.pass(50_000);
    world.trouble(Trouble::Cut {
        machine: 0,
        lasts: 6_000_000,
        late: 0,
    });
    let held = |w: &World| w.devices[0].process.as_ref().is_some_and(|p| p.node.held_starts().count() == 1);
    assert!(world.until(held), "its start is written down and waits");
    let begun = world.devices[0].started;
    world.finish().unwrap();
    assert_eq!(world.outcome(1), Some(RunState::Succeeded));
    assert_eq!(world.devices[0].started, begun, "it never began there");
    let unknown = |event: &Event| matches!(event, Event::Resolved { .. });
    assert!(!world.cloud.store.runs[&RunId(1)].events.iter().any(unknown), "nobody was asked");
}

/// A fragment moves with what its task saved. The component of that very version takes it up; another one never does.
#[test]
fn checkpoint_of_another_component_version() {
    let steps = [Step::new("long").takes(3_000)];
    let mut world = World::new(Setup::calm(2).with(Scenario::scripted(OnDisconnect::default(), &steps)));
    let running = |w: &World| w.devices.iter().position(|d| d.started > 0);
    assert!(world.until(|w| running(w).is_some()));
    let from = running(&world).unwrap();
    world.pass(100_000);
    let id = *world.devices[from].process.as_ref().unwrap().running.keys().next().unwrap();
    let (version, other, inputs) = (Digest::of(b"1.0"), Digest::of(b"1.1"), Digest::of(b"inputs"));
    let saved = SavedBody::Inline(b"half way".to_vec());
    let effects = world.devices[from].turn(world.now, |node, _| {
        assert!(node.save(&id, version, inputs, saved.clone()).is_some());
    });
    world.carry_out(from, effects);
    world.pass(100_000);
    world.trouble(Trouble::Drain {
        machine: from,
        lasts: 10_000_000,
    });
    let to = 1 - from;
    assert!(world.until(|w| w.devices[to].started > 0), "it goes on elsewhere");
    let node = &world.devices[to].process.as_ref().unwrap().node;
    let path = Path::task(TaskIx(0));
    assert_eq!(node.saved_for(RunId(1), path, version, inputs), [saved]);
    assert!(node.saved_for(RunId(1), path, other, inputs).is_empty());
    assert!(node.saved_for(RunId(1), path, version, Digest::of(b"others")).is_empty());
    world.finish().unwrap();
    assert_eq!(world.outcome(1), Some(RunState::Succeeded));
    let owner = world.cloud.store.runs[&RunId(1)].fragments[&FragmentId(0)].agent;
    assert_eq!(owner, Some(AgentId(to as u128 + 1)));
}

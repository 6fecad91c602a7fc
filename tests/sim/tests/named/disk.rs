//! Disks that lose, tear, refuse and rot.

use eyot_checkpoint::{DamageKind, Disk, Loss};
use eyot_model::{OnDisconnect, RunState, State};
use eyot_sim::scenario::{Scenario, Step};
use eyot_sim::weather::Trouble;
use eyot_sim::{Setup, World};

fn chain(length: u32) -> Scenario {
    const NAMES: [&str; 6] = ["a", "b", "c", "d", "e", "f"];
    let step = |i: u32| {
        let step = Step::new(NAMES[i as usize]).on(1);
        if i == 0 { step } else { step.after(i - 1) }
    };
    Scenario::scripted(OnDisconnect::default(), &(0..length).map(step).collect::<Vec<_>>())
}

fn ended_at_machine(world: &World, task: &str) -> bool {
    world.state_at(0, 1, task) == Some(State::Succeeded)
}

/// The power goes while records are being written: some sectors of the last ones are there and some are not. That is a torn
/// tail, not damage; nothing that had left the machine was in it.
#[test]
fn torn_tail() {
    let mut torn = 0;
    for seed in 0..40 {
        let mut setup = Setup::calm(1).with(chain(6));
        setup.seed = seed;
        let mut world = World::new(setup);
        assert!(world.until(|w| ended_at_machine(w, "c")));
        world.pass(seed * 500);
        world.trouble(Trouble::PowerCut { machine: 0, lasts: 50_000 });
        assert!(world.until(|w| w.devices[0].life > 1 && w.devices[0].is_up()));
        let found = world.devices[0].found.clone().unwrap();
        assert_eq!((found.loss, found.damage.len()), (None, 0), "seed {seed}");
        torn += u32::from(found.torn_bytes > 0);
        world.finish().unwrap();
        assert_eq!(world.outcome(1), Some(RunState::Succeeded));
    }
    assert!(torn > 3, "{torn} of 40 tails were torn");
}

/// A bit turns over in a record that was durable long ago. The start says so, keeps the damaged file aside, and begins a new
/// generation of positions, so that no number of before can be taken for one of after. The agent starts and the run ends.
#[test]
fn corruption_below_the_synced_position() {
    let mut world = World::new(Setup::calm(1).with(chain(6)));
    assert!(world.until(|w| w.state(1, "d") == Some(State::Succeeded)));
    world.trouble(Trouble::Kill { machine: 0, lasts: 50_000 });
    assert!(world.until(|w| !w.devices[0].is_up()));
    let device = &mut world.devices[0];
    let names = device.disk.list().unwrap();
    let segment = names.iter().find(|name| name.starts_with("journal")).unwrap().clone();
    // Behind the header, in the assignment.
    device.disk.flip_bit(&segment, 8_192 + 700, 3);
    device.tampered = true;
    assert!(world.until(|w| w.devices[0].is_up()));
    let found = world.devices[0].found.clone().unwrap();
    assert_eq!(found.loss, Some(Loss::Journal), "{found:?}");
    assert!(
        found
            .damage
            .iter()
            .any(|d| matches!(d.kind, DamageKind::BadBytes { .. }) && d.quarantined.is_some())
    );
    assert!(world.until(|w| w.outcome(1).is_some()), "the run ends");
}

/// fdatasync fails. What it should have made durable is never trusted to that file again: it is written once more into a new
/// one. Nothing leaves before that, and a power cut right after the failure takes nothing back.
#[test]
fn failed_fdatasync() {
    for (count, cut) in [(1, false), (1, true), (4, false), (4, true)] {
        let mut world = World::new(Setup::calm(1).with(chain(6)));
        assert!(world.until(|w| ended_at_machine(w, "b")));
        world.trouble(Trouble::FailSyncs { machine: 0, count });
        world.pass(30_000);
        if cut {
            world.trouble(Trouble::PowerCut { machine: 0, lasts: 50_000 });
        }
        world.finish().unwrap();
        assert_eq!(world.outcome(1), Some(RunState::Succeeded), "{count} failures, power cut {cut}");
    }
}

/// Syncs fail during the very start after a power cut: what the journal has beyond the store is known all the same, and
/// does not leave before it is durable.
#[test]
fn failed_fdatasync_at_the_start() {
    for count in 1..6 {
        let mut world = World::new(Setup::calm(1).with(chain(6)));
        assert!(world.until(|w| ended_at_machine(w, "c")));
        world.trouble(Trouble::Kill { machine: 0, lasts: 50_000 });
        assert!(world.until(|w| !w.devices[0].is_up()));
        world.devices[0].disk.fail_syncs(count);
        assert!(world.until(|w| w.devices[0].is_up()));
        assert!(
            ended_at_machine(&world, "c"),
            "what was appended survives a kill, {count} failed syncs or not"
        );
        world.pass(20_000);
        world.trouble(Trouble::Kill { machine: 0, lasts: 50_000 });
        world.finish().unwrap();
        assert_eq!(world.outcome(1), Some(RunState::Succeeded));
    }
}

/// Syncs fail, the power goes, and goes again during the very start after that: what is written once more because nobody is
/// sure of it may have been durable, and reported, before. It stays where it is until its copy is durable.
#[test]
fn power_cut_while_it_is_written_once_more() {
    for seed in 0..40 {
        let mut setup = Setup::calm(1).with(chain(6));
        setup.seed = seed;
        let mut world = World::new(setup);
        assert!(world.until(|w| ended_at_machine(w, "c")));
        world.pass(20_000);
        let count = u32::try_from(seed % 5).unwrap();
        world.trouble(Trouble::FailSyncs { machine: 0, count });
        world.pass(30_000);
        world.trouble(Trouble::PowerCut { machine: 0, lasts: 50_000 });
        assert!(world.until(|w| w.devices[0].life > 1 && w.devices[0].is_up()));
        world.trouble(Trouble::PowerCut { machine: 0, lasts: 50_000 });
        world.finish().unwrap_or_else(|why| panic!("seed {seed}: {why}"));
        assert_eq!(world.outcome(1), Some(RunState::Succeeded));
    }
}

/// The disk is full in the middle of a run: nothing is acknowledged and nothing new begins, and it goes on once there is room.
#[test]
fn full_disk() {
    let mut world = World::new(Setup::calm(1).with(chain(6)));
    assert!(world.until(|w| ended_at_machine(w, "b")));
    let (machine, lasts) = (0, 3_000_000);
    world.trouble(Trouble::FullDisk { machine, lasts });
    world.finish().unwrap();
    assert_eq!(world.outcome(1), Some(RunState::Succeeded));
}

/// The power goes after a task has written its blob and before the blob is durable: the end of the task is not in the
/// journal either, so the task runs again and its successor reads a blob that exists.
#[test]
fn blob_not_yet_synced() {
    let mut cut_between = 0;
    for seed in 0..30 {
        let mut first = Step::new("make").on(1);
        first.habit.blob = true;
        let steps = [first, Step::new("use").on(1).after(0).takes(100)];
        let mut setup = Setup::calm(1).with(Scenario::scripted(OnDisconnect::default(), &steps));
        setup.seed = seed;
        let mut world = World::new(setup);
        assert!(world.until(|w| w.devices[0].blobs.has_unsynced()));
        cut_between += 1;
        world.trouble(Trouble::PowerCut { machine: 0, lasts: 50_000 });
        world.finish().unwrap();
        assert_eq!(world.outcome(1), Some(RunState::Succeeded));
        assert!(world.devices[0].started >= 3, "`make` ran twice");
    }
    assert_eq!(cut_between, 30);
}

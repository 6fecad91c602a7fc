//! Fragments that change hands while their agent is out of contact.

use eyot_model::{AgentId, Epoch, FragmentId, Millis, OnDisconnect, RunId, RunState, State};
use eyot_sim::scenario::{Scenario, Step};
use eyot_sim::weather::Trouble;
use eyot_sim::{Mutant, Setup, World};

fn reassign_after(millis: u64) -> OnDisconnect {
    OnDisconnect {
        reassign_after: Some(Millis(millis)),
        ..OnDisconnect::default()
    }
}

/// `slow` runs on agent 1, and `after` consumes what it gives.
fn two_steps(policy: OnDisconnect) -> Setup {
    let mut steps = [Step::new("slow").takes(400), Step::new("after").after(0).takes(400)];
    steps[0].home = None;
    Setup::calm(2).with(Scenario::scripted(policy, &steps))
}

fn owner(world: &World) -> Option<usize> {
    let entry = world.cloud.coordinator.entry(RunId(1))?;
    let agent = entry.fragments.get(&FragmentId(0))?.agent?;
    world.devices.iter().position(|d| d.id == agent)
}

fn epoch(world: &World) -> Option<Epoch> {
    Some(world.cloud.coordinator.entry(RunId(1))?.fragments.get(&FragmentId(0))?.epoch)
}

/// The owner's process stands still past the grace time. The fragment goes to the other agent under a new epoch; when the
/// sleeper wakes, its result comes too late and changes nothing, and the run's outputs are the other one's alone.
#[test]
fn late_result_after_reassignment() {
    let mut world = World::new(two_steps(reassign_after(500)));
    assert!(world.until(|w| w.state(1, "slow") == Some(State::Running)));
    let sleeper = owner(&world).unwrap();
    let (machine, lasts) = (sleeper, 1_500_000);
    world.trouble(Trouble::Freeze { machine, lasts });
    assert!(world.until(|w| epoch(w) == Some(Epoch(2))), "its grace time ends");
    assert_ne!(owner(&world), Some(sleeper));
    world.finish().unwrap();
    assert_eq!(world.outcome(1), Some(RunState::Succeeded));
}

/// The link is back only after the grace time, and the outbox of the former owner streams results of the old epoch while the
/// new owner works: none of them commits, and what the new owner consumed is its own.
#[test]
fn epoch_raised_while_the_outbox_streams() {
    for late in 0..4 {
        let mut world = World::new(two_steps(reassign_after(200)));
        assert!(world.until(|w| w.state(1, "slow") == Some(State::Running)));
        let former = owner(&world).unwrap();
        world.pass(100_000);
        let (machine, lasts) = (former, 700_000);
        world.trouble(Trouble::Cut { machine, lasts, late });
        assert!(world.until(|w| epoch(w) == Some(Epoch(2))));
        world.finish().unwrap();
        assert_eq!(world.outcome(1), Some(RunState::Succeeded), "{late} late messages");
    }
}

/// The same without the fence: results of both owners commit, and the invariant is seen to be broken. This is what the
/// mutant takes away.
#[test]
fn without_the_fence_results_of_two_owners_mix() {
    let caught = (0..40).any(|seed| {
        let mut setup = two_steps(reassign_after(200));
        setup.seed = seed;
        setup.mutant = Some(Mutant::NoFence);
        let mut world = World::new(setup);
        if !world.until(|w| w.state(1, "slow") == Some(State::Running)) {
            return true;
        }
        let machine = owner(&world).unwrap();
        world.trouble(Trouble::Cut {
            machine,
            lasts: 300_000,
            late: 0,
        });
        world.finish().is_err()
    });
    assert!(caught);
}

/// The report of a result is on its way when the link breaks, and comes so late that its fragment has been given away. Then its
/// agent is back and gets the fragment again: the result is told anew under the new epoch, once its bytes are there again. What
/// came late was not taken, so its acknowledgement must not stop that.
#[test]
fn late_report_of_what_is_given_back() {
    let policy = OnDisconnect {
        accept_late: true,
        ..reassign_after(20)
    };
    let mut given_back = 0;
    for seed in 0..200 {
        let mut make = Step::new("make").on(1);
        make.habit.blob = true;
        let steps = [make, Step::new("use").on(2).after(0)];
        let mut setup = Setup::calm(2).with(Scenario::scripted(policy, &steps));
        setup.seed = seed;
        let mut world = World::new(setup);
        assert!(world.until(|w| !w.cloud.blobs.is_empty()));
        world.trouble(Trouble::Cut {
            machine: 0,
            lasts: 20_000,
            late: 3,
        });
        assert_eq!(world.finish(), Ok(()), "seed {seed}");
        let fragment = &world.cloud.store.runs[&RunId(1)].fragments[&FragmentId(0)];
        given_back += u32::from((fragment.agent, fragment.epoch) == (Some(AgentId(1)), Epoch(3)));
        assert_eq!(world.outcome(1), Some(RunState::Succeeded), "seed {seed}");
    }
    assert!(given_back > 10, "{given_back}");
}

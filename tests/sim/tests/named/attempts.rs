//! Attempts that end otherwise than they should.

use eyot_model::{OnDisconnect, Path, RunId, RunState, State, TaskIx};
use eyot_sim::scenario::{Scenario, Step};
use eyot_sim::task::Nature;
use eyot_sim::weather::Trouble;
use eyot_sim::{Setup, World};

/// A task that takes its agent down each time, by a crash or by a brown-out, runs out of attempts: starts without an end
/// count, although each of those agents forgot everything but its disk. What does not depend on it goes on.
#[test]
fn a_task_that_kills_its_agent_runs_out_of_attempts() {
    for power in [false, true] {
        let mut deadly = Step::new("deadly").on(1).takes(60);
        deadly.habit.nature = Some(Nature::Kills { power });
        deadly.max_attempts = 3;
        let steps = [deadly, Step::new("other").on(1).takes(300), Step::new("after").on(1).after(0)];
        let mut world = World::new(Setup::calm(1).with(Scenario::scripted(OnDisconnect::default(), &steps)));
        world.finish().unwrap();
        assert_eq!(world.outcome(1), Some(RunState::Failed));
        assert_eq!(world.state(1, "deadly"), Some(State::Failed));
        assert_eq!(world.state(1, "other"), Some(State::Succeeded));
        assert_eq!(world.state(1, "after"), Some(State::UpstreamFailed));
        let lives = (world.devices[0].life - 1) / 2;
        assert_eq!(lives, 3, "three attempts, three crashes");
    }
}

/// A task with outside effects is cut off in the middle, soon after its start and shortly before its end. Nobody knows whether
/// the effect happened, so it does not run again by itself: it waits for an operator, who looks and says.
#[test]
fn a_task_with_outside_effects_killed_midway_does_not_run_twice() {
    let mut happened = 0;
    for seed in 0..10 {
        for power in [false, true] {
            let mut pay = Step::new("pay").on(1).takes(200);
            pay.idempotent = false;
            let mut setup = Setup::calm(1).with(Scenario::scripted(OnDisconnect::default(), &[pay]));
            setup.seed = seed;
            let mut world = World::new(setup);
            assert!(world.until(|w| w.devices[0].process.as_ref().is_some_and(|p| !p.running.is_empty())));
            world.pass(5_000 + seed * 19_000);
            let lasts = 50_000;
            world.trouble(if power {
                Trouble::PowerCut { machine: 0, lasts }
            } else {
                Trouble::Kill { machine: 0, lasts }
            });
            assert!(
                world.until(|w| w.state(1, "pay") == Some(State::Waiting)),
                "it waits for an operator"
            );
            assert_eq!(world.devices[0].started, 1);
            let effect = world.outside.effect_of(RunId(1), Path::task(TaskIx(0))).is_some();
            happened += u32::from(effect);
            world.finish().unwrap();
            assert!(world.outcome(1).is_some_and(RunState::is_terminal));
            assert!(!effect || world.devices[0].started == 1, "what happened did not happen again");
        }
    }
    assert!((2..18).contains(&happened), "the effect had happened in {happened} of 20");
}

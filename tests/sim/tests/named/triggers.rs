//! Firings at the wrong moment.

use eyot_model::{AgentId, Inputs, Millis, OnDisconnect, RunState, Timestamp, Trigger, TriggerSource, Value};
use eyot_node::{Fired, Happening, TriggerKey};
use eyot_sim::scenario::{Scenario, Step};
use eyot_sim::weather::Trouble;
use eyot_sim::{Setup, World};
use eyot_wire::Deployment;
use std::collections::BTreeMap;
use std::sync::Arc;

/// A workflow with a schedule, whose one task never has to run.
fn deployment() -> Deployment {
    let scenario = Scenario::scripted(OnDisconnect::default(), &[Step::new("task")]);
    let mut workflow = (*scenario.workflow).clone();
    workflow.tasks[0].when = Some(eyot_model::Expr { source: "false".into() });
    workflow.inputs = BTreeMap::new();
    workflow.triggers = vec![Trigger {
        name: "nightly".into(),
        source: TriggerSource::Schedule {
            cron: "0 3 * * *".into(),
            time_zone: "UTC".into(),
            catch_up: Millis(3_600_000),
        },
        filter: None,
        inputs: BTreeMap::new(),
    }];
    Deployment {
        revision: 1,
        workflow: Arc::new(workflow),
        text: String::new(),
    }
}

fn key() -> TriggerKey {
    TriggerKey {
        namespace: "sim".into(),
        workflow: "w".into(),
        trigger: "nightly".into(),
    }
}

fn fire(world: &mut World, instant: Timestamp) -> Option<Fired> {
    let mut fired = None;
    let effects = world.devices[0].turn(world.now, |node, now| {
        let event = Value::Map(Inputs::new());
        fired = node.fire(AgentId(1), &key(), &Happening::Instant(instant), &event, now).ok();
    });
    world.carry_out(0, effects);
    fired
}

/// The instant of a schedule is the very moment at which the link goes, and the machine loses its power between the firing and
/// its record being durable, or some time after it. When it is back the listener tells of the same instant again, as it
/// does of those that it missed: one run reaches the control plane, once.
#[test]
fn cron_at_the_moment_of_the_cut() {
    let (mut forgotten, mut kept) = (0, 0);
    for seed in 0..40 {
        let mut setup = Setup::calm(1);
        setup.seed = seed;
        let mut world = World::new(setup);
        world.pass(300_000);
        let effects = world.devices[0].turn(world.now, |node, now| node.deploy(deployment(), now));
        world.carry_out(0, effects);
        world.pass(200_000);
        let instant = world.now;
        world.trouble(Trouble::Cut {
            machine: 0,
            lasts: 500_000,
            late: seed % 3,
        });
        world.pass(0);
        assert!(matches!(fire(&mut world, instant), Some(Fired::Run(_))));
        assert_eq!(fire(&mut world, instant), Some(Fired::Known));
        world.pass((seed % 8) * 8_000);
        world.trouble(Trouble::PowerCut { machine: 0, lasts: 50_000 });
        assert!(world.until(|w| w.devices[0].life > 2 && w.devices[0].is_up()));
        match fire(&mut world, instant) {
            Some(Fired::Run(_)) => forgotten += 1,
            Some(Fired::Known) => kept += 1,
            other => panic!("seed {seed}: {other:?}"),
        }
        world.pass(3_000_000);
        let told: Vec<_> = world
            .cloud
            .store
            .foreign
            .values()
            .map(|f| f.outcome.as_ref().map(|o| o.state))
            .collect();
        assert_eq!(told, [Some(RunState::Succeeded)], "seed {seed}");
        assert!(world.outside.broken.is_none(), "seed {seed}: {:?}", world.outside.broken);
    }
    assert!(forgotten > 3 && kept > 3, "{forgotten} firings were forgotten and {kept} kept");
}

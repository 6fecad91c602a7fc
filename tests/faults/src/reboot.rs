//! The machine of a device starts anew while the link is down.

use crate::load::{now, submit, whole};
use crate::recipe::SIDES_LONG;
use crate::relay::{Relay, Weather};
use crate::world::World;
use crate::{Figure, Setting, invariant};
use anyhow::{Result, ensure};
use eyot_model::api::RunDetail;
use eyot_model::{RunState, State};
use eyot_scenarios::{answer_of_both_sides, on_both_sides, told, until};
use std::collections::BTreeMap;

/// Attempts that may be under way when an agent is killed: the items of a `forEach` at the same time.
const AT_ONCE: usize = 2;

pub(crate) async fn run(setting: &Setting) -> Result<Vec<Figure>> {
    let times = setting.times(1, 5);
    let mut random = setting.random(4);
    let relay = Relay::open(random.fork()).await?;
    let mut world = World::behind(&relay).await?;
    let (mut again, mut alone) = (0, 0);
    for time in 1..=times {
        let run = submit(world.cloud.client(), &on_both_sides(SIDES_LONG), &format!("reboot-{time}")).await?;
        let few = random.usize(2..6);
        let begun = |detail: &RunDetail| ended(detail, "left") >= few && ended(detail, "right") >= few;
        world.cloud.run_until(run, "is under way on both devices", begun).await?;
        relay.set(Weather {
            cut: true,
            ..Weather::default()
        });
        let cut_at = now();
        tokio::time::sleep(std::time::Duration::from_millis(random.u64(0..500))).await;
        world.agents[0].kill()?;
        world.agents[0].start()?;
        until("the fragment has ended on the device", async || {
            let status = world.agents[0].status()?;
            let runs = status["runs"].as_array().cloned().unwrap_or_default();
            let here = runs.iter().find(|held| held["id"] == run.to_string());
            Ok(here.is_some_and(|held| held["doneHere"] == true).then_some(()))
        })
        .await?;
        let done = now();
        relay.set(Weather::default());
        world
            .cloud
            .run_until(run, "ends", |detail| detail.run.state == RunState::Succeeded)
            .await?;
        let (detail, events) = whole(world.cloud.client(), run).await?;
        invariant::history(&events, &BTreeMap::new())?;
        ensure!(
            detail.outputs.get("answer") == Some(&answer_of_both_sides(SIDES_LONG)),
            "{:?}",
            detail.outputs
        );
        let left: Vec<_> = detail
            .tasks
            .iter()
            .filter(|task| task.task == "left" && task.item.is_some())
            .collect();
        ensure!(
            left.iter().all(|item| item.ended_at <= Some(done)),
            "it had not ended: {}",
            told(&detail)
        );
        let twice = detail.tasks.iter().filter(|task| task.attempts > 1).count();
        ensure!(twice <= AT_ONCE, "{twice} tasks ran again: {}", told(&detail));
        let here = left.iter().filter(|item| item.ended_at > Some(cut_at)).count();
        setting.say(&format!(
            "{time}/{times} killed and started without a link: {here} tasks ended alone, {twice} ran again"
        ));
        again += twice;
        alone += here;
    }
    ensure!(
        alone > 0,
        "all work was over before the link was cut: this machine is too busy to tell anything"
    );
    world.close()?;
    Ok(vec![
        setting.count("reboots", times),
        setting.count("ended-alone", alone),
        setting.count("ran-again", again),
    ])
}

fn ended(detail: &RunDetail, side: &str) -> usize {
    let items = detail.tasks.iter().filter(|task| task.task == side && task.item.is_some());
    items.filter(|item| item.state == State::Succeeded).count()
}

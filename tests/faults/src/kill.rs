//! `kill -9` at random moments under load.

use crate::figure::percentile;
use crate::load::{Load, now};
use crate::world::{SIDES, World};
use crate::{Figure, Setting};
use anyhow::{Context, Result};
use eyot_model::Timestamp;
use std::time::Duration;

/// Runs at the same time.
const LANES: u64 = 6;
/// Longest wait for progress after a start.
const PROGRESS: Duration = Duration::from_secs(60);

/// Kills of agents: now one, now the other, now both, some of them while they recover.
pub(crate) async fn agents(setting: &Setting) -> Result<Vec<Figure>> {
    let kills = setting.times(8, 300);
    let mut random = setting.random(1);
    let mut world = World::open().await?;
    let mut load = Load::start(world.cloud.client(), LANES, &mut random);
    load.until(PROGRESS, "a run ends", |load| (load.ended() > 0).then_some(())).await?;
    let mut took = Vec::new();
    let mut killed = 0;
    while killed < kills {
        pause(&mut random, 50..900).await;
        let victims: Vec<usize> = match random.u8(..8) {
            0 => vec![0, 1],
            n => vec![usize::from(n % 2)],
        };
        for victim in &victims {
            world.agents[*victim].kill()?;
        }
        pause(&mut random, 0..100).await;
        let mut begun = Vec::new();
        for victim in &victims {
            begun.push(now());
            world.agents[*victim].start()?;
        }
        killed += victims.len();
        // Some are killed again before they have done anything.
        if random.u8(..10) == 0 {
            pause(&mut random, 0..300).await;
            continue;
        }
        for (victim, begun) in victims.iter().zip(begun) {
            let name = SIDES[*victim];
            let what = format!("{name} starts an attempt after kill {killed}");
            let first = load.until(PROGRESS, &what, |load| load.first_start(name, begun)).await;
            let first = first.with_context(|| format!("after kill {killed}"))?;
            took.push(millis(begun, first));
            setting.say(&format!(
                "{killed:>3}/{kills} {name} killed, an attempt began after {:.0} ms",
                millis(begun, first)
            ));
        }
    }
    finish(setting, world, load, killed, took).await
}

/// Kills of the control plane.
pub(crate) async fn clouds(setting: &Setting) -> Result<Vec<Figure>> {
    let kills = setting.times(8, 300);
    let mut random = setting.random(2);
    let mut world = World::open().await?;
    let mut load = Load::start(world.cloud.client(), LANES, &mut random);
    load.until(PROGRESS, "a run ends", |load| (load.ended() > 0).then_some(())).await?;
    let mut took = Vec::new();
    for killed in 1..=kills {
        pause(&mut random, 50..900).await;
        world.cloud.kill()?;
        pause(&mut random, 0..100).await;
        let begun = now();
        world.cloud.serve().await.with_context(|| format!("after kill {killed}"))?;
        if random.u8(..10) == 0 {
            continue;
        }
        // Events of that time were committed by the process that was started then.
        let what = format!("an event is committed after kill {killed}");
        let first = load.until(PROGRESS, &what, |load| load.news_since(begun)).await?;
        took.push(millis(begun, first));
        setting.say(&format!(
            "{killed:>3}/{kills} killed, an event was committed after {:.0} ms",
            millis(begun, first)
        ));
    }
    finish(setting, world, load, kills, took).await
}

async fn finish(setting: &Setting, world: World, load: Load, kills: usize, mut took: Vec<f64>) -> Result<Vec<Figure>> {
    let load = load.finish(0).await?;
    world.close()?;
    setting.say(&format!(
        "{kills} kills: {} runs ended right, {} attempts, {} commits, {} times an operator was asked",
        load.runs, load.tally.attempts, load.tally.commits, load.tally.unknown
    ));
    let n = took.len();
    Ok(vec![
        setting.count("kills", kills),
        setting.count("runs", load.runs),
        setting.count("attempts", load.tally.attempts),
        setting.count("commits", load.tally.commits),
        setting.count("operator-asked", load.tally.unknown),
        setting.figure("recovery-p50", percentile(&mut took, 0.5), "ms", n).wanted(1_000.0),
        setting.figure("recovery-p99", percentile(&mut took, 0.99), "ms", n),
    ])
}

#[allow(clippy::cast_precision_loss)]
fn millis(from: Timestamp, to: Timestamp) -> f64 {
    to.0.saturating_sub(from.0) as f64 / 1_000.0
}

async fn pause(random: &mut fastrand::Rng, millis: std::ops::Range<u64>) {
    tokio::time::sleep(Duration::from_millis(random.u64(millis))).await;
}

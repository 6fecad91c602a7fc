//! A bad link, and one whose address changes.

use crate::load::{Load, now, submit, whole};
use crate::recipe::SIDES_LONG;
use crate::relay::{Relay, Weather};
use crate::world::World;
use crate::{Figure, Setting, invariant};
use anyhow::{Result, ensure};
use eyot_client::Update;
use eyot_scenarios::on_both_sides;
use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::time::Duration;

const LANES: u64 = 4;
/// Shown under it after the change.
const ELSEWHERE: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 2);

pub(crate) async fn run(setting: &Setting) -> Result<Vec<Figure>> {
    let mut random = setting.random(5);
    let relay = Relay::open(random.fork()).await?;
    let world = World::behind(&relay).await?;
    // The component is on both devices before the weather turns: what is tried here is the work, not a download.
    let first = submit(world.cloud.client(), &on_both_sides(SIDES_LONG), "first").await?;
    world.cloud.succeeded(first).await?;
    relay.set(Weather {
        loss: 0.2,
        twice: 0.05,
        delay: Duration::from_millis(400),
        jitter: Duration::from_millis(200),
        cut: false,
    });
    let span = Duration::from_secs(setting.times(10, 60));
    let load = Load::start(world.cloud.client(), LANES, &mut random);
    for _ in 0..span.as_secs() / 5 {
        tokio::time::sleep(Duration::from_secs(5)).await;
        let (passed, lost) = relay.counts();
        setting.say(&format!(
            "{} runs have ended, {lost} of {} datagrams were lost",
            load.ended(),
            passed + lost
        ));
    }
    let load = load.finish(1).await?;
    let (passed, lost) = relay.counts();
    setting.say(&format!(
        "20% loss, 500 ms delay each way, reordering, duplicates: {} runs ended right, {lost} of {} datagrams were lost",
        load.runs,
        passed + lost
    ));
    relay.set(Weather::default());
    for name in crate::world::SIDES {
        world.cloud.connected(name).await?;
    }

    // In the middle of a run, the control plane sees both agents under other addresses.
    let client = world.cloud.client();
    let connections = connections(&world);
    let run = submit(client, &on_both_sides(SIDES_LONG), "moved").await?;
    let mut stream = client.events(run, 0);
    let (mut ended, mut moved, mut again) = (0, None, BTreeMap::new());
    while let Some(update) = stream.next().await {
        let Update::Event(event) = update? else { continue };
        ended += usize::from(event.kind == "ended");
        if ended == 10 && moved.is_none() {
            relay.move_to(ELSEWHERE).await?;
            moved = Some(now());
        }
        if let (Some(moved), Some(agent)) = (moved, &event.agent)
            && event.at >= moved
        {
            again.entry(agent.clone()).or_insert_with(|| now().since(moved).0);
        }
    }
    let (detail, events) = whole(client, run).await?;
    invariant::history(&events, &BTreeMap::new())?;
    ensure!(
        detail.tasks.iter().all(|task| task.attempts <= 1),
        "an attempt ran again: {}",
        eyot_scenarios::told(&detail)
    );
    ensure!(again.len() == 2, "news came from {again:?} alone after the change of address");
    let reconnects = self::connections(&world) - connections;
    let slowest = again.values().copied().max().unwrap_or_default();
    setting.say(&format!(
        "address changed in mid-run: news of both agents after {slowest} ms, {reconnects} reconnects"
    ));
    let addresses = world.cloud.client().agents().await?.len();
    ensure!(addresses == 2, "{addresses} agents");
    world.close()?;
    #[allow(clippy::cast_precision_loss)]
    Ok(vec![
        setting.count("runs", load.runs),
        setting.count("attempts", load.tally.attempts),
        setting.count("address-change.reconnects", reconnects),
        setting.figure("address-change.gap", slowest as f64, "ms", 2).wanted(1_000.0),
    ])
}

fn connections(world: &World) -> usize {
    world.cloud.said().lines().filter(|line| line.contains("agent connected")).count()
}

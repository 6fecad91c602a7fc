//! The cable of both devices is pulled in the middle of a run of 200 tasks that is split over them.

use crate::load::{now, submit, whole};
use crate::network::Network;
use crate::world::{SIDES, World};
use crate::{Figure, Setting, invariant};
use anyhow::{Result, ensure};
use eyot_model::api::{RunDetail, TaskView};
use eyot_model::{RunState, State, Value};
use eyot_scenarios::{told, until_within};
use std::collections::BTreeMap;
use std::time::Duration;

/// Items on each device; with the two tasks that need both, 200.
const ITEMS: usize = 99;
/// On each device at the same time.
const AT_ONCE: usize = 2;

/// Items on both, each a chain's first link; then tasks that need what the other device made.
fn workflow(work: Duration) -> String {
    let mut text = String::from(
        "apiVersion: eyot.dev/v1\nkind: Workflow\nmetadata: {name: cut, version: \"1\"}\nspec:\n  outputs: {answer: \"${{ tasks.last.outputs.echo }}\"}\n  tasks:\n",
    );
    for side in SIDES {
        text.push_str(&format!(
            "    {side}:\n      uses: scenarios/probe@1\n      forEach: {{items: range({ITEMS}), as: n, maxParallel: {AT_ONCE}}}\n      with: {{work_ms: {}, echo: \"${{{{ n }}}}\"}}\n      placement: {{where: \"agent.labels.name == '{side}'\"}}\n",
            work.as_millis()
        ));
    }
    // To and fro: each needs the one before, on the other device.
    let hops = [
        ("first", "left", "size(tasks.right.outputs)"),
        ("last", "right", "tasks.first.outputs.echo + size(tasks.left.outputs)"),
    ];
    for (name, side, echo) in hops {
        text.push_str(&format!(
            "    {name}:\n      uses: scenarios/probe@1\n      with: {{echo: \"${{{{ {echo} }}}}\"}}\n      placement: {{where: \"agent.labels.name == '{side}'\"}}\n"
        ));
    }
    text
}

pub(crate) async fn run(setting: &Setting) -> Result<Vec<Figure>> {
    let network = Network::make(&SIDES)?;
    let world = World::on(&network).await?;
    let client = world.cloud.client();
    let cut = Duration::from_secs(setting.times(14, 60));
    // What is left after the first tenth takes four fifths of the cut.
    #[allow(clippy::cast_possible_truncation)]
    let work = cut.mul_f64(0.8) * AT_ONCE as u32 / ITEMS as u32;
    let run = submit(client, &workflow(work), "cut").await?;
    let begun = |detail: &RunDetail| SIDES.iter().all(|side| ended(detail, side).count() >= ITEMS / 10);
    world.cloud.run_until(run, "is under way on both devices", begun).await?;

    network.plug(false)?;
    let (cut_at, waited) = (now(), tokio::time::Instant::now());
    setting.say(&format!("cut for {} s", cut.as_secs()));
    let shown = until_within(cut, "`eyot runs show` says that the tasks are disconnected", async || {
        let show = world.cloud.eyot()?.args(["runs", "show", &run.to_string()]).output()?;
        let text = String::from_utf8_lossy(&show.stdout).to_lowercase();
        Ok(text.contains("disconnected").then(|| now().since(cut_at)))
    });
    let shown = shown.await?;
    setting.say(&format!("shown as disconnected after {:.1} s", seconds(shown.0)));
    tokio::time::sleep_until(waited + cut).await;
    let before = client.run(run).await?;
    ensure!(before.run.state == RunState::Running, "{}", told(&before));

    let back = now();
    network.plug(true)?;
    world
        .cloud
        .run_until(run, "ends", |detail| detail.run.state == RunState::Succeeded)
        .await?;
    let (detail, events) = whole(client, run).await?;
    invariant::history(&events, &BTreeMap::new())?;
    let answer = i64::try_from(2 * ITEMS)?;
    ensure!(detail.outputs.get("answer") == Some(&Value::Int(answer)), "{:?}", detail.outputs);
    ensure!(
        detail.tasks.iter().all(|task| task.attempts <= 1),
        "something ran twice: {}",
        told(&detail)
    );
    let mut alone = 0;
    for side in SIDES {
        let late = ended(&detail, side).filter(|item| item.ended_at > Some(back)).count();
        ensure!(late == 0, "{side} had {late} items left when the link came back");
        let here = ended(&detail, side).filter(|item| item.ended_at > Some(cut_at)).count();
        ensure!(here > 0, "{side} did nothing while the link was cut");
        alone += here;
    }
    let end = detail.run.ended_at.unwrap_or_else(now).since(back);
    setting.say(&format!(
        "{alone} tasks ended while the link was cut; the run ended {} ms after its return",
        end.0
    ));
    world.close()?;
    Ok(vec![
        setting.count("ended-while-cut", alone),
        setting.figure("shown-disconnected-after", seconds(shown.0), "s", 1),
        setting
            .figure("end-after-return", seconds(end.0) * 1_000.0, "ms", 1)
            .wanted(2_000.0),
    ])
}

#[allow(clippy::cast_precision_loss)]
fn seconds(millis: u64) -> f64 {
    millis as f64 / 1_000.0
}

/// Items of a side that have succeeded.
fn ended<'a>(detail: &'a RunDetail, side: &'a str) -> impl Iterator<Item = &'a TaskView> {
    let is = move |task: &&TaskView| task.task == side && task.item.is_some() && task.state == State::Succeeded;
    detail.tasks.iter().filter(is)
}

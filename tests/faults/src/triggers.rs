//! A schedule and messages of a real broker start runs on a device that has never seen the control plane since they were set.

use crate::world::SIDES;
use crate::{Figure, Setting, invariant};
use anyhow::{Context, Result, ensure};
use eyot_model::api::RunView;
use eyot_model::{RunId, RunState, Value};
use eyot_scenarios::{Agent, Broker, Cloud, Stage, runs_of, until};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

fn workflow(name: &str, trigger: &str) -> String {
    format!(
        r#"
apiVersion: eyot.dev/v1
kind: Workflow
metadata: {{name: {name}, version: "1"}}
spec:
  triggers:
    - {trigger}
  inputs: {{word: {{type: any}}}}
  outputs: {{answer: "${{{{ tasks.only.outputs.echo }}}}"}}
  tasks:
    only:
      uses: scenarios/probe@1
      with: {{echo: "${{{{ inputs.word }}}}", work_ms: 50}}
      retry: {{maxAttempts: 5, initialInterval: 20ms}}
"#
    )
}

pub(crate) async fn run(setting: &Setting) -> Result<Vec<Figure>> {
    let messages = setting.times(10, 200);
    let kills = setting.times(1, 5);
    let mut random = setting.random(10);
    let stage = Stage::open()?;
    let broker = Broker::start(&stage).await?;
    let mut cloud = Cloud::start(&stage, "cloud").await?;
    let mut agent = Agent::join(&stage, SIDES[0], &cloud.invite().await?)?;
    // It joined, and from now on there is no control plane.
    cloud.stop()?;
    let settings = serde_json::json!({"brokers": {"local": {"host": "127.0.0.1", "port": broker.port()}}});
    std::fs::write(agent.data().join("triggers.json"), settings.to_string())?;
    agent.start()?;
    agent.answers().await?;
    agent.push_probe().await?;
    let schedule = r#"{schedule: {cron: "* * * * * *", timeZone: Asia/Shanghai}, inputs: {word: "${{ event.time }}"}}"#;
    agent.own(&workflow("ticks", schedule)).await?;
    let message = r#"{event: {source: mqtt, topic: "faults/+"}, inputs: {word: "${{ event.payload }}"}}"#;
    agent.own(&workflow("messages", message)).await?;
    agent.says(&["listening to the broker"]).await?;

    for n in 0..messages {
        broker.publish(&format!("faults/{}", n % 3), &n.to_string()).await?;
        tokio::time::sleep(Duration::from_millis(random.u64(0..100))).await;
        if (n + 1) % (messages / kills) == 0 {
            agent.kill()?;
            agent.start()?;
            agent.answers().await?;
        }
    }
    until("each message has started a run", async || {
        Ok((agent.runs_of("messages").await?.len() >= messages).then_some(()))
    })
    .await?;
    until("the schedule has fired three times", async || {
        Ok((agent.runs_of("ticks").await?.len() >= 3).then_some(()))
    })
    .await?;
    agent.ask(&["workflow", "rm", "ticks"]).await?;
    setting.say(&format!(
        "without a control plane {messages} messages were published and the agent was killed {kills} times"
    ));

    cloud.serve().await?;
    let mut told = BTreeMap::new();
    for name in ["messages", "ticks"] {
        let there = until("the control plane knows of all runs", async || {
            let here: BTreeSet<RunId> = ids(&agent.runs_of(name).await?);
            let there = runs_of(cloud.client(), name).await?;
            let ended = there.iter().all(|run| run.state.is_terminal());
            Ok((ended && ids(&there).is_superset(&here)).then_some(there))
        })
        .await?;
        ensure!(ids(&there).len() == there.len(), "a run of {name} is told twice");
        told.insert(name, there);
    }
    let mut words = Vec::new();
    for run in &told["messages"] {
        let (detail, events) = crate::load::whole(cloud.client(), run.id).await?;
        invariant::history(&events, &BTreeMap::new())?;
        ensure!(detail.run.state == RunState::Succeeded, "{}", eyot_scenarios::told(&detail));
        match detail.outputs.get("answer") {
            Some(Value::Int(n)) => words.push(*n),
            other => anyhow::bail!("a message came out as {other:?}"),
        }
    }
    words.sort_unstable();
    let published: Vec<i64> = (0..i64::try_from(messages)?).collect();
    ensure!(words == published, "messages 0 to {messages} started runs {words:?}");
    let mut instants = BTreeSet::new();
    for run in &told["ticks"] {
        let detail = cloud.client().run(run.id).await?;
        ensure!(detail.run.state == RunState::Succeeded, "{}", eyot_scenarios::told(&detail));
        let time = format!("{:?}", detail.outputs.get("answer").context("no answer")?);
        ensure!(instants.insert(time.clone()), "{time} fired twice");
    }
    setting.say(&format!(
        "{} messages and {} instants of a schedule started one run each, and the control plane knows them all",
        words.len(),
        instants.len()
    ));
    agent.must_live()?;
    cloud.must_live()?;
    drop((agent, cloud, broker));
    stage.close();
    Ok(vec![
        setting.count("messages", words.len()),
        setting.count("instants", instants.len()),
        setting.count("kills", kills),
    ])
}

fn ids(runs: &[RunView]) -> BTreeSet<RunId> {
    runs.iter().map(|run| run.id).collect()
}

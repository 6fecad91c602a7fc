//! Agents that coordinate runs of their own while there is no control plane in sight, and tell it of them later.

use crate::task;
use anyhow::{Context, Result, ensure};
use eyot_model::api::RunView;
use eyot_model::{RunId, RunState, State, Value};
use eyot_scenarios::{Agent, Broker, Cloud, Stage, runs_of, until, until_within};
use std::collections::BTreeSet;
use std::time::Duration;

const ECHO: &str = r#"
apiVersion: eyot.dev/v1
kind: Workflow
metadata: {name: echo, version: "1"}
spec:
  inputs:
    word: {type: any, default: hello}
    work: {type: integer, default: 0}
  outputs: {answer: "${{ tasks.second.outputs.echo }}"}
  tasks:
    first: {uses: scenarios/probe@1, with: {echo: "${{ inputs.word }}", work_ms: "${{ inputs.work }}"}}
    second: {uses: scenarios/probe@1, with: {echo: "${{ tasks.first.outputs.echo }}", work_ms: "${{ inputs.work }}"}}
"#;

const ENDLESS: &str = r#"
apiVersion: eyot.dev/v1
kind: Workflow
metadata: {name: endless, version: "1"}
spec:
  tasks:
    endless: {uses: scenarios/probe@1, with: {act: loop}}
"#;

/// An agent that has joined, whose control plane is gone again.
async fn alone(stage: &Stage) -> Result<(Cloud, Agent)> {
    let mut cloud = Cloud::start(stage, "cloud").await?;
    let agent = Agent::join(stage, "device", &cloud.invite().await?)?;
    cloud.stop()?;
    let agent = agent.run()?;
    agent.answers().await?;
    agent.push_probe().await?;
    Ok((cloud, agent))
}

fn last_id(printed: &str) -> Result<RunId> {
    let id = printed
        .split_whitespace()
        .find(|word| word.starts_with("r-"))
        .context("no run id was printed")?;
    Ok(id.parse()?)
}

/// The control plane is back: it lists each run once, all ended, with the agent that coordinated them.
async fn listed_once(cloud: &Cloud, agent: &Agent, workflow: &str) -> Result<Vec<RunView>> {
    let mine: BTreeSet<RunId> = agent.runs_of(workflow).await?.iter().map(|run| run.id).collect();
    let there = until(&format!("the control plane knows the runs of {workflow}"), async || {
        let there = runs_of(cloud.client(), workflow).await?;
        let ended = there.iter().filter(|run| run.state.is_terminal()).count();
        Ok((ended >= mine.len()).then_some(there))
    })
    .await?;
    let ids: BTreeSet<RunId> = there.iter().map(|run| run.id).collect();
    ensure!(ids.len() == there.len() && mine.is_subset(&ids), "{mine:?} became {ids:?}");
    for run in &there {
        ensure!(run.coordinator.as_deref() == Some("device") && run.namespace == "device", "{run:?}");
    }
    Ok(there)
}

#[tokio::test]
async fn runs_are_submitted_watched_cancelled_and_survive_kills_without_a_cloud_which_hears_of_each_once_later() -> Result<()> {
    let stage = Stage::open()?;
    let (mut cloud, mut agent) = alone(&stage).await?;
    let echo = stage.write("echo.yaml", ECHO)?;
    let endless = stage.write("endless.yaml", ENDLESS)?;
    let (echo, endless) = (echo.to_str().context("path")?, endless.to_str().context("path")?);

    // Submitted and watched to its end.
    let printed = agent.ask(&["-o", "json", "run", echo, "-i", "word=edge", "--wait"]).await?;
    ensure!(printed.contains("edge"), "{printed}");
    // What only a control plane has is refused with a reason.
    let mut agents = agent.eyot()?;
    agents.args(["agents", "ls"]);
    let refused = tokio::process::Command::from(agents).output().await?;
    ensure!(refused.status.code() == Some(2), "{refused:?}");

    // Cancelled in the middle.
    let run = last_id(&agent.ask(&["run", endless]).await?)?;
    let client = agent.client()?;
    until("the endless task runs", async || {
        let detail = client.run(run).await?;
        Ok((task(&detail, "endless")?.state == State::Running).then_some(()))
    })
    .await?;
    agent.ask(&["runs", "cancel", &run.to_string()]).await?;
    until("the run is cancelled", async || {
        Ok((client.run(run).await?.run.state == RunState::Cancelled).then_some(()))
    })
    .await?;

    // Killed in the middle, and gone on with.
    let run = last_id(&agent.ask(&["run", echo, "-i", "work=1500"]).await?)?;
    let seen = until("the first task runs", async || {
        let detail = agent.client()?.run(run).await?;
        Ok((task(&detail, "first")?.state == State::Running).then_some(detail))
    })
    .await?;
    ensure!(seen.run.state == RunState::Running);
    agent.kill()?;
    agent.start()?;
    agent.answers().await?;
    let detail = agent.own_succeeded(run).await?;
    ensure!(detail.outputs.get("answer") == Some(&Value::String("hello".into())), "{detail:?}");

    // All of it is still there after another kill, with the end that was shown.
    let before = agent.runs_of("echo").await?;
    agent.kill()?;
    agent.start()?;
    agent.answers().await?;
    ensure!(agent.runs_of("echo").await? == before, "runs changed over a restart");

    // The control plane comes back, hears of everything once, also over restarts of either side.
    cloud.serve().await?;
    let there = listed_once(&cloud, &agent, "echo").await?;
    ensure!(
        there.len() == 2 && there.iter().all(|run| run.state == RunState::Succeeded),
        "{there:?}"
    );
    ensure!(listed_once(&cloud, &agent, "endless").await?[0].state == RunState::Cancelled);
    let detail = cloud.client().run(run).await?;
    ensure!(task(&detail, "second")?.agent.as_deref() == Some("device"), "{detail:?}");
    cloud.kill()?;
    agent.kill()?;
    agent.start()?;
    cloud.serve().await?;
    cloud.connected("device").await?;
    ensure!(listed_once(&cloud, &agent, "echo").await?.len() == 2);

    // A run of the agent's own is cancelled from the control plane.
    let run = last_id(&agent.ask(&["run", endless]).await?)?;
    cloud
        .run_until(run, "is running there", |detail| detail.run.state == RunState::Running)
        .await?;
    cloud.client().cancel(run).await?;
    ensure!(cloud.ended(run).await?.run.state == RunState::Cancelled);
    agent.must_live()?;
    stage.close();
    Ok(())
}

/// Numbers of the segments of an agent's journal.
fn segments(agent: &Agent) -> Result<BTreeSet<String>> {
    let names = std::fs::read_dir(agent.data().join("journal"))?.map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned()));
    let names: Vec<String> = names.collect::<Result<_>>()?;
    Ok(names.into_iter().filter(|name| name.ends_with(".seg")).collect())
}

#[tokio::test]
async fn runs_and_workflows_of_an_agent_alone_outlive_its_database_and_are_told_once() -> Result<()> {
    let stage = Stage::open()?;
    let (mut cloud, mut agent) = alone(&stage).await?;
    let echo = stage.write("echo.yaml", ECHO)?;
    let echo = echo.to_str().context("path")?;
    agent.own(ECHO).await?;
    let mut mine = BTreeSet::new();
    for n in 0..4 {
        let word = format!("word=n{n}");
        let run = last_id(&agent.ask(&["run", echo, "-i", &word]).await?)?;
        agent.own_succeeded(run).await?;
        mine.insert(run);
    }
    // Folded into the database, and the segments that had it first are dropped.
    let first = segments(&agent)?;
    until_within(Duration::from_secs(60), "the first segments are dropped", async || {
        agent.stop()?;
        agent.start()?;
        agent.answers().await?;
        let run = last_id(&agent.ask(&["run", echo]).await?)?;
        agent.own_succeeded(run).await?;
        mine.insert(run);
        Ok(segments(&agent)?.is_disjoint(&first).then_some(()))
    })
    .await?;
    let mut before = agent.runs_of("echo").await?;
    ensure!(before.len() == mine.len(), "{before:?}");
    let database = agent.data().join("checkpoint");
    for lost in ["a bit in each file", "all of it"] {
        agent.stop()?;
        if lost == "all of it" {
            std::fs::remove_dir_all(&database)?;
        } else {
            for entry in std::fs::read_dir(&database)? {
                let path = entry?.path();
                if path.is_file() {
                    let mut bytes = std::fs::read(&path)?;
                    let at = bytes.len() / 2;
                    bytes.get_mut(at).into_iter().for_each(|byte| *byte ^= 4);
                    std::fs::write(&path, bytes)?;
                }
            }
        }
        agent.start()?;
        agent.answers().await?;
        ensure!(agent.runs_of("echo").await? == before, "runs changed with {lost} lost");
        let owned = agent.ask(&["-o", "json", "workflow", "ls"]).await?;
        ensure!(owned.contains("echo"), "with {lost} lost: {owned}");
        // By its name, with the component that was pushed here.
        let run = last_id(&agent.ask(&["run", "echo"]).await?)?;
        agent.own_succeeded(run).await?;
        mine.insert(run);
        before = agent.runs_of("echo").await?;
    }
    cloud.serve().await?;
    let there = listed_once(&cloud, &agent, "echo").await?;
    let ids: BTreeSet<RunId> = there.iter().map(|run| run.id).collect();
    ensure!(
        ids.is_superset(&mine) && there.iter().all(|run| run.state == RunState::Succeeded),
        "{there:?}"
    );
    for run in &mine {
        let (here, there) = (agent.client()?.run(*run).await?, cloud.client().run(*run).await?);
        ensure!(
            here.outputs == there.outputs && here.tasks == there.tasks,
            "{here:?} became {there:?}"
        );
    }
    agent.must_live()?;
    stage.close();
    Ok(())
}

#[tokio::test]
async fn triggers_fire_on_an_agent_that_sees_no_cloud_each_once() -> Result<()> {
    let stage = Stage::open()?;
    let (mut cloud, mut agent) = alone(&stage).await?;
    let mut broker = Broker::start(&stage).await?;
    let inbox = stage.path("inbox");
    std::fs::create_dir_all(&inbox)?;
    let settings = serde_json::json!({
        "brokers": {"local": {"host": "127.0.0.1", "port": broker.port()}},
        "folders": [inbox.as_path()],
    });
    std::fs::write(agent.data().join("triggers.json"), settings.to_string())?;
    let workflow = |name: &str, trigger: &str| {
        ECHO.replace("name: echo", &format!("name: {name}"))
            .replace("spec:\n", &format!("spec:\n  triggers:\n    - {trigger}\n"))
    };

    // Every second, as the clock has it.
    agent
        .own(&workflow(
            "ticks",
            r#"{schedule: {cron: "* * * * * *", timeZone: Asia/Shanghai}, inputs: {word: "${{ event.time }}"}}"#,
        ))
        .await?;
    until("the schedule has fired three times", async || {
        Ok((agent.runs_of("ticks").await?.len() >= 3).then_some(()))
    })
    .await?;
    let ticks = agent.runs_of("ticks").await?;
    let first = agent.own_succeeded(ticks[0].id).await?;
    ensure!(
        matches!(first.inputs.get("word"), Some(Value::String(time)) if time.ends_with("+08:00")),
        "{:?}",
        first.inputs
    );
    agent.ask(&["workflow", "rm", "ticks"]).await?;
    let instants: BTreeSet<u128> = ticks.iter().map(|run| run.id.0 >> 80).collect();
    ensure!(instants.len() == ticks.len(), "an instant fired twice: {ticks:?}");

    // A file that appears, one that is there since before a restart, and one that the pattern leaves out.
    let trigger = format!(
        r#"{{file: {{path: "{}/*.txt", settle: 200ms}}, inputs: {{word: "${{{{ event.name }}}}"}}}}"#,
        inbox.display()
    );
    agent.own(&workflow("files", &trigger)).await?;
    std::fs::write(inbox.join("a.txt"), "a")?;
    std::fs::write(inbox.join("b.part"), "b")?;
    until("the file has fired", async || {
        Ok((!agent.runs_of("files").await?.is_empty()).then_some(()))
    })
    .await?;

    // Messages: one that is left out by the filter, then three that are not.
    agent
        .own(&workflow(
            "messages",
            r#"{event: {source: mqtt, topic: "line/+/batch", filter: "event.payload.count > 100"}, inputs: {word: "${{ event.payload.count }}"}}"#,
        ))
        .await?;
    agent.says(&["listening to the broker"]).await?;
    for count in [7, 101, 101, 102] {
        broker.publish("line/4/batch", &format!("{{\"count\": {count}}}")).await?;
    }
    until("three messages have fired", async || {
        Ok((agent.runs_of("messages").await?.len() == 3).then_some(()))
    })
    .await?;

    // What comes while the agent is down waits at the broker and in the folder; nothing of before fires again.
    agent.kill()?;
    std::fs::write(inbox.join("c.txt"), "c")?;
    broker.publish("line/4/batch", "{\"count\": 200}").await?;
    broker.stop()?;
    broker.serve().await?;
    agent.start()?;
    agent.answers().await?;
    until("what waited has fired", async || {
        let (files, messages) = (agent.runs_of("files").await?, agent.runs_of("messages").await?);
        Ok((files.len() == 2 && messages.len() == 4).then_some(()))
    })
    .await?;
    let mut words = BTreeSet::new();
    for run in agent.runs_of("files").await? {
        let detail = agent.own_succeeded(run.id).await?;
        words.insert(format!("{:?}", detail.outputs.get("answer")));
    }
    ensure!(words.len() == 2, "{words:?}");

    cloud.serve().await?;
    for name in ["ticks", "files", "messages"] {
        listed_once(&cloud, &agent, name).await?;
    }
    ensure!(agent.runs_of("files").await?.len() == 2 && agent.runs_of("messages").await?.len() == 4);
    agent.must_live()?;
    stage.close();
    Ok(())
}

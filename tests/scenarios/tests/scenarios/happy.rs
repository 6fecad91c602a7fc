//! A workflow over two devices that it chooses by their labels.

use crate::{items, task};
use anyhow::{Result, ensure};
use eyot_model::{Inputs, State, Value};
use eyot_scenarios::{Cloud, Stage};

const WORKFLOW: &str = r#"
apiVersion: eyot.dev/v1
kind: Workflow
metadata: {name: two-places, version: "1"}
spec:
  inputs: {word: {type: string}}
  outputs:
    joined: "${{ tasks.join.outputs.echo }}"
    each: "${{ tasks.each.outputs.map(o, o.echo) }}"
  tasks:
    left:
      uses: scenarios/probe@1
      with: {echo: "${{ inputs.word }} on the left"}
      placement: {where: "agent.labels.name == 'left'"}
    right:
      uses: scenarios/probe@1
      with: {echo: "${{ inputs.word }} on the right"}
      placement: {where: "agent.labels.name == 'right'"}
    each:
      uses: scenarios/probe@1
      forEach: {items: "[1, 2, 3]", as: n}
      with: {echo: "${{ n * 10 }}"}
      placement: {where: "agent.labels.name == 'left'"}
    never:
      needs: [left]
      when: "tasks.left.outputs.echo == 'something else'"
      uses: scenarios/probe@1
      placement: {where: "agent.labels.name == 'left'"}
    join:
      uses: scenarios/probe@1
      with: {echo: ["${{ tasks.left.outputs.echo }}", "${{ tasks.right.outputs.echo }}"]}
      placement: {where: "agent.labels.name == 'right'"}
"#;

#[tokio::test]
async fn two_agents_run_a_workflow_by_their_labels() -> Result<()> {
    let stage = Stage::open()?;
    let cloud = Cloud::start(&stage, "cloud").await?;
    let _left = cloud.agent(&stage, "left").await?;
    let _right = cloud.agent(&stage, "right").await?;
    cloud.push_probe().await?;

    let inputs = Inputs::from([("word".to_owned(), Value::String("hello".to_owned()))]);
    let run = cloud.submit(WORKFLOW, inputs).await?;
    let detail = cloud.succeeded(run).await?;

    let text = |text: &str| Value::String(text.to_owned());
    let joined = Value::List(vec![text("hello on the left"), text("hello on the right")]);
    let each = Value::List([10, 20, 30].map(Value::Int).to_vec());
    ensure!(detail.outputs.get("joined") == Some(&joined), "{:?}", detail.outputs);
    ensure!(detail.outputs.get("each") == Some(&each), "{:?}", detail.outputs);

    for (name, agent) in [("left", "left"), ("right", "right"), ("join", "right")] {
        let task = task(&detail, name)?;
        ensure!(task.state == State::Succeeded && task.attempts == 1, "{task:?}");
        ensure!(task.agent.as_deref() == Some(agent), "{task:?}");
    }
    ensure!(task(&detail, "never")?.state == State::Skipped, "{:?}", task(&detail, "never")?);
    let each = items(&detail, "each");
    ensure!(each.len() == 3, "{each:?}");
    ensure!(each.iter().all(|item| item.agent.as_deref() == Some("left")), "{each:?}");
    let owners: Vec<&str> = detail
        .fragments
        .iter()
        .filter_map(|fragment| fragment.agent_name.as_deref())
        .collect();
    ensure!(owners.contains(&"left") && owners.contains(&"right"), "{owners:?}");
    stage.close();
    Ok(())
}

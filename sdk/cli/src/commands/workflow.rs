//! `eyot workflow push|ls|show`

use crate::args::WorkflowCommand;
use crate::config::Connection;
use crate::exit::{Fault, Outcome};
use crate::human;
use crate::output::Output;
use crate::paint::{Paint, clean};
use crate::source::{self, WorkflowFile};
use crate::table::{Align, Table, cell};
use eyot_model::api::{DeploymentView, WorkflowView};

pub(crate) async fn workflow(to: &Connection, command: WorkflowCommand, output: Output) -> Outcome {
    let client = to.client()?;
    match command {
        WorkflowCommand::Push { file } => {
            let file = WorkflowFile::read(&file)?;
            file.check(&output)?;
            let source = file.upload(&client, &output).await.map_err(|fault| file.explain(fault, &output))?;
            let stored = match client.push_workflow(&source).await {
                Ok(stored) => stored,
                Err(error) => return Err(file.explain(error.into(), &output)),
            };
            if output.is_json() {
                return output.json(&stored);
            }
            for warning in &stored.warnings {
                output.note(format!("warning: {}", clean(warning)));
            }
            output.note("stored as");
            output.line(format!("{}/{}@{}", stored.namespace, stored.name, stored.version))
        }
        WorkflowCommand::Ls => output.show(&client.workflows().await?, |list, paint| table(list, paint)),
        WorkflowCommand::Deploy { workflow, to: agent } => {
            to.cloud_only("deploy workflows to agents")?;
            let view = client.deploy(&agent, &workflow).await?;
            if output.is_json() {
                return output.json(&view);
            }
            output.note(format!("{agent} gets it now, or when it comes back"));
            output.line(format!("{}/{}@{}", view.namespace, view.name, view.version))
        }
        WorkflowCommand::Undeploy { workflow, from } => {
            to.cloud_only("deploy workflows to agents")?;
            let (namespace, name, _) = source::parse_ref(&workflow);
            client.undeploy(&from, namespace, name).await?;
            if output.is_json() {
                return output.json(&serde_json::json!({"workflow": workflow, "agent": from, "ok": true}));
            }
            output.note(format!("{from} is told that it owns {workflow} no more"));
            Ok(())
        }
        WorkflowCommand::Deployed { agent } => {
            to.cloud_only("deploy workflows to agents")?;
            output.show(&client.deployments(&agent).await?, |list, paint| deployed(list, paint))
        }
        WorkflowCommand::Rm { workflow } => {
            if to.agent.is_none() {
                return Err(
                    Fault::usage("a control plane keeps the workflows that it stores; `workflow rm` is for an agent")
                        .help("say which agent, before the command: `eyot --agent workflow rm NAME`"),
                );
            }
            let (namespace, name, _) = source::parse_ref(&workflow);
            client.remove_workflow(namespace, name).await?;
            if output.is_json() {
                return output.json(&serde_json::json!({"workflow": workflow, "ok": true}));
            }
            output.note(format!("{workflow} starts no runs here any more"));
            Ok(())
        }
        WorkflowCommand::Show { workflow } => {
            let (namespace, name, version) = source::parse_ref(&workflow);
            let view = client.workflow(namespace, name, version).await?;
            if output.is_json() {
                return output.json(&view);
            }
            match &view.text {
                Some(text) => output.text(clean(text)),
                None => Err(Fault::local("the control plane gave no text")),
            }
        }
    }
}

fn table(list: &[WorkflowView], paint: Paint) -> String {
    let mut table = Table::new(&[
        ("WORKFLOW", Align::Left),
        ("VERSION", Align::Left),
        ("TASKS", Align::Right),
        ("STORED", Align::Left),
    ]);
    for view in list {
        table.row(vec![
            cell(&format!("{}/{}", view.namespace, view.name), 80),
            cell(&view.version, 32),
            view.tasks.to_string(),
            human::age(view.stored_at, human::now()),
        ]);
    }
    if table.is_empty() { String::new() } else { table.render(paint, "") }
}

fn deployed(list: &[DeploymentView], paint: Paint) -> String {
    let mut table = Table::new(&[
        ("WORKFLOW", Align::Left),
        ("VERSION", Align::Left),
        ("STATE", Align::Left),
        ("", Align::Left),
    ]);
    for view in list {
        table.row(vec![
            cell(&format!("{}/{}", view.namespace, view.name), 80),
            cell(&view.version, 32),
            cell(&view.state, 16),
            view.refused.as_deref().map(|why| cell(why, 60)).unwrap_or_default(),
        ]);
    }
    if table.is_empty() { String::new() } else { table.render(paint, "") }
}

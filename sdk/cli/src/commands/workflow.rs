//! `eyot workflow push|ls|show`

use crate::args::WorkflowCommand;
use crate::config::Connection;
use crate::exit::{Fault, Outcome};
use crate::human;
use crate::output::Output;
use crate::paint::{Paint, clean};
use crate::source::{self, WorkflowFile};
use crate::table::{Align, Table, cell};
use eyot_model::api::WorkflowView;

pub(crate) async fn workflow(to: &Connection, command: WorkflowCommand, output: Output) -> Outcome {
    let client = to.client()?;
    match command {
        WorkflowCommand::Push { file } => {
            let file = WorkflowFile::read(&file)?;
            file.check(&output)?;
            let source = file.upload(&client, &output).await?;
            let stored = match client.push_workflow(&source).await {
                Ok(stored) => stored,
                Err(error) => return Err(file.explain(error.into(), &output)),
            };
            if output.is_json() {
                return output.json(&stored);
            }
            output.note("stored as");
            output.line(format!("{}/{}@{}", stored.namespace, stored.name, stored.version))
        }
        WorkflowCommand::Ls => output.show(&client.workflows().await?, |list, paint| table(list, paint)),
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

//! `eyot runs resolve`: what became of an attempt whose end nobody knows.

use crate::args::ResolveArgs;
use crate::exit::{Exit, Fault, Outcome};
use crate::output::Output;
use crate::{inputs, source};
use eyot_client::Client;
use eyot_model::api::{ResolutionView, ResolveRequest, TaskView};
use eyot_model::{Outputs, RunId, State};
use std::time::{Duration, Instant};

/// How long the task's agent is waited for: it decides, and it may be busy.
const PATIENCE: Duration = Duration::from_secs(30);

pub(crate) async fn resolve(client: &Client, id: RunId, args: ResolveArgs, output: &Output) -> Outcome {
    let (task, item) = place(&args.task)?;
    let resolution = match (args.succeeded, args.failed) {
        (true, _) => ResolutionView::Succeeded,
        (_, true) => ResolutionView::Failed,
        _ => ResolutionView::Retry,
    };
    let outputs: Outputs = source::send_inputs(client, inputs::collect(&args.values, None, None)?, output).await?;
    let request = ResolveRequest {
        task: task.clone(),
        item,
        resolution,
        outputs,
        by: std::env::var("USER").ok().filter(|user| !user.is_empty()),
    };
    client.resolve(id, &request).await?;
    let begun = Instant::now();
    loop {
        let run = client.run(id).await?;
        let found = run.tasks.iter().find(|t| t.task == task && t.item == item);
        if found.is_none_or(|t| t.state != State::Waiting) {
            return said(found, &args.task, output);
        }
        if begun.elapsed() > PATIENCE {
            let error = anyhow::anyhow!("the agent of task `{}` was told and has not answered yet", args.task);
            let fault = Fault::new(Exit::TimedOut, "run.not-answered", error);
            return Err(fault.help(format!(
                "`eyot runs show {id}` tells when the wait is over; to say it again does no harm"
            )));
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

fn said(task: Option<&TaskView>, name: &str, output: &Output) -> Outcome {
    if output.is_json() {
        return output.json(&task);
    }
    let state = task.map_or("not there any more", |task| task.state.as_str());
    output.note(format!("task `{name}` is {state}"));
    Ok(())
}

/// `TASK` or `TASK/ITEM`.
fn place(text: &str) -> Outcome<(String, Option<u32>)> {
    match text.split_once('/') {
        None => Ok((text.to_owned(), None)),
        Some((task, item)) => item
            .parse()
            .map(|item| (task.to_owned(), Some(item)))
            .map_err(|_| Fault::usage(format!("`{item}` is no number of an item; write TASK/ITEM"))),
    }
}

#[cfg(test)]
mod tests {
    use super::place;

    #[test]
    fn a_task_or_one_item_of_it() {
        assert_eq!(place("pay").ok(), Some(("pay".to_owned(), None)));
        assert_eq!(place("pay/7").ok(), Some(("pay".to_owned(), Some(7))));
        assert!(place("pay/x").is_err());
    }
}

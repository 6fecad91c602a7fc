//! `eyot run`, and waiting for a run.

use crate::args::{RunArgs, WorkflowArgs};
use crate::config::Connection;
use crate::exit::{Exit, Fault, Outcome};
use crate::output::Output;
use crate::paint::clean;
use crate::source::{self, Named};
use crate::table::cell;
use crate::{human, inputs, progress};
use eyot_client::Client;
use eyot_model::api::{RunDetail, RunRequest};
use eyot_model::{Millis, Outputs, RunId, RunState, Value};
use std::path::Path;

/// Most failures that are told one by one.
const MOST_FAILURES: usize = 10;

pub(crate) async fn run(to: &Connection, args: RunArgs, output: Output) -> Outcome {
    let client = to.client()?;
    let (named, mut request) = request(&client, &args.workflow, &output).await?;
    request.idempotency_key = Some(match args.idempotency_key {
        Some(key) => key,
        None => random_key()?,
    });
    let run = match client.start(&request).await {
        Ok(run) => run,
        Err(error) => return Err(named.explain(error.into(), &output)),
    };
    if !args.wait {
        if output.is_json() {
            return output.json(&run);
        }
        output.note(format!("started; `eyot runs wait {}` follows it", run.id));
        return output.line(run.id.to_string());
    }
    output.note(format!(
        "{} {}/{}@{}",
        output.note_paint.bold(&run.id.to_string()),
        run.namespace,
        run.workflow,
        run.version
    ));
    wait(
        &client,
        run.id,
        Waiting {
            timeout: args.timeout,
            verbose: args.verbose,
            save: args.save.as_deref(),
        },
        &output,
    )
    .await
}

/// The request that `run` and `plan` make, its files uploaded.
pub(crate) async fn request(client: &Client, args: &WorkflowArgs, output: &Output) -> Outcome<(Named, RunRequest)> {
    let named = Named::find(&args.workflow)?;
    if let Named::File(file) = &named {
        file.check(output)?;
    }
    let types = named.input_types(client).await?;
    let pending = inputs::collect(&args.inputs, args.inputs_file.as_deref(), types.as_ref())?;
    let workflow = named.choice(client, output).await?;
    let inputs = source::send_inputs(client, pending, output).await?;
    let request = RunRequest {
        workflow,
        inputs,
        idempotency_key: None,
    };
    Ok((named, request))
}

fn random_key() -> Outcome<String> {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes).map_err(|error| Fault::local(format!("no random bytes: {error}")))?;
    Ok(format!("cli-{:032x}", u128::from_le_bytes(bytes)))
}

/// How to wait.
pub(crate) struct Waiting<'a> {
    pub(crate) timeout: Option<Millis>,
    pub(crate) verbose: bool,
    pub(crate) save: Option<&'a Path>,
}

/// Follows a run to its end, prints what came out, and gives the exit code of its state.
pub(crate) async fn wait(client: &Client, id: RunId, how: Waiting<'_>, output: &Output) -> Outcome {
    let run = client.run(id).await?;
    let still_running = |exit| {
        output.warn(format!(
            "the run goes on; `eyot runs wait {id}` follows it, `eyot runs cancel {id}` stops it"
        ));
        Err(Fault::silent(exit))
    };
    let limit = how.timeout.map_or(std::time::Duration::MAX, Millis::as_duration);
    let followed = progress::follow(client, client.events(id, 0), &run, output, how.verbose);
    tokio::select! {
        ended = followed => drop(ended?),
        () = tokio::time::sleep(limit) => {
            return still_running(Exit::TimedOut);
        }
        _ = tokio::signal::ctrl_c() => {
            return still_running(Exit::Interrupted);
        }
    }
    let run = client.run(id).await?;
    if let Some(folder) = how.save {
        save(client, &run.outputs, folder, output).await?;
    }
    finish(&run, output)?;
    match run.run.state {
        RunState::Succeeded => Ok(()),
        RunState::Cancelled => Err(Fault::silent(Exit::Cancelled)),
        _ => Err(Fault::silent(Exit::RunFailed)),
    }
}

/// Results to standard output, the story to standard error.
fn finish(run: &RunDetail, output: &Output) -> Outcome {
    if output.is_json() {
        return output.json(run);
    }
    let paint = output.note_paint;
    let took = run.run.ended_at.map(|end| human::duration(end.since(run.run.created_at)));
    let failed: Vec<_> = run.tasks.iter().filter(|t| t.failure.is_some() && t.state.is_failure()).collect();
    for task in failed.iter().take(MOST_FAILURES) {
        let name = match task.item {
            Some(item) => format!("{}[{item}]", task.task),
            None => task.task.clone(),
        };
        let on = task.agent.as_ref().map(|a| format!(" on {}", cell(a, 40))).unwrap_or_default();
        let why = task.failure.as_ref().map(ToString::to_string).unwrap_or_default();
        output.note(format!("  {} {}{on}: {}", paint.red("✗"), cell(&name, 80), cell(&why, 500)));
    }
    if failed.len() > MOST_FAILURES {
        output.note(format!(
            "  … and {} more: `eyot runs show {} --all`",
            failed.len() - MOST_FAILURES,
            run.run.id
        ));
    }
    let mut line = format!("{} in {}", paint.state(run.run.state.as_str()), took.as_deref().unwrap_or("?"));
    if let Some(failure) = &run.run.failure {
        line.push_str(&format!(": {}", cell(&failure.to_string(), 500)));
    }
    let agents: std::collections::BTreeSet<&str> = run.tasks.iter().filter_map(|t| t.agent.as_deref()).collect();
    if !agents.is_empty() {
        let agents: Vec<String> = agents.iter().take(8).map(|a| cell(a, 40)).collect();
        line.push_str(&paint.dim(&format!(
            " · {} on {}",
            human::count(run.run.counts.values().sum::<u32>() as usize, "task", "tasks"),
            agents.join(", ")
        )));
    }
    output.note(line);
    outputs(&run.outputs, output)
}

/// Outputs for people: text as text, everything else as JSON.
pub(crate) fn outputs(outputs: &Outputs, output: &Output) -> Outcome {
    for (name, value) in outputs {
        let shown = match value {
            Value::String(text) => clean(text),
            Value::Blob(blob) => format!("{} ({})", blob.digest, human::bytes(blob.size)),
            other => serde_json::to_string_pretty(&other.to_json()).map_err(anyhow::Error::new)?,
        };
        let name = output.paint.bold(&cell(name, 80));
        if shown.contains('\n') {
            output.line(format!("{name}:\n{}", shown.trim_end()))?;
        } else {
            output.line(format!("{name}: {shown}"))?;
        }
    }
    Ok(())
}

/// One file for each output: `.txt` for text, `.json` for data, the bytes themselves for blobs.
async fn save(client: &Client, outputs: &Outputs, folder: &Path, output: &Output) -> Outcome {
    let failed = |path: &Path, error| crate::config::file_fault("write", path, error);
    std::fs::create_dir_all(folder).map_err(|e| failed(folder, e))?;
    for (name, value) in outputs {
        // The name comes from elsewhere: it must not lead out of the folder.
        let safe: String = name
            .chars()
            .map(|c| if c.is_alphanumeric() || "._-".contains(c) { c } else { '_' })
            .collect();
        let safe = safe.trim_start_matches('.');
        let path = match value {
            Value::Blob(blob) => {
                let path = folder.join(safe);
                client.download(&blob.digest, &path, None).await?;
                path
            }
            Value::String(text) => {
                let path = folder.join(format!("{safe}.txt"));
                std::fs::write(&path, text).map_err(|e| failed(&path, e))?;
                path
            }
            other => {
                let path = folder.join(format!("{safe}.json"));
                let text = serde_json::to_string_pretty(&other.to_json()).map_err(anyhow::Error::new)?;
                std::fs::write(&path, text + "\n").map_err(|e| failed(&path, e))?;
                path
            }
        };
        output.note(format!("wrote {}", path.display()));
    }
    Ok(())
}

//! `eyot runs …`

use super::run::{Waiting, wait};
use super::show;
use crate::args::RunsCommand;
use crate::config::Connection;
use crate::exit::{Exit, Fault, Outcome};
use crate::human;
use crate::output::Output;
use crate::paint::{Paint, clean};
use crate::table::{Align, Table, cell};
use eyot_client::{Client, RunFilter};
use eyot_model::api::{LogLine, ReassignRequest, RunView};
use eyot_model::{RunId, RunState, State};
use jiff::tz::TimeZone;
use std::collections::BTreeSet;
use std::time::Duration;

pub(crate) async fn runs(to: &Connection, command: RunsCommand, output: Output) -> Outcome {
    let client = to.client()?;
    match command {
        RunsCommand::Ls { state, limit, after } => {
            let filter = RunFilter {
                state,
                limit: Some(limit),
                after,
            };
            let page = client.runs(&filter).await?;
            if let Some(next) = &page.next {
                output.note(format!("more: --after {next}"));
            }
            output.show(&page, |page, paint| list(&page.items, paint, output.columns()))
        }
        RunsCommand::Show { run, all } => {
            let run = client.run(find(&client, &run).await?).await?;
            if output.is_json() {
                return output.json(&run);
            }
            output.text(show::run(&run, all, output.paint))?;
            super::run::outputs(&run.outputs, &output)
        }
        RunsCommand::Logs { run, task, follow } => {
            let id = find(&client, &run).await?;
            logs(&client, id, task.as_deref(), follow, &output).await
        }
        RunsCommand::Wait { run, timeout } => {
            let id = find(&client, &run).await?;
            let how = Waiting {
                timeout,
                verbose: false,
                save: None,
            };
            wait(&client, id, how, &output).await
        }
        RunsCommand::Cancel { run } => {
            let id = find(&client, &run).await?;
            let before = client.run(id).await?.run.state;
            client.cancel(id).await?;
            if output.is_json() {
                return output.json(&client.run(id).await?.run);
            }
            output.note(match before {
                RunState::Cancelled => format!("{id} was cancelled before"),
                RunState::Cancelling => format!("{id} was asked to stop before, and has not stopped yet"),
                _ => format!("asked {id} to stop"),
            });
            Ok(())
        }
        RunsCommand::Resolve(args) => {
            let id = find(&client, &args.run).await?;
            super::resolve::resolve(&client, id, args, &output).await
        }
        RunsCommand::Rm { run } => {
            if to.agent.is_none() {
                return Err(Fault::usage("a control plane lets go of runs by itself; `runs rm` is for an agent")
                    .help("say which agent, before the command: `eyot --agent runs rm RUN`"));
            }
            let id = find(&client, &run).await?;
            client.remove_run(id).await?;
            if output.is_json() {
                return output.json(&serde_json::json!({"run": id, "ok": true}));
            }
            output.note(format!("dropped {id}: only this device had it"));
            Ok(())
        }
        RunsCommand::Reassign { run, agent, fragment } => {
            let id = find(&client, &run).await?;
            let taken = client.reassign(id, &ReassignRequest { agent, fragment }).await?;
            if output.is_json() {
                return output.json(&taken);
            }
            let fragments: Vec<String> = taken.fragments.iter().map(|f| f.0.to_string()).collect();
            let word = if fragments.len() == 1 { "fragment" } else { "fragments" };
            output.note(format!("took {word} {} of {id} from their agents", fragments.join(", ")));
            Ok(())
        }
    }
}

/// A run by its id, the beginning of one, or `last`.
async fn find(client: &Client, text: &str) -> Outcome<RunId> {
    if let Ok(id) = text.parse() {
        return Ok(id);
    }
    let none = |message: String| Fault::new(Exit::Refused, "run.not-found", anyhow::anyhow!(message));
    let filter = |limit| RunFilter {
        limit: Some(limit),
        ..RunFilter::default()
    };
    if text == "last" {
        let newest = client.runs(&filter(1)).await?.items.into_iter().next();
        return newest.map(|run| run.id).ok_or_else(|| none("there is no run yet".to_owned()));
    }
    let short = text.strip_prefix("r-").unwrap_or(text);
    if short.len() < 4 || !short.bytes().all(|b| b.is_ascii_hexdigit()) {
        return Err(Fault::usage(format!(
            "`{text}` is no run id; give `r-…`, the beginning of one, or `last`"
        )));
    }
    let recent = client.runs(&filter(200)).await?.items;
    let fitting: Vec<RunId> = recent
        .iter()
        .map(|r| r.id)
        .filter(|id| id.to_string().starts_with(&format!("r-{short}")))
        .collect();
    match fitting.as_slice() {
        [] => Err(none(format!("none of the last {} runs begins with `{text}`", recent.len()))),
        [one] => Ok(*one),
        many => Err(Fault::usage(format!(
            "{} runs begin with `{text}`; give more of the id",
            many.len()
        ))),
    }
}

fn list(runs: &[RunView], paint: Paint, columns: Option<usize>) -> String {
    let mut table = Table::new(&[
        ("RUN", Align::Left),
        ("WORKFLOW", Align::Left),
        ("STATE", Align::Left),
        ("TASKS", Align::Right),
        ("STARTED", Align::Left),
        ("TOOK", Align::Right),
        ("BY", Align::Left),
        ("", Align::Left),
    ]);
    let now = human::now();
    for run in runs {
        let all: u32 = run.counts.values().sum();
        let ended: u32 = run.counts.iter().filter(|(state, _)| state.is_terminal()).map(|(_, n)| n).sum();
        let cancelled = run.counts.get(&State::Cancelled).copied().unwrap_or(0);
        let failed: u32 = run
            .counts
            .iter()
            .filter(|(state, _)| state.is_failure())
            .map(|(_, n)| n)
            .sum::<u32>()
            - cancelled;
        let mut word = String::new();
        if let Some(failure) = &run.failure {
            word = cell(&failure.to_string(), 60);
        } else if let Some(waiting) = &run.waiting_for {
            word = cell(waiting, 60);
        } else if failed > 0 {
            word = format!("{failed} failed");
        } else if cancelled > 0 {
            word = format!("{cancelled} cancelled");
        }
        table.row(vec![
            run.id.to_string(),
            cell(&format!("{}/{}@{}", run.namespace, run.workflow, run.version), 48),
            paint.state(run.state.as_str()),
            format!("{ended}/{all}"),
            human::age(run.created_at, now),
            human::duration(run.ended_at.unwrap_or(now).since(run.created_at)),
            run.coordinator.as_deref().map(|agent| cell(agent, 32)).unwrap_or_default(),
            word,
        ]);
    }
    if table.is_empty() {
        return String::new();
    }
    let ids: Vec<String> = runs.iter().map(|run| run.id.to_string()).collect();
    let length = telling(&ids);
    let table = table.narrow(columns, |id| id.chars().take(length).collect());
    // Least is lost with the end of a version; `runs show` has all of it.
    let table = table.fit(columns, &[("WORKFLOW", 16), ("BY", 8), ("", 16)], &["TOOK", "BY", "STARTED"]);
    table.render(paint, "")
}

/// So many characters of each id tell it from the others, and it from those that will soon be there.
fn telling(ids: &[String]) -> usize {
    const LEAST: usize = 14;
    let longest = ids.iter().map(String::len).max().unwrap_or(0);
    let apart = |length: usize| ids.iter().map(|id| &id[..length.min(id.len())]).collect::<BTreeSet<_>>().len() == ids.len();
    (LEAST..longest).find(|length| apart(*length)).unwrap_or(longest)
}

async fn logs(client: &Client, id: RunId, task: Option<&str>, follow: bool, output: &Output) -> Outcome {
    if let Some(task) = task {
        let known: BTreeSet<String> = client.run(id).await?.tasks.into_iter().map(|t| t.task).collect();
        if !known.contains(task) {
            let names: Vec<&str> = known.iter().take(12).map(String::as_str).collect();
            let fault = Fault::new(Exit::Refused, "run.no-task", anyhow::anyhow!("the run has no task `{task}`"));
            return Err(fault.help(format!("its tasks: {}", names.join(", "))));
        }
    }
    let mut all = Vec::new();
    let mut after: Option<String> = None;
    // Lines of the page at `after` that were shown: the last page grows.
    let mut seen = 0;
    loop {
        // The state first: what was written before the end is in the lines that are read after it.
        let over = !follow || client.run(id).await?.run.state.is_terminal();
        let page = client.logs(id, after.as_deref()).await?;
        let length = page.items.len();
        for line in page.items.into_iter().skip(seen).filter(|l| task.is_none_or(|t| l.task == t)) {
            if !output.is_json() {
                output.line(log_line(&line, output.paint))?;
            } else if follow {
                // A stream has no end to wait for: one document a line.
                output.line(serde_json::to_string(&line).map_err(anyhow::Error::new)?)?;
            } else {
                all.push(line);
            }
        }
        if page.next.is_some() {
            (after, seen) = (page.next, 0);
            continue;
        }
        seen = length;
        if over {
            break;
        }
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    if output.is_json() && !follow { output.json(&all) } else { Ok(()) }
}

fn log_line(line: &LogLine, paint: Paint) -> String {
    let level = match line.level.as_str() {
        "error" => paint.red("error"),
        "warn" => paint.yellow("warn "),
        "info" => paint.green("info "),
        other => paint.dim(&cell(other, 5)),
    };
    let item = line.item.map(|i| format!("[{i}]")).unwrap_or_default();
    let attempt = if line.attempt > 1 {
        format!(" #{}", line.attempt)
    } else {
        String::new()
    };
    let who = paint.cyan(&format!("{}{item}{attempt}", cell(&line.task, 60)));
    let clock = paint.dim(&human::clock(line.at, &TimeZone::system()));
    format!("{clock}  {level}  {who}  {}", clean(&line.message).trim_end())
}

/// The words that a state is listed under, for the order of tables.
pub(crate) fn rank(state: State) -> u8 {
    match state {
        State::Failed | State::TimedOut => 0,
        State::Running | State::Retrying => 1,
        _ => 2,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::paint::width;
    use eyot_model::{Failure, FailureKind, Millis, Timestamp};
    use std::collections::BTreeMap;

    fn view(n: u128, coordinator: &str) -> RunView {
        let began = Timestamp(human::now().0 - 59_000_000);
        RunView {
            id: RunId(0x0193_2000_0000_0000_0000_0000_0000_0000 + (n << 80)),
            namespace: "plant-a".into(),
            workflow: "defects".into(),
            version: "1.4.0+0123456789ab".into(),
            state: RunState::Succeeded,
            created_at: began,
            ended_at: Some(began.after(Millis(1_500))),
            counts: BTreeMap::from([(State::Succeeded, 12)]),
            waiting_for: None,
            failure: None,
            coordinator: Some(coordinator.to_owned()),
        }
    }

    #[test]
    fn the_list_fits_a_terminal_whoever_coordinates_the_runs() {
        let plain = Paint { on: false };
        let widest = |text: &str| text.lines().map(width).max();
        let mut runs = vec![view(1, "camera-1"), view(2, "camera-in-the-hall-of-the-plant")];
        let wide = list(&runs, plain, None);
        assert!(wide.contains("defects@1.4.0+0123456789ab") && wide.contains("camera-in-the-hall-of-the-plant"));
        let narrow = list(&runs, plain, Some(80));
        assert!(widest(&narrow) <= Some(80), "{narrow}");
        assert!(
            narrow.contains("TOOK") && narrow.contains("camera-1") && narrow.contains("plant-a/defects…"),
            "{narrow}"
        );

        runs[0].state = RunState::Failed;
        runs[0].failure = Some(Failure::new(
            FailureKind::Permanent,
            "the picture has no pixels, and so no defects either",
        ));
        for columns in [80, 70] {
            let narrow = list(&runs, plain, Some(columns));
            assert!(widest(&narrow) <= Some(columns), "{narrow}");
            assert!(narrow.contains("failed") && narrow.contains("plant-a/defects"), "{narrow}");
        }
    }
}

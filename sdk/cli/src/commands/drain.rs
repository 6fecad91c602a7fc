//! `eyot agents drain`: until the agent is empty.

use crate::exit::{Exit, Fault, Outcome};
use crate::output::Output;
use crate::table::cell;
use eyot_client::Client;
use eyot_model::api::{DrainView, MovingView};
use eyot_model::{FragmentId, Millis, RunId};
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// How often it is asked how far it is.
const LOOK: Duration = Duration::from_millis(500);

pub(crate) async fn drain(client: &Client, agent: &str, timeout: Option<Millis>, output: Output) -> Outcome {
    let begun = Instant::now();
    let mut told: BTreeMap<(RunId, FragmentId), String> = BTreeMap::new();
    loop {
        let view = client.drain(agent).await?;
        say(&view, &mut told, &output);
        if view.fragments.is_empty() {
            if output.is_json() {
                return output.json(&view);
            }
            output.note(format!("{} is empty and gets no new work", view.agent));
            return Ok(());
        }
        if timeout.is_some_and(|limit| begun.elapsed() >= limit.as_duration()) {
            if output.is_json() {
                output.json(&view)?;
            }
            let left = view.fragments.len();
            let error = anyhow::anyhow!("{} still has {left} fragments", view.agent);
            let fault = Fault::new(Exit::TimedOut, "agent.not-empty", error);
            return Err(fault.help(format!(
                "moves go on; `eyot agents drain {agent}` waits again, `eyot agents cordon {agent} --off` calls them off"
            )));
        }
        tokio::time::sleep(LOOK).await;
    }
}

/// One line for whatever changed.
fn say(view: &DrainView, told: &mut BTreeMap<(RunId, FragmentId), String>, output: &Output) {
    for moving in &view.fragments {
        let word = word(moving);
        let known = told.insert((moving.run, moving.fragment), word.clone());
        if known.as_ref() != Some(&word) {
            output.note(format!("fragment {} of {}: {word}", moving.fragment.0, moving.run));
        }
    }
    let here = |key: &(RunId, FragmentId)| view.fragments.iter().any(|m| (m.run, m.fragment) == *key);
    let gone: Vec<_> = told.keys().filter(|key| !here(key)).copied().collect();
    for (run, fragment) in gone {
        told.remove(&(run, fragment));
        output.note(format!("fragment {} of {run}: is not here any more", fragment.0));
    }
}

fn word(moving: &MovingView) -> String {
    match (&moving.to, &moving.stays) {
        (Some(to), _) => format!("moves to {}", cell(to, 63)),
        (None, Some(why)) => format!("stays: {}", cell(why, 400)),
        (None, None) => "looks for an agent".to_owned(),
    }
}

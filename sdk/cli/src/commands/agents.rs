//! `eyot agents …`

use crate::args::AgentsCommand;
use crate::config::Connection;
use crate::exit::Outcome;
use crate::human;
use crate::output::Output;
use crate::paint::Paint;
use crate::table::{Align, Table, cell};
use eyot_model::Millis;
use eyot_model::api::{AgentView, GrantRequest, Invitation, InviteRequest};
use eyot_model::{DiskState, LinkState};
use jiff::tz::TimeZone;

pub(crate) async fn agents(to: &Connection, command: AgentsCommand, output: Output) -> Outcome {
    let client = to.client()?;
    match command {
        AgentsCommand::Ls => {
            let agents = client.agents().await?;
            if agents.is_empty() {
                output.note("no agent has joined yet; `eyot agents invite` says how");
            }
            output.show(&agents, |agents, paint| list(agents.as_slice(), paint, output.columns()))
        }
        AgentsCommand::Show { agent } => output.show(&client.agent(&agent).await?, one),
        AgentsCommand::Invite { name, valid_for } => {
            let invitation = client.invite(&InviteRequest { name, valid_for }).await?;
            invite(&invitation, output)
        }
        AgentsCommand::Cordon { agent, off } => {
            client.cordon(&agent, !off).await?;
            done(output, &agent, if off { "gets work again" } else { "gets no new work" })
        }
        AgentsCommand::Drain { agent, timeout } => super::drain::drain(&client, &agent, timeout, output).await,
        AgentsCommand::Grant { agent, namespace, off } => {
            let request = GrantRequest { namespace, on: !off };
            client.grant(&agent, &request).await?;
            let what = if off { "may not coordinate" } else { "may coordinate" };
            done(output, &agent, &format!("{what} runs of namespace {}", request.namespace))
        }
        AgentsCommand::Revoke { agent } => {
            client.revoke(&agent).await?;
            done(output, &agent, "is shut out for good")
        }
        AgentsCommand::Readmit { agent } => {
            client.readmit(&agent).await?;
            done(output, &agent, "may come back once and begins anew")
        }
        AgentsCommand::Rm { agent } => {
            client.remove_agent(&agent).await?;
            done(output, &agent, "is forgotten")
        }
    }
}

fn done(output: Output, agent: &str, what: &str) -> Outcome {
    if output.is_json() {
        return output.json(&serde_json::json!({"agent": agent, "ok": true}));
    }
    output.note(format!("{agent} {what}"));
    Ok(())
}

/// The token alone on standard output, so that it can be piped to the device.
fn invite(invitation: &Invitation, output: Output) -> Outcome {
    if output.is_json() {
        return output.json(invitation);
    }
    let paint = output.note_paint;
    output.note("Run this on the device, and give it the token on standard input:");
    output.note(format!("\n  {}\n", paint.bold(&cell(&invitation.command, 400))));
    output.note(format!(
        "The token works once, and ends {}:",
        human::age(invitation.expires_at, human::now())
    ));
    output.note("");
    output.line(cell(&invitation.token, 8_192))
}

/// The word for an agent's state: what an operator did to it goes before its link.
fn state(agent: &AgentView) -> &'static str {
    if agent.revoked {
        "revoked"
    } else if agent.draining {
        // Draining is the same, and more: what it has moves.
        "cordoned"
    } else if agent.link == LinkState::Connected && !agent.load.disk.takes_work() {
        disk(agent.load.disk)
    } else {
        agent.link.as_str()
    }
}

/// What the state of its disk means for an agent's work.
fn disk(state: DiskState) -> &'static str {
    match state {
        DiskState::Normal => "room enough",
        DiskState::High => "disk nearly full",
        DiskState::Critical => "disk full, paused",
        DiskState::Full => "disk full, stuck",
    }
}

/// Clocks that differ by more are worth a word.
const SKEW_LIMIT_MILLIS: u64 = 30_000;

/// How an agent's clock differs from the control plane's, if it is worth a word.
fn clock(agent: &AgentView) -> Option<String> {
    let skew = agent.clock_skew_millis.filter(|skew| skew.unsigned_abs() > SKEW_LIMIT_MILLIS)?;
    let direction = if skew > 0 { "ahead" } else { "behind" };
    // Milliseconds of a skew this long are noise.
    let seconds = Millis::from_secs(skew.unsigned_abs() / 1_000);
    Some(format!("clock {seconds} {direction}"))
}

fn labels(agent: &AgentView) -> String {
    let labels: Vec<String> = agent.labels.iter().map(|(k, v)| format!("{k}={v}")).collect();
    labels.join(",")
}

fn list(agents: &[AgentView], paint: Paint, columns: Option<usize>) -> String {
    let mut table = Table::new(&[
        ("NAME", Align::Left),
        ("STATE", Align::Left),
        ("LABELS", Align::Left),
        ("RUNNING", Align::Right),
        ("CPU", Align::Left),
        ("MEMORY", Align::Right),
        ("SEEN", Align::Left),
        ("VERSION", Align::Left),
    ]);
    for agent in agents {
        table.row(vec![
            cell(&agent.name, 40),
            match clock(agent) {
                Some(clock) => format!("{}, {clock}", paint.state(state(agent))),
                None => paint.state(state(agent)),
            },
            cell(&labels(agent), 40),
            agent.load.running.to_string(),
            human::cores(agent.capacity.cpu_millis),
            human::bytes(agent.capacity.memory_bytes),
            agent
                .last_seen
                .map_or_else(|| "never".to_owned(), |at| human::age(at, human::now())),
            cell(&agent.version, 16),
        ]);
    }
    if table.is_empty() {
        return String::new();
    }
    table.narrow(columns, str::to_owned).render(paint, "")
}

fn one(agent: &AgentView, paint: Paint) -> String {
    let zone = TimeZone::system();
    let mut table = Table::left(&["", ""]);
    let mut add = |name: &str, value: String| table.row(vec![paint.dim(name), value]);
    add("name", paint.bold(&cell(&agent.name, 80)));
    add("id", agent.id.to_string());
    add("state", paint.state(state(agent)));
    if let Some(clock) = clock(agent) {
        add("clock", format!("{clock} of the control plane's: set it on the device"));
    }
    if let Some(site) = &agent.site {
        add("site", cell(site, 80));
    }
    add("labels", cell(&labels(agent), 400));
    add("can", cell(&agent.capabilities.join(", "), 400));
    let load = &agent.load;
    add(
        "tasks",
        format!("{} running, {} queued, {} fragments", load.running, load.queued, agent.fragments),
    );
    add(
        "cpu",
        format!(
            "{} of {} used",
            human::cores(load.cpu_millis_used),
            human::cores(agent.capacity.cpu_millis)
        ),
    );
    add(
        "memory",
        format!(
            "{} of {} used",
            human::bytes(load.memory_bytes_used),
            human::bytes(agent.capacity.memory_bytes)
        ),
    );
    add(
        "disk",
        format!(
            "{} of {} free, {}",
            human::bytes(load.disk_bytes_free),
            human::bytes(agent.capacity.disk_bytes),
            disk(load.disk)
        ),
    );
    if agent.capacity.gpus > 0 {
        add("gpus", agent.capacity.gpus.to_string());
    }
    add("platform", cell(&format!("{} · eyot-agent {}", agent.platform, agent.version), 120));
    add(
        "seen",
        agent
            .last_seen
            .map_or_else(|| "never".to_owned(), |at| human::age(at, human::now())),
    );
    add("joined", human::instant(agent.joined_at, &zone));
    add(
        "certificate",
        format!("ends {}", human::age(agent.certificate_expires_at, human::now())),
    );
    table.render(paint, "")
}

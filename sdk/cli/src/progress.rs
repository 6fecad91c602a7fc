//! Live progress of a run: redrawn lines on a terminal, plain lines elsewhere, nothing when quiet.

use crate::board::{Board, Row, Tally, Weight};
use crate::human;
use crate::output::Output;
use crate::paint::{Paint, clean};
use crate::table::cell;
use eyot_client::{Client, Events, Update};
use eyot_model::api::{RunDetail, RunEvent};
use eyot_model::{LinkState, RunState, State};
use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};
use jiff::tz::TimeZone;
use std::collections::BTreeSet;
use std::time::Duration;

/// Most task lines on a terminal; what is active comes first.
const MOST_ROWS: usize = 14;
const REDRAW: Duration = Duration::from_millis(120);
/// How often the agents are looked at.
const LOOK: Duration = Duration::from_secs(2);

/// Shows the events until the run ends.
///
/// # Errors
/// When the connection is lost for good.
pub(crate) async fn follow(
    client: &Client,
    mut events: Events,
    run: &RunDetail,
    output: &Output,
    verbose: bool,
) -> Result<RunState, eyot_client::Error> {
    let mut board = Board::new(run);
    let (tell, mut told) = tokio::sync::watch::channel(BTreeSet::new());
    let watching = watch_agents(client, tell);
    tokio::pin!(watching);
    let mut view = View::new(output, verbose);
    let mut tick = tokio::time::interval(REDRAW);
    loop {
        tokio::select! {
            update = events.next() => match update {
                None => break,
                Some(Ok(Update::Event(event))) => {
                    let weight = board.apply(&event);
                    view.event(&event, weight, &board);
                }
                Some(Ok(Update::Reconnecting { attempt, error })) => view.reconnecting(attempt, &error),
                Some(Ok(Update::Reconnected)) => view.reconnected(),
                Some(Err(error)) => {
                    view.close();
                    return Err(error);
                }
            },
            Ok(()) = told.changed() => board.set_away(told.borrow_and_update().clone()),
            () = &mut watching => {}
            _ = tick.tick() => view.redraw(&board),
        }
    }
    view.close();
    Ok(board.state)
}

/// Looks now and then which agents are out of contact: that is no event of a run.
async fn watch_agents(client: &Client, tell: tokio::sync::watch::Sender<BTreeSet<String>>) {
    let mut ticks = tokio::time::interval(LOOK);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        // A failure is told by the stream of events.
        let Ok(agents) = client.agents().await else { continue };
        let away = agents.into_iter().filter(|agent| agent.link == LinkState::Disconnected);
        let away: BTreeSet<String> = away.map(|agent| agent.name).collect();
        tell.send_if_modified(|known| {
            let news = *known != away;
            *known = away;
            news
        });
    }
}

enum View {
    Silent,
    Plain { output: Output, verbose: bool },
    Live(Box<Live>),
}

struct Live {
    bars: MultiProgress,
    rows: Vec<ProgressBar>,
    foot: ProgressBar,
    paint: Paint,
    notice: String,
}

impl View {
    fn new(output: &Output, verbose: bool) -> Self {
        if output.quiet {
            return Self::Silent;
        }
        if !output.live || output.is_json() {
            return Self::Plain { output: *output, verbose };
        }
        let bars = MultiProgress::with_draw_target(ProgressDrawTarget::stderr_with_hz(10));
        let foot = bars.add(ProgressBar::new(1));
        // The template is a constant, so that a default takes its place only if indicatif changes its syntax.
        let style = ProgressStyle::with_template("  {bar:24.green} {pos}/{len}  {msg}").unwrap_or_else(|_| ProgressStyle::default_bar());
        foot.set_style(style.progress_chars("━╸─"));
        Self::Live(Box::new(Live {
            bars,
            rows: Vec::new(),
            foot,
            paint: output.note_paint,
            notice: String::new(),
        }))
    }

    fn event(&mut self, event: &RunEvent, weight: Weight, board: &Board) {
        match self {
            Self::Silent | Self::Live(_) => {}
            Self::Plain { output, verbose } => {
                if weight == Weight::Line || *verbose {
                    output.note(line(event, board, output.note_paint));
                }
            }
        }
    }

    fn reconnecting(&mut self, attempt: u32, error: &eyot_client::Error) {
        match self {
            Self::Silent => {}
            Self::Plain { output, .. } if attempt == 1 => output.note(format!("{error}; trying again, the run goes on")),
            Self::Plain { .. } => {}
            Self::Live(live) => live.notice = format!("no contact, trying again ({attempt})"),
        }
    }

    fn reconnected(&mut self) {
        match self {
            Self::Silent => {}
            Self::Plain { output, .. } => output.note("contact again"),
            Self::Live(live) => live.notice.clear(),
        }
    }

    fn redraw(&mut self, board: &Board) {
        if let Self::Live(live) = self {
            live.redraw(board);
        }
    }

    fn close(&mut self) {
        if let Self::Live(live) = self {
            for row in &live.rows {
                row.finish_and_clear();
            }
            live.foot.finish_and_clear();
        }
    }
}

impl Live {
    fn redraw(&mut self, board: &Board) {
        let shown = choose(board);
        let width = shown.iter().map(|(row, _)| row.name.chars().count()).max().unwrap_or(0).min(32);
        let hidden = board.rows().len() - shown.len();
        while self.rows.len() < shown.len() {
            let bar = self.bars.insert_before(&self.foot, ProgressBar::new_spinner());
            let style = ProgressStyle::with_template("{msg}").unwrap_or_else(|_| ProgressStyle::default_spinner());
            bar.set_style(style);
            self.rows.push(bar);
        }
        for (bar, (row, tally)) in self.rows.iter().zip(&shown) {
            bar.set_message(task_line(&row.name, tally, width, self.paint));
        }
        let (done, all) = board.progress();
        self.foot.set_length(all.max(1));
        self.foot.set_position(done);
        let mut message = format!(
            "{}  {}",
            self.paint.state(board.state.as_str()),
            human::duration(human::now().since(board.started))
        );
        if hidden > 0 {
            message.push_str(&self.paint.dim(&format!("  {hidden} more tasks")));
        }
        if !self.notice.is_empty() {
            message.push_str(&format!("  {}", self.paint.yellow(&self.notice)));
        }
        self.foot.set_message(message);
    }
}

/// The rows to show, in the order of the workflow; where they are too many, those that something happens in.
fn choose(board: &Board) -> Vec<(&Row, Tally)> {
    let rows = board.rows().iter().enumerate();
    let mut all: Vec<(usize, &Row, Tally)> = rows.map(|(at, row)| (at, row, board.tally(row))).collect();
    if all.len() > MOST_ROWS {
        all.sort_by_key(|(at, _, tally)| {
            let rank = match tally.state {
                State::Running | State::Retrying | State::Disconnected => 0,
                state if state.is_failure() => 1,
                State::Pending | State::Queued => 2,
                _ => 3,
            };
            (rank, *at)
        });
        all.truncate(MOST_ROWS);
        all.sort_by_key(|(at, _, _)| *at);
    }
    all.into_iter().map(|(_, row, tally)| (row, tally)).collect()
}

fn task_line(name: &str, tally: &Tally, width: usize, paint: Paint) -> String {
    let name = cell(name, 32);
    let pad = " ".repeat(width.saturating_sub(name.chars().count()));
    let mut line = format!("  {} {name}{pad}", mark(tally.state, paint));
    if tally.total > 1 {
        line.push_str(&format!("  {}/{}", tally.ended, tally.total));
    }
    if tally.away > 0 {
        line.push_str(&format!("  {}", paint.yellow("agent out of contact")));
    }
    if tally.failed > 0 && tally.total > 1 {
        line.push_str(&format!("  {}", paint.red(&format!("{} failed", tally.failed))));
    }
    if !tally.agents.is_empty() {
        let agents: Vec<&str> = tally.agents.iter().map(String::as_str).take(3).collect();
        line.push_str(&paint.dim(&format!("  {}", cell(&agents.join(", "), 40))));
    }
    match (tally.started, tally.last_end) {
        (Some(start), Some(end)) if tally.state.is_terminal() => {
            line.push_str(&paint.dim(&format!("  {}", human::duration(end.since(start)))))
        }
        (Some(start), _) if !tally.state.is_terminal() => line.push_str(&format!("  {}", human::duration(human::now().since(start)))),
        _ => {}
    }
    line
}

/// One sign for a state.
#[must_use]
pub(crate) fn mark(state: State, paint: Paint) -> String {
    match state {
        State::Succeeded => paint.green("✓"),
        State::Failed | State::TimedOut | State::UpstreamFailed => paint.red("✗"),
        State::Cancelled => paint.yellow("✗"),
        State::Running => paint.cyan("▶"),
        State::Retrying | State::Disconnected | State::Waiting | State::Paused => paint.yellow("◌"),
        State::Skipped => paint.dim("–"),
        State::Pending | State::Queued => paint.dim("·"),
    }
}

/// `14:03:07.125  ✓ find[2] succeeded on compute in 1.2 s`
fn line(event: &RunEvent, board: &Board, paint: Paint) -> String {
    let mut text = paint.dim(&human::clock(event.at, &TimeZone::system()));
    text.push_str("  ");
    // An expansion says that it happened; what the task waits for now is its items.
    let word = match event.state {
        Some(state) if event.kind != "expanded" => state.as_str(),
        _ => event.kind.as_str(),
    };
    if let Some(task) = &event.task {
        let name = match event.item {
            Some(item) => format!("{}[{item}]", cell(task, 60)),
            None => cell(task, 60),
        };
        let sign = event.state.map_or_else(|| paint.dim("·"), |state| mark(state, paint));
        text.push_str(&format!("{sign} {name} {}", paint.state(word)));
    } else {
        let word = event.run_state.map_or(word, |state| state.as_str());
        text.push_str(&format!("run {}", paint.state(word)));
    }
    match (event.kind.as_str(), &event.agent, event.count) {
        ("assigned", Some(agent), Some(count)) => text.push_str(&format!(" to {} ({count} tasks)", cell(agent, 40))),
        (_, _, Some(count)) => text.push_str(&format!(" to {count}")),
        _ => {}
    }
    if let Some(agent) = board.agent(event) {
        text.push_str(&format!(" on {}", cell(agent, 40)));
    }
    if event.state.is_some_and(State::is_terminal)
        && let Some(took) = board.took(event)
    {
        text.push_str(&format!(" in {}", human::duration(took)));
    }
    if let Some(failure) = &event.failure {
        text.push_str(&format!(": {}", cell(&failure.to_string(), 300)));
    } else if let Some(message) = &event.message {
        text.push_str(&format!(": {}", cell(&clean(message), 300)));
    }
    text
}

//! The state of a run as its events tell it: what the live progress shows. Pure.

use eyot_model::api::{RunDetail, RunEvent};
use eyot_model::{RunState, State, Timestamp};
use std::collections::{BTreeMap, BTreeSet};

/// One task with its instances.
#[derive(Debug, Default)]
pub(crate) struct Row {
    pub(crate) name: String,
    instances: BTreeMap<Option<u32>, Instance>,
    /// Number of items, once a `forEach` knows it.
    expected: Option<u32>,
}

#[derive(Debug, Default)]
struct Instance {
    state: State,
    agent: Option<String>,
    started: Option<Timestamp>,
    ended: Option<Timestamp>,
}

/// Where the instances of one task stand.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Tally {
    pub(crate) total: u32,
    pub(crate) ended: u32,
    pub(crate) failed: u32,
    pub(crate) running: u32,
    pub(crate) retrying: u32,
    /// On agents that are out of contact.
    pub(crate) away: u32,
    /// Agents that run it now or, once it ended, ran it.
    pub(crate) agents: BTreeSet<String>,
    pub(crate) started: Option<Timestamp>,
    pub(crate) last_end: Option<Timestamp>,
    /// The word for the whole row.
    pub(crate) state: State,
}

/// A whole run.
#[derive(Debug)]
pub(crate) struct Board {
    rows: Vec<Row>,
    index: BTreeMap<String, usize>,
    /// Agents that are out of contact, as far as is known.
    away: BTreeSet<String>,
    pub(crate) state: RunState,
    pub(crate) started: Timestamp,
}

/// What an event means to a reader of plain lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Weight {
    /// An end or something wrong: always worth a line.
    Line,
    /// Worth a line in detail only.
    Detail,
}

impl Board {
    /// A board with the run's tasks, in their order. The events come afterwards.
    #[must_use]
    pub(crate) fn new(run: &RunDetail) -> Self {
        let mut board = Self {
            rows: Vec::new(),
            index: BTreeMap::new(),
            away: BTreeSet::new(),
            state: run.run.state,
            started: run.run.created_at,
        };
        for task in &run.tasks {
            board.row(&task.task);
        }
        board
    }

    fn row(&mut self, task: &str) -> &mut Row {
        let at = match self.index.get(task) {
            Some(at) => *at,
            None => {
                self.index.insert(task.to_owned(), self.rows.len());
                self.rows.push(Row {
                    name: task.to_owned(),
                    ..Row::default()
                });
                self.rows.len() - 1
            }
        };
        &mut self.rows[at]
    }

    #[must_use]
    pub(crate) fn rows(&self) -> &[Row] {
        &self.rows
    }

    /// Says which agents are out of contact: what runs there counts as disconnected until they are back.
    pub(crate) fn set_away(&mut self, away: BTreeSet<String>) {
        self.away = away;
    }

    /// Where the instances of a row stand.
    #[must_use]
    pub(crate) fn tally(&self, row: &Row) -> Tally {
        row.tally(&self.away)
    }

    /// Ended instances and all that are known of.
    #[must_use]
    pub(crate) fn progress(&self) -> (u64, u64) {
        self.rows.iter().map(|row| self.tally(row)).fold((0, 0), |(done, all), tally| {
            (done + u64::from(tally.ended), all + u64::from(tally.total))
        })
    }

    pub(crate) fn apply(&mut self, event: &RunEvent) -> Weight {
        if let Some(state) = event.run_state {
            self.state = state;
        }
        // What came too late is no part of the run.
        if event.kind == "late" {
            return Weight::Line;
        }
        let Some(task) = &event.task else {
            return match event.kind.as_str() {
                "cancel-requested" | "superseded" => Weight::Line,
                _ => Weight::Detail,
            };
        };
        let row = self.row(task);
        if event.kind == "expanded" {
            row.expected = event.count;
            return Weight::Detail;
        }
        if event.kind == "rewound" {
            // It begins from nothing.
            row.instances.clear();
            row.expected = None;
        }
        let instance = row.instances.entry(event.item).or_default();
        let state = event.state.or_else(|| state_of_kind(&event.kind));
        if let Some(agent) = &event.agent {
            instance.agent = Some(agent.clone());
        }
        match state {
            Some(State::Running) => instance.started = Some(event.at),
            Some(state) if state.is_terminal() => instance.ended = Some(event.at),
            _ => {}
        }
        if let Some(state) = state {
            instance.state = state;
        }
        match event.kind.as_str() {
            "started" | "assigned" => Weight::Detail,
            _ => Weight::Line,
        }
    }

    /// How long the attempt that this event ended took.
    #[must_use]
    pub(crate) fn took(&self, event: &RunEvent) -> Option<eyot_model::Millis> {
        let row = self.rows.get(*self.index.get(event.task.as_ref()?)?)?;
        let instance = row.instances.get(&event.item)?;
        Some(event.at.since(instance.started?))
    }

    /// The agent of an event's instance, where the event itself does not name it.
    #[must_use]
    pub(crate) fn agent(&self, event: &RunEvent) -> Option<&str> {
        let row = self.rows.get(*self.index.get(event.task.as_ref()?)?)?;
        row.instances.get(&event.item)?.agent.as_deref()
    }
}

/// The state that an event's kind alone tells.
fn state_of_kind(kind: &str) -> Option<State> {
    Some(match kind {
        "started" => State::Running,
        "retrying" => State::Retrying,
        "ended" => State::Succeeded,
        "failed" => State::Failed,
        "skipped" => State::Skipped,
        "upstream-failed" => State::UpstreamFailed,
        "cancelled" => State::Cancelled,
        _ => return None,
    })
}

impl Row {
    #[must_use]
    fn tally(&self, away: &BTreeSet<String>) -> Tally {
        let loops = self.expected.is_some() || self.instances.keys().any(Option::is_some);
        let mut tally = Tally::default();
        let counted = self.instances.iter().filter(|(item, _)| !loops || item.is_some());
        let mut all_skipped = true;
        for (_, instance) in counted {
            tally.total += 1;
            match instance.state {
                state if state.is_terminal() => {
                    tally.ended += 1;
                    tally.failed += u32::from(state.is_failure());
                    all_skipped &= state == State::Skipped;
                    tally.last_end = tally.last_end.max(instance.ended);
                    tally.state = tally.state.max(state);
                }
                State::Running | State::Retrying if instance.agent.as_ref().is_some_and(|a| away.contains(a)) => tally.away += 1,
                State::Running => tally.running += 1,
                State::Retrying => tally.retrying += 1,
                _ => {}
            }
            tally.agents.extend(instance.agent.clone());
            tally.started = match (tally.started, instance.started) {
                (Some(a), Some(b)) => Some(a.min(b)),
                (a, b) => a.or(b),
            };
        }
        tally.total = tally.total.max(if loops { self.expected.unwrap_or(0) } else { 1 });
        tally.state = self.word(&tally, all_skipped);
        tally
    }

    fn word(&self, tally: &Tally, all_skipped: bool) -> State {
        let whole = self.instances.get(&None).map(|i| i.state).filter(|s| s.is_terminal());
        match whole {
            Some(state) => state,
            None if tally.running > 0 => State::Running,
            None if tally.retrying > 0 => State::Retrying,
            None if tally.away > 0 => State::Disconnected,
            None if tally.ended > 0 && tally.ended == tally.total && self.expected.is_none_or(|n| n == tally.ended) => match tally.failed {
                0 if all_skipped => State::Skipped,
                0 => State::Succeeded,
                _ => State::Failed,
            },
            None if self.expected == Some(0) => State::Succeeded,
            None if tally.ended > 0 => State::Running,
            None => State::Pending,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(seq: u64, kind: &str, task: &str, item: Option<u32>) -> RunEvent {
        RunEvent {
            seq,
            at: Timestamp(seq * 1_000_000),
            kind: kind.into(),
            task: Some(task.into()),
            item,
            attempt: Some(1),
            state: None,
            run_state: None,
            agent: (kind == "started").then(|| "camera".into()),
            count: None,
            failure: None,
            message: None,
        }
    }

    fn board() -> Board {
        Board {
            rows: Vec::new(),
            index: BTreeMap::new(),
            away: BTreeSet::new(),
            state: RunState::Pending,
            started: Timestamp(0),
        }
    }

    #[test]
    fn a_plain_task_goes_from_nothing_to_its_end() {
        let mut board = board();
        board.row("a");
        assert_eq!(board.progress(), (0, 1));
        board.apply(&event(1, "started", "a", None));
        assert_eq!(board.tally(&board.rows()[0]).state, State::Running);
        board.apply(&event(2, "retrying", "a", None));
        assert_eq!(board.tally(&board.rows()[0]).state, State::Retrying);
        board.apply(&event(3, "started", "a", None));
        let end = event(5, "ended", "a", None);
        board.apply(&end);
        assert_eq!(board.took(&end), Some(eyot_model::Millis(2_000)));
        assert_eq!(board.agent(&end), Some("camera"));
        let tally = board.tally(&board.rows()[0]);
        assert_eq!((tally.state, tally.ended, tally.total), (State::Succeeded, 1, 1));
        assert_eq!(board.progress(), (1, 1));
    }

    #[test]
    fn what_runs_on_an_agent_out_of_contact_is_disconnected_until_there_is_news() {
        let mut board = board();
        board.apply(&event(1, "started", "a", None));
        board.set_away(["camera".to_owned()].into());
        assert_eq!(board.tally(&board.rows()[0]).state, State::Disconnected);
        board.set_away(BTreeSet::new());
        assert_eq!(board.tally(&board.rows()[0]).state, State::Running);
        board.set_away(["camera".to_owned()].into());
        board.apply(&event(2, "late", "a", None));
        assert_eq!(board.tally(&board.rows()[0]).state, State::Disconnected, "no part of the run");
        board.apply(&event(3, "ended", "a", None));
        assert_eq!(board.tally(&board.rows()[0]).state, State::Succeeded);
    }

    #[test]
    fn items_count_and_their_task_does_not() {
        let mut board = board();
        board.row("each");
        let mut expanded = event(1, "expanded", "each", None);
        expanded.count = Some(3);
        board.apply(&expanded);
        assert_eq!(board.progress(), (0, 3));
        for item in 0..3 {
            board.apply(&event(2, "started", "each", Some(item)));
            let mut end = event(3, "ended", "each", Some(item));
            if item == 1 {
                end.state = Some(State::Failed);
            }
            board.apply(&end);
        }
        let tally = board.tally(&board.rows()[0]);
        assert_eq!((tally.ended, tally.total, tally.failed, tally.state), (3, 3, 1, State::Failed));
        // What the failed item means for the task is the owner's word.
        board.apply(&event(4, "ended", "each", None));
        assert_eq!(board.tally(&board.rows()[0]).state, State::Succeeded);
        assert_eq!(board.progress(), (3, 3));
    }

    #[test]
    fn a_list_without_items_is_at_its_end() {
        let mut board = board();
        let mut expanded = event(1, "expanded", "each", None);
        expanded.count = Some(0);
        board.apply(&expanded);
        assert_eq!((board.progress(), board.tally(&board.rows()[0]).state), ((0, 0), State::Succeeded));
    }
}

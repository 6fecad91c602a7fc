//! What agents report, and what of it commits.

use crate::command::{Change, Command};
use crate::coordinator::Coordinator;
use crate::entry::Entry;
use eyot_engine::Applied;
use eyot_model::{AgentId, Event, FragmentId, Position, RunId, Timestamp};
use eyot_wire::{Report, ReportItem, ToAgent};
use std::collections::BTreeSet;

/// By how much the number of an attempt may be above the last one that was heard of. An agent tells of every attempt, so it
/// is one; where its disk lost records it may be some more.
const MOST_UNTOLD: u32 = 65_536;

impl Coordinator {
    /// Durable records of an agent's journal. Each result commits at most once, and only under the current epoch of its
    /// fragment and from the agent that owns it.
    ///
    /// An agent's records come in the order in which it decided, so what an attempt consumed is either a fact from here,
    /// which is committed, or was reported before it. Where such an earlier record turns out not to be the one that is
    /// committed, nothing after it commits either: the epoch of the fragment is raised on the spot.
    pub fn reported(&mut self, agent: AgentId, report: Report, now: Timestamp) {
        let Some(through) = report.items.last().map(|item| item.position) else {
            return;
        };
        let mut fenced: BTreeSet<(RunId, FragmentId, eyot_model::Epoch)> = BTreeSet::new();
        let mut touched: BTreeSet<RunId> = BTreeSet::new();
        let mut items = report.items.into_iter().peekable();
        while let Some(item) = items.next() {
            let (run, fragment) = (item.run, item.fragment);
            if self.is_fenced(agent, &item) {
                if self.runs.contains_key(&run) {
                    fenced.insert((run, fragment, item.epoch));
                    self.note_late(agent, item);
                }
            } else if self.commit(agent, item, now) {
                touched.insert(run);
            } else {
                self.advance(run, Some(agent), now);
                self.contradicted(run, fragment, agent, now);
            }
            // The engine's decisions are taken run by run, so that one report of many events costs one pass.
            if items.peek().is_none_or(|next| next.run != run) && touched.remove(&run) {
                self.advance(run, Some(agent), now);
            }
        }
        self.heard(agent, through);
        for (run, fragment, epoch) in fenced {
            let message = Box::new(ToAgent::Superseded { run, fragment, epoch });
            self.commands.push_back(Command::Send { agent, message });
        }
        self.commands.push_back(Command::Send {
            agent,
            message: Box::new(ToAgent::Committed { through }),
        });
    }

    fn is_fenced(&self, agent: AgentId, item: &ReportItem) -> bool {
        let Some(entry) = self.runs.get(&item.run) else { return true };
        let Some(owned) = entry.fragments.get(&item.fragment) else {
            return true;
        };
        !owned.is_held_by(agent, item.epoch)
    }

    /// Keeps a result that came too late, for people to see: only of a fragment that the agent did own under that epoch.
    fn note_late(&mut self, agent: AgentId, item: ReportItem) {
        let owned = self.runs.get(&item.run).and_then(|entry| entry.fragments.get(&item.fragment));
        let was_theirs = owned.is_some_and(|owned| owned.former.get(&item.epoch) == Some(&agent));
        if was_theirs && matches!(item.event, Event::Ended { .. }) {
            self.commands.push_back(Command::Commit(Change::Late {
                run: item.run,
                fragment: item.fragment,
                epoch: item.epoch,
                agent,
                event: item.event,
            }));
        }
    }

    /// False if it contradicts what is committed.
    fn commit(&mut self, agent: AgentId, item: ReportItem, now: Timestamp) -> bool {
        let Some(entry) = self.runs.get_mut(&item.run) else { return true };
        let forbidden = forbidden(entry, item.fragment, &item.event);
        if let Some(owned) = entry.fragments.get_mut(&item.fragment) {
            owned.accepted = true;
            owned.progressed |= forbidden.is_none();
        }
        let task = item.event.task();
        let message = match forbidden {
            Some(why) => format!("an event was reported that no agent may report: {why}"),
            None => match entry.run.handle_event(item.event, now) {
                Ok(Applied::New | Applied::Known) => return true,
                Ok(Applied::Late) => format!("a second, different end of {task:?} was reported; the first one stays"),
                Err(rejected) => format!("an event was reported that cannot be: {rejected}"),
            },
        };
        self.commands.push_back(Command::Alarm {
            agent,
            run: item.run,
            message,
        });
        false
    }

    pub(crate) fn heard(&mut self, agent: AgentId, through: Position) {
        let known = self.heard.entry(agent).or_default();
        if known.generation != through.generation || known.n < through.n {
            *known = through;
            self.commands.push_back(Command::Commit(Change::Heard { agent, through }));
        }
    }
}

/// Why the owner of a fragment may not say this of it, whatever the state of the run.
fn forbidden(entry: &Entry, fragment: FragmentId, event: &Event) -> Option<String> {
    if let Some(task) = event.task().filter(|task| entry.owner.get(task) != Some(&fragment)) {
        return Some(format!("{task:?} is no task of the fragment"));
    }
    match event {
        Event::RunEnded { .. } => Some("the end of a run is its coordinator's word".to_owned()),
        // What was committed comes back from an owner that was told it with its assignment.
        Event::Rewound { task, generation, .. } => {
            let known = entry.run.tasks().get(task.index())?.generation;
            (*generation > known).then(|| "only the coordinator takes a committed result back".to_owned())
        }
        Event::Started { path, attempt, .. } | Event::Ended { path, attempt, .. } | Event::Yielded { path, attempt, .. } => {
            let task = entry.run.tasks().get(path.task.index())?;
            let known = task.instance(path.item)?.attempts;
            let leaps = attempt.saturating_sub(known) > MOST_UNTOLD;
            leaps.then(|| format!("attempt {attempt} of {path:?} after attempt {known}"))
        }
        _ => None,
    }
}

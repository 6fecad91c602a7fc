//! What agents report, and what of it commits.

use crate::command::{Change, Command};
use crate::coordinator::Coordinator;
use eyot_engine::Applied;
use eyot_model::{AgentId, Event, FragmentId, Position, RunId, Timestamp};
use eyot_wire::{Report, ReportItem, ToAgent};
use std::collections::BTreeSet;

impl Coordinator {
    /// Durable records of an agent's journal. Each result commits at most once, and only under the current epoch of its
    /// fragment and from the agent that owns it.
    pub fn reported(&mut self, agent: AgentId, report: Report, now: Timestamp) {
        let Some(through) = report.items.last().map(|item| item.position) else {
            return;
        };
        let mut fenced: BTreeSet<(RunId, FragmentId, eyot_model::Epoch)> = BTreeSet::new();
        let mut touched: BTreeSet<RunId> = BTreeSet::new();
        let mut items = report.items.into_iter().peekable();
        while let Some(item) = items.next() {
            let run = item.run;
            if self.is_fenced(agent, &item) {
                if self.runs.contains_key(&run) {
                    fenced.insert((run, item.fragment, item.epoch));
                }
            } else {
                self.commit(agent, item, now);
                touched.insert(run);
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
        let names_own = item.event.task().is_none_or(|task| entry.owner.get(&task) == Some(&item.fragment));
        let may_say = names_own && !matches!(item.event, Event::RunEnded { .. });
        !(may_say && owned.agent == agent && owned.epoch == item.epoch)
    }

    fn commit(&mut self, agent: AgentId, item: ReportItem, now: Timestamp) {
        let Some(entry) = self.runs.get_mut(&item.run) else { return };
        let task = item.event.task();
        match entry.run.handle_event(item.event, now) {
            Ok(Applied::New | Applied::Known) => {}
            Ok(Applied::Late) => {
                let message = format!("a second, different end of {task:?} was reported; the first one stays");
                self.commands.push_back(Command::Alarm {
                    agent,
                    run: item.run,
                    message,
                });
            }
            Err(rejected) => {
                let message = format!("an event was reported that cannot be: {rejected}");
                self.commands.push_back(Command::Alarm {
                    agent,
                    run: item.run,
                    message,
                });
            }
        }
    }

    pub(crate) fn heard(&mut self, agent: AgentId, through: Position) {
        let known = self.heard.entry(agent).or_default();
        if known.generation != through.generation || known.n < through.n {
            *known = through;
            self.commands.push_back(Command::Commit(Change::Heard { agent, through }));
        }
    }
}

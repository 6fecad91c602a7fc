//! An agent is back: what it holds against what the cloud knows.

use crate::command::Command;
use crate::coordinator::Coordinator;
use eyot_model::{AgentId, FragmentId, RunId, Timestamp};
use eyot_wire::{FragmentStanding, Inventory, ToAgent};
use std::collections::BTreeSet;

impl Coordinator {
    /// Answers an inventory: a standing for each fragment that the agent holds, then again everything that may have
    /// been lost with the old link.
    pub fn inventory(&mut self, agent: AgentId, inventory: &Inventory, _now: Timestamp) {
        let mut held: BTreeSet<(RunId, FragmentId)> = BTreeSet::new();
        let mut standings = Vec::with_capacity(inventory.held.len());
        for h in &inventory.held {
            let (run, fragment, epoch) = (h.run, h.fragment, h.epoch);
            standings.push(match self.runs.get(&run) {
                None => FragmentStanding::Release { run, fragment, epoch },
                Some(entry) => match entry.fragments.get(&fragment) {
                    Some(owned) if owned.agent == agent && owned.epoch == epoch => {
                        held.insert((run, fragment));
                        if entry.run.cancel_requested_by().is_some() {
                            FragmentStanding::Cancel { run, fragment, epoch }
                        } else {
                            FragmentStanding::Keep { run, fragment, epoch }
                        }
                    }
                    _ => FragmentStanding::Superseded { run, fragment, epoch },
                },
            });
        }
        self.commands.push_back(Command::Send {
            agent,
            message: Box::new(ToAgent::Reconciled(standings)),
        });
        if let Some(known) = self
            .heard
            .get(&agent)
            .filter(|p| p.generation == inventory.last.generation && p.n > inventory.committed.n)
        {
            self.commands.push_back(Command::Send {
                agent,
                message: Box::new(ToAgent::Committed { through: *known }),
            });
        }
        let mut assign = Vec::new();
        let mut facts = Vec::new();
        for (run, entry) in &self.runs {
            for (fragment, owned) in entry.fragments.iter().filter(|(_, f)| f.agent == agent) {
                if held.contains(&(*run, *fragment)) {
                    let events = entry.facts_for(&[], &entry.awaits(&owned.tasks));
                    if !events.is_empty() {
                        facts.push((*run, events));
                    }
                } else if !entry.fragment_ended(owned) {
                    assign.push((*run, *fragment));
                }
            }
        }
        for (run, events) in facts {
            self.commands.push_back(Command::Send {
                agent,
                message: Box::new(ToAgent::Facts { run, events }),
            });
        }
        for (run, fragment) in assign {
            self.send_assignment(run, fragment);
        }
    }
}

//! An agent is back: what it holds against what the cloud knows.

use crate::command::{Change, Command};
use crate::coordinator::Coordinator;
use eyot_model::{AgentId, Epoch, FragmentId, Position, RunId, Timestamp};
use eyot_wire::{FragmentStanding, Held, Inventory, ToAgent};
use std::collections::BTreeSet;

impl Coordinator {
    /// Answers an inventory: fragments that go on under a new epoch are assigned anew, then comes a standing for each
    /// fragment that the agent holds, then again everything that may have been lost with the old link.
    pub fn inventory(&mut self, agent: AgentId, inventory: &Inventory, now: Timestamp) {
        self.leases.back(agent);
        self.stop_searches(agent);
        if self.has_lost_records(agent, inventory) {
            for (run, fragment) in self.open_fragments_of(agent) {
                let why = format!("the journal of agent {agent} began a new generation");
                self.assign_quietly(run, fragment, agent, why, now);
            }
            self.commands.push_back(Command::Commit(Change::RecordsLost { agent }));
            let generation = inventory.last.generation;
            self.heard(agent, Position { generation, n: 0 });
        }
        let mut held: BTreeSet<(RunId, FragmentId)> = BTreeSet::new();
        let mut standings = Vec::with_capacity(inventory.held.len());
        for h in &inventory.held {
            let standing = self.standing(agent, h, now);
            if let FragmentStanding::Keep { epoch, .. } | FragmentStanding::Cancel { epoch, .. } = standing {
                held.insert((h.run, h.fragment));
                if epoch != h.epoch {
                    self.send_assignment(h.run, h.fragment);
                }
            }
            standings.push(standing);
        }
        self.commands.push_back(Command::Send {
            agent,
            message: Box::new(ToAgent::Reconciled(standings)),
        });
        self.foreign_link_up(agent);
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
        self.note_accepted(agent, &held);
        self.tell_again(agent, &held);
        self.moves_begin_anew(agent);
    }

    /// What it holds it has accepted, and what it does not hold any more it may refuse when it is told again.
    fn note_accepted(&mut self, agent: AgentId, held: &BTreeSet<(RunId, FragmentId)>) {
        for (run, entry) in &mut self.runs {
            for (fragment, owned) in entry.fragments.iter_mut().filter(|(_, f)| f.agent == Some(agent)) {
                owned.accepted = held.contains(&(*run, *fragment));
            }
        }
    }

    /// Something was heard of another generation of its journal: numbers of the two must never be taken for each other.
    fn has_lost_records(&self, agent: AgentId, inventory: &Inventory) -> bool {
        let known = self.heard.get(&agent).map_or(0, |position| position.generation);
        known != 0 && known != inventory.last.generation
    }

    fn standing(&mut self, agent: AgentId, h: &Held, now: Timestamp) -> FragmentStanding {
        let (run, fragment) = (h.run, h.fragment);
        let superseded = FragmentStanding::Superseded {
            run,
            fragment,
            epoch: h.epoch,
        };
        let Some(entry) = self.runs.get(&run) else {
            return FragmentStanding::Release {
                run,
                fragment,
                epoch: h.epoch,
            };
        };
        let stopping = entry.run.cancel_requested_by().is_some();
        let Some(owned) = entry.fragments.get(&fragment) else {
            return superseded;
        };
        // A renewed fragment is held under the epoch before: nobody else had it meanwhile.
        let renewed = owned.renewed_from == Some((agent, h.epoch));
        if owned.is_held_by(agent, h.epoch) || (owned.agent == Some(agent) && renewed) {
            let epoch = owned.epoch;
            return if stopping {
                FragmentStanding::Cancel { run, fragment, epoch }
            } else {
                FragmentStanding::Keep { run, fragment, epoch }
            };
        }
        let untouched = owned.taken_from == Some((agent, h.epoch)) && !owned.progressed;
        if !untouched || stopping || !entry.workflow.on_disconnect.accept_late {
            return superseded;
        }
        self.give_back(run, fragment, agent, h.epoch, now);
        let epoch = self.fragment_mut(run, fragment).map_or(h.epoch, |owned| owned.epoch);
        FragmentStanding::Keep { run, fragment, epoch }
    }

    /// The late agent gets back the whole of what was taken from it: nothing of it was committed meanwhile.
    fn give_back(&mut self, run: RunId, fragment: FragmentId, agent: AgentId, held: Epoch, now: Timestamp) {
        let replacement = self.owner_of(run, fragment);
        let over = self.superseded(run, fragment);
        let why = format!("agent {agent} is back before its replacement committed anything");
        self.assign_quietly(run, fragment, agent, why, now);
        self.commands.extend(over);
        let again_too = replacement.map(|replacement| self.restart_siblings(run, fragment, replacement, now));
        for sibling in again_too.into_iter().flatten() {
            self.send_assignment(run, sibling);
        }
        if let Some(owned) = self.fragment_mut(run, fragment) {
            owned.renewed_from = Some((agent, held));
        }
    }

    /// Facts that its fragments wait for, and assignments that it does not hold.
    fn tell_again(&mut self, agent: AgentId, held: &BTreeSet<(RunId, FragmentId)>) {
        let mut assign = Vec::new();
        let mut facts = Vec::new();
        for (run, entry) in &self.runs {
            for (fragment, owned) in entry.fragments.iter().filter(|(_, f)| f.agent == Some(agent)) {
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

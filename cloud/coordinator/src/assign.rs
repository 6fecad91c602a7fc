//! Giving fragments to agents.

use crate::command::{Change, Command};
use crate::coordinator::Coordinator;
use crate::entry::{Entry, FragmentEntry};
use eyot_model::{Epoch, Event, FragmentId, Path, Plan, RunId, SkipReason, Timestamp};
use eyot_wire::{Assignment, ToAgent};
use std::sync::Arc;

impl Coordinator {
    /// The plan of a run that asked for one: pruned tasks are skipped, each fragment goes to its agent under a new
    /// epoch.
    pub fn planned(&mut self, run: RunId, plan: Plan, now: Timestamp) {
        let Some(entry) = self.runs.get_mut(&run) else { return };
        if entry.plan.is_some() || entry.run.cancel_requested_by().is_some() {
            return;
        }
        entry.waiting_for = None;
        entry.plan = Some(plan.clone());
        self.commands
            .push_back(Command::Commit(Change::Planned { run, plan: plan.clone() }));
        for pruned in &plan.pruned {
            let event = Event::Skipped {
                path: Path::task(pruned.task),
                reason: SkipReason::Pruned(pruned.reason.clone()),
                at: now,
            };
            // A plan that names tasks of another workflow is a mistake of the planner; its tasks stay where they are.
            let _ = entry.run.handle_event(event, now);
        }
        let mut fragments = Vec::new();
        for fragment in plan.fragments {
            let epoch = Epoch(entry.fragments.get(&fragment.id).map_or(self.epochs_before.0, |f| f.epoch.0) + 1);
            entry.owner.extend(fragment.tasks.iter().map(|task| (*task, fragment.id)));
            self.commands.push_back(Command::Commit(Change::Assigned {
                run,
                fragment: fragment.id,
                agent: fragment.agent,
                epoch,
                tasks: fragment.tasks.clone(),
                why: None,
            }));
            let owned = FragmentEntry::new(Some(fragment.agent), epoch, fragment.tasks);
            entry.fragments.insert(fragment.id, owned);
            fragments.push((fragment.id, fragment.agent));
        }
        self.advance(run, None, now);
        for (fragment, agent) in fragments {
            self.lease(run, fragment, agent, now);
            self.send_assignment(run, fragment);
        }
    }

    /// An agent has an assignment on disk.
    pub fn accepted(&mut self, agent: eyot_model::AgentId, run: RunId, fragment: FragmentId, epoch: Epoch) {
        if let Some(owned) = self.runs.get_mut(&run).and_then(|e| e.fragments.get_mut(&fragment))
            && owned.is_held_by(agent, epoch)
        {
            owned.accepted = true;
        }
    }

    pub(crate) fn send_assignment(&mut self, run: RunId, fragment: FragmentId) {
        let Some(entry) = self.runs.get(&run) else { return };
        let Some(owned) = entry.fragments.get(&fragment) else { return };
        let Some(agent) = owned.agent else { return };
        let message = Box::new(ToAgent::Assign(Box::new(assignment(run, entry, fragment, owned))));
        self.commands.push_back(Command::Send { agent, message });
    }
}

fn assignment(run: RunId, entry: &Entry, fragment: FragmentId, owned: &FragmentEntry) -> Assignment {
    let awaits = entry.awaits(&owned.tasks);
    Assignment {
        run,
        fragment,
        epoch: owned.epoch,
        workflow: Arc::clone(&entry.workflow),
        inputs: Arc::clone(&entry.inputs),
        tasks: owned.tasks.clone(),
        facts: entry.facts_for(&owned.tasks, &awaits),
        awaits,
        created_at: entry.run.created_at(),
        saved: entry.saved_for(&owned.tasks),
    }
}

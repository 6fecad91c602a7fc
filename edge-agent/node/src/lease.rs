//! How long this agent works on by itself, where the workflow sets a limit (`onDisconnect.pauseAfter`).
//!
//! The lease of such a fragment runs from the *send* of the last heart-beat that the control plane acknowledged, so it ends
//! here before the control plane's grace time can end there. When it has ended, what runs of the fragment is stopped without
//! counting as a failure, and nothing of it is begun. It goes on when the control plane has said that it still is this
//! agent's: by its answer to an inventory, or, on a link that was reconciled, by the next acknowledged heart-beat. After a
//! restart nobody knows how long it took, so such fragments begin paused.
//!
//! Fragments without that limit go on for ever, and so do the runs that this agent coordinates.

use crate::command::Command;
use crate::held::Held;
use crate::node::{Link, Node};
use eyot_model::{AttemptId, Failure, FailureKind, FragmentId, Millis, Outcome, RunId, TaskIx, Timestamp};
use std::collections::BTreeSet;

#[derive(Default)]
pub(crate) struct Lease {
    /// When that was sent of which the control plane is known to have heard last.
    heard_from: Option<Timestamp>,
    inventory_sent: Option<Timestamp>,
    /// Attempts that were stopped although their task must not be begun twice.
    cut: BTreeSet<AttemptId>,
}

impl Lease {
    pub(crate) fn inventory_sent(&mut self, now: Timestamp) {
        // A clock that was set back while nothing waited is followed: what was heard later than now is of no meaning any more.
        self.heard_from = self.heard_from.filter(|at| *at <= now);
        self.inventory_sent = Some(now);
    }

    /// The inventory was answered.
    pub(crate) fn reconciled(&mut self) {
        self.heard_from = self.heard_from.max(self.inventory_sent);
    }

    fn ends(&self, pause_after: Millis) -> Timestamp {
        self.heard_from.unwrap_or_default().after(pause_after)
    }

    /// What the end of an attempt means that had to be stopped in its middle.
    pub(crate) fn end_of(&mut self, id: &AttemptId, outcome: Outcome) -> Outcome {
        if self.cut.remove(id) && outcome == Outcome::Cancelled {
            return Outcome::Failed(Failure::new(
                FailureKind::OutcomeUnknown,
                "stopped because the control plane was out of contact for longer than `pauseAfter`; whether its effect happened is not known",
            ));
        }
        outcome
    }
}

impl Held {
    /// After how long without contact its fragments pause.
    pub(crate) fn pause_after(&self) -> Option<Millis> {
        self.run.graph().workflow.on_disconnect.pause_after.filter(|_| !self.local)
    }

    /// Nothing of any fragment is begun until it is resumed. What runs goes on.
    pub(crate) fn begin_paused(&mut self) {
        self.paused = self.fragments.keys().copied().collect();
        self.run.hold(self.fragment_of.keys().copied());
    }
}

impl Node {
    /// The control plane has answered a heart-beat that was sent then. Counts only on a reconciled link: before that it says
    /// nothing about what this agent holds.
    pub fn acknowledged(&mut self, sent_at: Timestamp, now: Timestamp) {
        if self.link != Link::Up {
            return;
        }
        self.lease.heard_from = self.lease.heard_from.max(Some(sent_at));
        let paused = self.runs.iter().filter(|(_, held)| !held.paused.is_empty());
        for run in paused.map(|(run, _)| *run).collect::<Vec<_>>() {
            self.resume_run(run, None, now);
        }
    }

    /// The control plane takes another device for this agent: nothing of its fragments goes on here until it takes this one.
    pub fn turned_away(&mut self, now: Timestamp) {
        self.pause_where(|held| !held.local, now);
    }

    /// Whether something of the run waits for the control plane's word.
    #[must_use]
    pub fn is_paused(&self, run: RunId) -> bool {
        self.runs.get(&run).is_some_and(|held| !held.paused.is_empty())
    }

    /// When the next lease ends.
    pub(crate) fn lease_timeout(&self) -> Option<Timestamp> {
        let running = self.runs.values().filter(|held| held.paused.len() < held.fragments.len());
        let open = running.filter(|held| !held.run.owned_all_ended());
        open.filter_map(|held| Some(self.lease.ends(held.pause_after()?))).min()
    }

    pub(crate) fn end_leases(&mut self, now: Timestamp) {
        let heard_from = self.lease.heard_from.unwrap_or_default();
        self.pause_where(|held| held.pause_after().is_some_and(|after| heard_from.after(after) <= now), now);
    }

    fn pause_where(&mut self, due: impl Fn(&Held) -> bool, now: Timestamp) {
        let runs: Vec<RunId> = self.runs.iter().filter(|(_, held)| due(held)).map(|(run, _)| *run).collect();
        for run in runs {
            let Some(held) = self.runs.get_mut(&run) else { continue };
            let pausing: Vec<FragmentId> = held.fragments.keys().filter(|f| !held.paused.contains(f)).copied().collect();
            for fragment in pausing {
                let tasks: Vec<TaskIx> = held.tasks_of(fragment).collect();
                held.paused.insert(fragment);
                held.run.hold(tasks.iter().copied());
                held.run.yield_running(tasks.iter().copied());
                // What must not be begun twice must not go on either, now that another agent may be given it.
                let workflow = &held.run.graph().workflow;
                for task in tasks.iter().filter(|task| !workflow.task(**task).idempotent) {
                    for path in held.run.running_of(*task) {
                        let running = self.admission.running().find(|id| id.run == run && id.path == path).copied();
                        let begun = running.filter(|id| !self.permission.contains(id));
                        let Some(id) = begun.filter(|id| self.lease.cut.insert(*id)) else {
                            continue;
                        };
                        self.commands.push_back(Command::Stop { id });
                    }
                }
            }
            self.call_back(|id| id.run == run, now);
            self.advance(run, now);
        }
    }

    /// The fragment, or all of the run, is still this agent's.
    pub(crate) fn resume_run(&mut self, run: RunId, only: Option<FragmentId>, now: Timestamp) {
        let Some(held) = self.runs.get_mut(&run) else { return };
        let resumed: Vec<FragmentId> = held
            .paused
            .iter()
            .filter(|f| only.is_none_or(|only| **f == only))
            .copied()
            .collect();
        for fragment in &resumed {
            held.paused.remove(fragment);
        }
        for fragment in resumed {
            self.let_begin(run, fragment, now);
        }
    }

    /// Hands out what is ready of a fragment again, unless there is another reason to hold it.
    pub(crate) fn let_begin(&mut self, run: RunId, fragment: FragmentId, now: Timestamp) {
        let yields = self.yields.contains(run, fragment);
        let Some(held) = self.runs.get_mut(&run).filter(|held| !yields && !held.paused.contains(&fragment)) else {
            return;
        };
        let tasks: Vec<TaskIx> = held.tasks_of(fragment).collect();
        held.run.unhold(tasks, now);
        self.advance(run, now);
        self.admit(now);
    }
}

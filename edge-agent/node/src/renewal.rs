//! A fragment that goes on here under another epoch.

use crate::node::{Node, take};
use crate::record::Record;
use eyot_model::{RunId, Timestamp};
use eyot_wire::{Assignment, ReportItem};
use std::collections::BTreeSet;

impl Node {
    /// A fragment that is held goes on under a new epoch: what was not reported yet is reported under that one. The facts
    /// are what the cloud has committed of it, which may be more than this agent's journal still had.
    pub(crate) fn renewed(&mut self, assignment: Assignment, now: Timestamp) {
        let (run, fragment, epoch) = (assignment.run, assignment.fragment, assignment.epoch);
        let Some(held) = self.runs.get_mut(&run) else { return };
        let from = held.fragments.get(&fragment).copied().unwrap_or_default();
        take(held, &assignment);
        self.outbox.renew(run, fragment, from, epoch);
        let (facts, tasks, saved) = (assignment.facts.clone(), assignment.tasks.clone(), assignment.saved.clone());
        let written = self.append(Record::Assigned(Box::new(assignment)));
        self.tell_anew(run);
        // As after a restart, which reads them there.
        self.take_saved(run, written, &saved);
        self.confirm(run, fragment, epoch);
        // Their starts may have been told under the epoch that is over, and count for nothing there.
        self.call_back(|id| id.run == run && tasks.contains(&id.path.task), now);
        let running: BTreeSet<(eyot_model::Path, u32)> = self
            .admission
            .running()
            .filter(|id| id.run == run)
            .map(|id| (id.path, id.attempt))
            .collect();
        if let Some(held) = self.runs.get_mut(&run) {
            for event in facts {
                // What is known already changes nothing; what makes no sense here is told apart when it is reported.
                let _ = held.run.handle_event(event, now);
            }
            held.run.cut_off(&tasks, |path, attempt| running.contains(&(path, attempt)), now);
        }
        // Under this epoch it is not on its way to another agent.
        self.yields.remove(run, fragment);
        self.let_begin(run, fragment, now);
        self.advance(run, now);
        self.admit(now);
    }

    /// Everything of a run that is not acknowledged is written down again and told from there, in the order in which it was
    /// decided. What was on its way under an earlier epoch may come late, and its acknowledgement says only that it came: under
    /// the old positions it would be taken for one of what is told under this epoch.
    fn tell_anew(&mut self, run: RunId) {
        for (item, size, blobs) in self.outbox.take_run(run) {
            let position = self.append(Record::Own {
                run,
                fragment: item.fragment,
                epoch: item.epoch,
                event: item.event.clone(),
            });
            self.outbox.push(ReportItem { position, ..item }, size, blobs);
        }
    }
}

//! What only a lost device held, and others need: it is made again, or what needs it fails.
//!
//! A result commits without its blobs if only its own agent needs them. When what is left goes to another agent and the first
//! one cannot give them any more, the task that made them runs again under a new generation, and so does, before it, whatever
//! it reads and is lost too. A task that must not be repeated is never run again: what needs its lost result fails with
//! `state.lost`. What had ended stays ended, but for the tasks that are made again.

use crate::coordinator::Coordinator;
use crate::entry::Entry;
use eyot_engine::TaskEntry;
use eyot_model::{Digest, FragmentId, LinkState, RunId, State, TaskIx, Timestamp, Value};
use std::collections::{BTreeMap, BTreeSet};

impl Coordinator {
    /// Blobs in committed results that tasks of the fragment which have not ended may need, directly or to be made again.
    #[must_use]
    pub fn blobs_needed(&self, run: RunId, fragment: FragmentId) -> BTreeSet<Digest> {
        let mut needed = BTreeSet::new();
        let Some(entry) = self.runs.get(&run) else { return needed };
        let Some(owned) = entry.fragments.get(&fragment) else {
            return needed;
        };
        let mut seen = BTreeSet::new();
        let mut queue: Vec<TaskIx> = owned.tasks.iter().filter(|task| entry.is_unfinished(**task)).copied().collect();
        while let Some(task) = queue.pop() {
            collect(&entry.run.tasks()[task.index()], &mut |digest| _ = needed.insert(digest));
            queue.extend(entry.run.graph().reads(task).into_iter().filter(|read| seen.insert(*read)));
        }
        needed
    }

    /// The cloud does not have these of [`Coordinator::blobs_needed`], and whoever had the fragment so far cannot give them any
    /// more: it is about to be given to another agent. Said before each [`Coordinator::replanned`] that names one.
    pub fn note_missing(&mut self, run: RunId, fragment: FragmentId, missing: BTreeSet<Digest>) {
        self.missing.insert((run, fragment), missing);
    }

    /// Rewinds what has to be made again for the fragment, and fails what cannot be had. Call it before the fragment is
    /// assigned, so that the assignment tells.
    pub(crate) fn rewind_lost(&mut self, run: RunId, fragment: FragmentId, missing: &BTreeSet<Digest>, now: Timestamp) {
        let Some(entry) = self.runs.get_mut(&run) else { return };
        let Some(owned) = entry.fragments.get(&fragment) else { return };
        if missing.is_empty() {
            return;
        }
        let mut anew = BTreeSet::new();
        let mut failed: BTreeMap<TaskIx, TaskIx> = BTreeMap::new();
        for task in owned.tasks.clone().into_iter().filter(|task| entry.is_unfinished(*task)) {
            let lost = entry.lost_inputs(task, missing);
            // What its own items gave is needed by those who wait for it.
            let own = entry.is_lost(task, missing).then_some(task);
            for source in lost.into_iter().chain(own) {
                let mut more = anew.clone();
                match entry.remake(source, missing, &mut more) {
                    Ok(()) => anew = more,
                    Err(cannot) => drop(failed.insert(task, cannot)),
                }
            }
        }
        for (task, cannot) in failed {
            let name = entry.workflow.task(cannot).name.clone();
            let message = format!("what task `{name}` gave was lost with its device, and the task must not run a second time");
            for path in entry.run.open_of(task) {
                entry.run.fail_lost(path, message.clone(), now);
            }
        }
        let mut elsewhere = BTreeSet::new();
        for task in anew {
            // It succeeded, or some of its items did: it can be rewound.
            let _ = entry.run.rewind(task, now);
            elsewhere.extend(entry.owner.get(&task).filter(|of| **of != fragment));
        }
        self.advance(run, None, now);
        for other in elsewhere {
            self.begin_again(run, other, now);
        }
    }

    /// A fragment of which a task runs again although it is not the one that changes hands. Its owner begins anew, unless that
    /// is out of contact or to lose it anyway: it would not hear of it, and whoever needs what is lost would wait for it.
    fn begin_again(&mut self, run: RunId, fragment: FragmentId, now: Timestamp) {
        let why = "what it had made was lost".to_owned();
        let unwanted = self.fragment_mut(run, fragment).is_some_and(|owned| owned.search.is_some());
        match self.owner_of(run, fragment) {
            Some(agent) if unwanted || self.link(agent) == LinkState::Disconnected => {
                self.take_away(run, fragment, agent, why, now);
            }
            Some(agent) => self.assign(run, fragment, agent, Some(why), now),
            None => self.search_for_fenced(run),
        }
    }
}

impl Entry {
    fn is_unfinished(&self, task: TaskIx) -> bool {
        !self.run.tasks()[task.index()].own.state.is_terminal()
    }

    /// Whether something that the task gave is missing.
    fn is_lost(&self, task: TaskIx, missing: &BTreeSet<Digest>) -> bool {
        let mut lost = false;
        collect(&self.run.tasks()[task.index()], &mut |digest| lost |= missing.contains(&digest));
        lost
    }

    fn lost_inputs(&self, task: TaskIx, missing: &BTreeSet<Digest>) -> Vec<TaskIx> {
        let reads = self.run.graph().reads(task).into_iter();
        reads.filter(|read| self.is_lost(*read, missing)).collect()
    }

    /// Adds what has to run again for `task` to be made again; the task that must not, if there is one.
    fn remake(&self, task: TaskIx, missing: &BTreeSet<Digest>, anew: &mut BTreeSet<TaskIx>) -> Result<(), TaskIx> {
        let mut queue = vec![task];
        while let Some(task) = queue.pop() {
            if !self.workflow.task(task).idempotent {
                return Err(task);
            }
            if anew.insert(task) {
                queue.extend(self.lost_inputs(task, missing));
            }
        }
        Ok(())
    }
}

/// Every blob in what a task, or any of its items, gave.
fn collect(task: &TaskEntry, visit: &mut dyn FnMut(Digest)) {
    let items = task.items.iter().flat_map(|items| &items.instances);
    let given = std::iter::once(&task.own).chain(items).filter(|i| i.state == State::Succeeded);
    for outputs in given.filter_map(|instance| instance.outputs.as_ref()) {
        Value::for_each_blob(outputs, &mut |blob| visit(blob.digest));
    }
}

//! Leave to begin what must not be done twice.
//!
//! Of a workflow with `reassignAfter` another agent may be given a fragment while this one is out of contact. It can only
//! know of an attempt here whose start the control plane has committed. So an attempt of a task that is not idempotent is
//! held after its start was written down, until that is so and this is itself on the disk. Until then it has not begun: where
//! the fragment pauses, is given away, or the run is cancelled, it gives its place back, and does not count.

use crate::command::{Command, Start};
use crate::held::Held;
use crate::node::Node;
use crate::outbox::reached;
use eyot_model::{AttemptId, Event, Position, RunId, TaskIx, Timestamp};
use std::collections::BTreeMap;

#[derive(Default)]
pub(crate) struct Permission(BTreeMap<AttemptId, (Position, Box<Start>)>);

impl Permission {
    pub(crate) fn ask(&mut self, written: Position, start: Box<Start>) {
        self.0.insert(start.id, (written, start));
    }

    pub(crate) fn contains(&self, id: &AttemptId) -> bool {
        self.0.contains_key(id)
    }

    /// It will not begin. False if it did not wait.
    pub(crate) fn withdraw(&mut self, id: &AttemptId) -> bool {
        self.0.remove(id).is_some()
    }

    /// The starts that are committed now; each is to be carried out after the record at `after` is durable.
    fn granted(&mut self, committed: Position, after: Position) -> Vec<Command> {
        let granted = self.0.extract_if(.., |_, (written, _)| reached(*written, committed));
        let after = Some(after);
        granted.map(|(_, (_, start))| Command::Start { start, after }).collect()
    }
}

/// Starts without an end, as the records of a disk tell of them: where each was written down. One that was told again after
/// a loss has more than one place.
#[derive(Default)]
pub(crate) struct Open(BTreeMap<AttemptId, Vec<Position>>);

impl Open {
    pub(crate) fn replay(&mut self, run: RunId, position: Position, event: &Event) {
        if let Event::Started { path, attempt, epoch, .. } = event {
            let (path, attempt, epoch) = (*path, *attempt, *epoch);
            self.0.entry(AttemptId { run, path, attempt, epoch }).or_default().push(position);
        }
    }

    /// Whether the attempt cannot have begun: everything that is known of it lies in the present journal, which would know
    /// of the control plane's word.
    fn never_began(&self, id: &AttemptId, committed: Position) -> bool {
        let later = |position: &Position| position.generation == committed.generation && position.n > committed.n;
        self.0.get(id).is_some_and(|positions| positions.iter().all(later))
    }
}

impl Held {
    /// Whether attempts of the task wait for the control plane to know of them.
    pub(crate) fn asks_before(&self, task: TaskIx) -> bool {
        let workflow = &self.run.graph().workflow;
        !self.local && workflow.on_disconnect.reassign_after.is_some() && !workflow.task(task).idempotent
    }
}

impl Node {
    /// Attempts that wait for the control plane to know of their start.
    pub fn held_starts(&self) -> impl Iterator<Item = &AttemptId> {
        self.permission.0.keys()
    }

    /// What the control plane knows of now begins, once the record at `written`, which says so, is durable: after a restart
    /// it tells that these may have begun.
    pub(crate) fn permit(&mut self, written: Position) {
        let granted = self.permission.granted(self.committed, written);
        if !granted.is_empty() {
            self.commands.push_back(Command::Sync { urgent: true });
        }
        self.commands.extend(granted);
    }

    /// What `which` holds for and has not begun gives its place back.
    pub(crate) fn call_back(&mut self, which: impl Fn(&AttemptId) -> bool, now: Timestamp) {
        let ids: Vec<AttemptId> = self.permission.0.keys().filter(|id| which(id)).copied().collect();
        for id in ids {
            self.permission.withdraw(&id);
            self.admission.ended(&id);
            if let Some(held) = self.runs.get_mut(&id.run) {
                // One that has no place any more has none to give back.
                let _ = held.run.give_back(id.path, id.attempt, now);
                self.advance(id.run, now);
            }
        }
    }

    /// After a restart: what had been written down and cannot have begun gives its place back.
    pub(crate) fn recover_starts(&mut self, run: RunId, open: &Open, now: Timestamp) {
        let committed = self.committed;
        let Some(held) = self.runs.get_mut(&run) else { return };
        let tasks: Vec<TaskIx> = held.fragment_of.keys().copied().filter(|task| held.asks_before(*task)).collect();
        for task in tasks {
            for path in held.run.running_of(task) {
                let Some(instance) = held.run.tasks()[task.index()].instance(path.item) else {
                    continue;
                };
                let (attempt, epoch) = (instance.attempts, instance.epoch);
                if open.never_began(&AttemptId { run, path, attempt, epoch }, committed) {
                    held.run.write_off(path, attempt, now);
                }
            }
        }
    }
}

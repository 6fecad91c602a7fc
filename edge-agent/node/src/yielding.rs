//! Giving a fragment back on purpose: it is to move to another agent.
//!
//! What runs of it stops (what must not be repeated is let finish), nothing new begins, what others will need is brought
//! to the cloud, and everything that happened is reported; then the fragment is *at rest*, and the cloud is told. From that
//! moment another agent may have it, so it stays at rest here, over restarts too, until the cloud says what became of it.
//! Before that moment a lost link calls the move off, and the work goes on.

use crate::command::Command;
use crate::held::Held;
use crate::node::{Link, Node};
use crate::record::Record;
use eyot_model::{BlobRef, Digest, Epoch, FragmentId, Position, RunId, State, TaskIx, Timestamp};
use eyot_wire::ToCloud;
use std::collections::{BTreeMap, BTreeSet};

#[derive(Default)]
pub(crate) struct Yields(BTreeMap<(RunId, FragmentId), Yielding>);

struct Yielding {
    epoch: Epoch,
    stage: Stage,
    /// Not yet known to be in the cloud.
    blobs: BTreeSet<Digest>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// Something of it still runs.
    Stopping,
    /// Nothing happens to it after this record.
    AtRest { through: Position },
    /// The cloud was told, over this link or an earlier one.
    Told,
}

impl Yields {
    pub(crate) fn uploaded(&mut self, digest: Digest) {
        for yielding in self.0.values_mut() {
            yielding.blobs.remove(&digest);
        }
    }

    pub(crate) fn contains(&self, run: RunId, fragment: FragmentId) -> bool {
        self.0.contains_key(&(run, fragment))
    }

    pub(crate) fn remove(&mut self, run: RunId, fragment: FragmentId) {
        self.0.remove(&(run, fragment));
    }

    pub(crate) fn forget(&mut self, run: RunId) {
        self.0.retain(|(of, _), _| *of != run);
    }

    /// From the journal: the cloud may have been told.
    pub(crate) fn rested(&mut self, run: RunId, fragment: FragmentId, epoch: Epoch) {
        let yielding = Yielding {
            epoch,
            stage: Stage::Told,
            blobs: BTreeSet::new(),
        };
        self.0.insert((run, fragment), yielding);
    }

    /// Tasks of a run of which nothing may begin, and about which nothing is decided.
    pub(crate) fn held_tasks(&self, run: RunId, held: &Held) -> Vec<TaskIx> {
        let resting = |fragment: &FragmentId| self.0.contains_key(&(run, *fragment));
        let of = held.fragment_of.iter().filter(|(_, fragment)| resting(fragment));
        of.map(|(task, _)| *task).collect()
    }
}

impl Node {
    pub(crate) fn yield_fragment(&mut self, run: RunId, fragment: FragmentId, epoch: Epoch, now: Timestamp) {
        let Some(held) = self.runs.get_mut(&run).filter(|held| held.fragments.get(&fragment) == Some(&epoch)) else {
            return;
        };
        let tasks: Vec<TaskIx> = held.tasks_of(fragment).collect();
        let yielding = Yielding {
            epoch,
            stage: Stage::Stopping,
            blobs: BTreeSet::new(),
        };
        self.yields.0.insert((run, fragment), yielding);
        held.leaves(fragment);
        held.run.rest(tasks.iter().copied());
        held.run.yield_running(tasks.iter().copied());
        self.call_back(|id| id.run == run && tasks.contains(&id.path.task), now);
        self.advance(run, now);
        self.press_on();
    }

    /// The fragment stays after all.
    pub(crate) fn go_on(&mut self, run: RunId, fragment: FragmentId, epoch: Epoch, now: Timestamp) {
        let Some(held) = self.runs.get_mut(&run).filter(|held| held.fragments.get(&fragment) == Some(&epoch)) else {
            return;
        };
        if self.yields.0.remove(&(run, fragment)).is_none() {
            return;
        }
        held.stays(fragment);
        self.append(Record::WentOn { run, fragment });
        self.let_begin(run, fragment, now);
    }

    /// The agent's process is about to end: nothing begins any more, and what runs gives its place back, so that the next
    /// start goes on with it. What must not be repeated is left to finish.
    pub fn shut_down(&mut self, now: Timestamp) {
        let runs: Vec<RunId> = self.runs.keys().copied().collect();
        for run in runs {
            if let Some(held) = self.runs.get_mut(&run) {
                let tasks: Vec<TaskIx> = held.fragment_of.keys().copied().collect();
                held.run.hold(tasks.iter().copied());
                held.run.yield_running(tasks);
            }
            self.call_back(|id| id.run == run, now);
            self.advance(run, now);
        }
    }

    /// Whether any attempt runs.
    #[must_use]
    pub fn is_at_work(&self) -> bool {
        self.admission.running().next().is_some()
    }

    /// The link is gone: what the cloud was not told stays here.
    pub(crate) fn call_off_yields(&mut self, now: Timestamp) {
        let open = self.yields.0.iter().filter(|(_, y)| y.stage != Stage::Told);
        let open: Vec<(RunId, FragmentId, Epoch)> = open.map(|((run, fragment), y)| (*run, *fragment, y.epoch)).collect();
        for (run, fragment, epoch) in open {
            self.go_on(run, fragment, epoch, now);
        }
    }

    /// Takes the next step with every fragment that yields.
    pub(crate) fn press_on(&mut self) {
        let keys: Vec<(RunId, FragmentId)> = self.yields.0.keys().copied().collect();
        for (run, fragment) in keys {
            self.come_to_rest(run, fragment);
            self.tell_rest(run, fragment);
        }
    }

    fn come_to_rest(&mut self, run: RunId, fragment: FragmentId) {
        let Some(held) = self.runs.get(&run) else { return };
        let Some(yielding) = self.yields.0.get_mut(&(run, fragment)) else {
            return;
        };
        if yielding.stage != Stage::Stopping || held.tasks_of(fragment).any(|task| !held.run.running_of(task).is_empty()) {
            return;
        }
        let epoch = yielding.epoch;
        let mut blobs = held.needed_elsewhere(fragment);
        let open = |path: &eyot_model::Path| held.fragment_of.get(&path.task) == Some(&fragment);
        blobs.extend(self.saved.blobs_of(run, open));
        yielding.blobs = self.outbox.want(blobs);
        let through = self.append(Record::AtRest { run, fragment, epoch });
        if let Some(yielding) = self.yields.0.get_mut(&(run, fragment)) {
            yielding.stage = Stage::AtRest { through };
        }
        for blob in self.outbox.uploads() {
            self.commands.push_back(Command::Upload(blob));
        }
        self.commands.push_back(Command::Sync { urgent: true });
    }

    fn tell_rest(&mut self, run: RunId, fragment: FragmentId) {
        let Some(yielding) = self.yields.0.get_mut(&(run, fragment)) else {
            return;
        };
        let Stage::AtRest { through } = yielding.stage else { return };
        let reported = self.outbox.all_sent(|item| item.run == run && item.fragment == fragment);
        let durable = crate::outbox::reached(through, self.synced);
        if self.link != Link::Up || !durable || !reported || !yielding.blobs.is_empty() {
            return;
        }
        let epoch = yielding.epoch;
        yielding.stage = Stage::Told;
        let tasks: BTreeSet<TaskIx> = self
            .runs
            .get(&run)
            .map(|held| held.tasks_of(fragment).collect())
            .unwrap_or_default();
        self.send_saved(run, &tasks);
        self.commands.push_back(Command::Send(ToCloud::Yielded {
            run,
            fragment,
            epoch,
            through,
        }));
    }
}

impl Held {
    pub(crate) fn tasks_of(&self, fragment: FragmentId) -> impl Iterator<Item = TaskIx> {
        self.fragment_of.iter().filter(move |(_, f)| **f == fragment).map(|(task, _)| *task)
    }

    /// Blobs that are needed elsewhere once the fragment is gone: those in what its tasks gave which tasks that have not ended
    /// may need, and those in what its unfinished tasks read of other fragments here.
    fn needed_elsewhere(&self, fragment: FragmentId) -> Vec<BlobRef> {
        let graph = self.run.graph();
        let open = |task: &TaskIx| !self.run.tasks()[task.index()].own.state.is_terminal();
        let mut blobs = Vec::new();
        for task in self.tasks_of(fragment) {
            // What items have given so far, of a task that goes on elsewhere, is needed too.
            if open(&task) {
                blobs.extend(self.blobs_of(task));
                let mut read = graph.reads(task);
                read.retain(|read| self.fragment_of.get(read).is_some_and(|of| *of != fragment));
                blobs.extend(read.into_iter().flat_map(|read| self.blobs_of(read)));
            } else if self.run.tasks()[task.index()].own.state == State::Succeeded && graph.dependents(task).iter().any(open) {
                blobs.extend(self.blobs_of(task));
            }
        }
        blobs
    }
}

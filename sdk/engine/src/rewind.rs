//! Running a task anew although it had ended: what it gave was lost with the only device that held it.
//!
//! The task is Pending again under a new generation, and so are its items; the counts of its dependents are taken back.
//! A dependent that has ended stays as it is: what it consumed had been committed. One that has not begun waits again. One
//! that is in between keeps its attempts and the items that have ended, and nothing more of it is handed out until the
//! task has ended again; if that goes wrong, what is open of it fails, because it cannot be had any more.

use crate::apply::{Applied, Rejected};
use crate::instance::Instance;
use crate::run::Run;
use eyot_model::{Event, Failure, FailureKind, Path, State, TaskIx, Timestamp};
use std::sync::Arc;

impl Run {
    /// Has a task that succeeded run again under a new generation. Only the run's coordinator decides this, and only
    /// together with a new owner of the task.
    ///
    /// # Errors
    /// When the task did not succeed.
    pub fn rewind(&mut self, task: TaskIx, now: Timestamp) -> Result<Applied, Rejected> {
        let entry = self.tasks.get(task.index()).ok_or(Rejected::UnknownTask(task))?;
        let generation = entry.generation.checked_add(1).ok_or_else(|| Rejected::Illegal {
            path: self.path(task),
            from: entry.own.state,
            to: State::Pending,
        })?;
        self.handle_event(Event::Rewound { task, generation, at: now }, now)
    }

    pub(crate) fn rewound(&mut self, task: TaskIx, generation: u32) -> Result<Applied, Rejected> {
        let entry = self.tasks.get_mut(task.index()).ok_or(Rejected::UnknownTask(task))?;
        if entry.generation >= generation || self.outcome.is_some() {
            return Ok(Applied::Known);
        }
        let was = entry.own.state;
        let at_rest = |items: &crate::Items| items.instances.iter().all(|i| !i.issued);
        // Items that go on elsewhere may have lost what others of them gave.
        let halfway = was == State::Waiting && entry.items.as_deref().is_some_and(at_rest);
        if !halfway && !matches!(was, State::Succeeded | State::Pending) {
            return Err(Rejected::Illegal {
                path: Path::task(task).of_generation(entry.generation),
                from: was,
                to: State::Pending,
            });
        }
        entry.own = Instance::default();
        entry.items = None;
        entry.generation = generation;
        // It has begun nothing any more: the counts of the tasks before it say when it may.
        entry.stale = false;
        if self.owned[task.index()].is_some() {
            self.undecided.push_back(task);
        }
        if was != State::Succeeded {
            return Ok(Applied::New);
        }
        self.ended_tasks -= 1;
        if self.owned[task.index()].is_some() {
            self.owned_open += 1;
        }
        let graph = Arc::clone(&self.graph);
        for dependent in graph.dependents(task) {
            let entry = &mut self.tasks[dependent.index()];
            entry.upstream.uncount(was);
            if entry.own.state != State::Pending && !entry.own.state.is_terminal() {
                entry.stale = true;
                self.take_back(*dependent);
            }
        }
        Ok(Applied::New)
    }

    /// Goes on with an owned task that had begun, once every task before it that runs anew has ended.
    pub(crate) fn take_up(&mut self, task: TaskIx, now: Timestamp) {
        let needs = &self.graph.workflow.task(task).needs;
        let anew = needs
            .iter()
            .map(|need| &self.tasks[need.index()])
            .filter(|need| need.generation > 0);
        if anew.clone().any(|need| !need.own.state.is_terminal()) {
            return;
        }
        self.tasks[task.index()].stale = false;
        if self.tasks[task.index()].own.state.is_terminal() {
            return;
        }
        let reads = self.graph.reads(task);
        let lost = reads.into_iter().find(|read| {
            let entry = &self.tasks[read.index()];
            entry.generation > 0 && entry.own.state != State::Succeeded
        });
        if let Some(lost) = lost {
            let name = &self.graph.workflow.task(lost).name;
            let message = format!("what task `{name}` gave was lost with its device and could not be made again");
            return self.fail_open(task, &Failure::new(FailureKind::StateLost, message), now);
        }
        let count = self.tasks[task.index()].items.as_ref().map(|items| items.instances.len());
        if let Some(count) = count {
            match self.item_list(task) {
                Ok(list) if list.len() == count => {
                    if let Some(items) = &mut self.tasks[task.index()].items {
                        items.values = Some(Arc::new(list));
                    }
                }
                _ => {
                    let message = "the list of items was lost with its device and came out differently when it was made again";
                    return self.fail_open(task, &Failure::new(FailureKind::StateLost, message), now);
                }
            }
        }
        self.unpark(task);
        self.feed_items(task);
    }

    /// Fails what of an owned task is open and does not run.
    fn fail_open(&mut self, task: TaskIx, failure: &Failure, now: Timestamp) {
        for path in self.open_of(task) {
            if self.instance(path).is_ok_and(|i| i.state != State::Running) {
                self.decided(Event::Failed {
                    path,
                    failure: failure.clone(),
                    at: now,
                });
            }
        }
    }

    /// The instances of `task` that have not ended: its items, where it is expanded.
    #[must_use]
    pub fn open_of(&self, task: TaskIx) -> Vec<Path> {
        let Some(entry) = self.tasks.get(task.index()) else {
            return Vec::new();
        };
        let open = |instance: &Instance| !instance.state.is_terminal();
        match &entry.items {
            Some(items) if !items.instances.is_empty() => (0u32..)
                .zip(&items.instances)
                .filter(|(_, instance)| open(instance))
                .map(|(n, _)| self.item_path(task, n))
                .collect(),
            _ => Some(self.path(task)).filter(|_| open(&entry.own)).into_iter().collect(),
        }
    }

    /// The coordinator's word that an instance cannot be had any more: what it needs was lost, and must not be made twice.
    /// Nothing happens to one that has ended.
    pub fn fail_lost(&mut self, path: Path, message: String, now: Timestamp) {
        let failure = Failure::new(FailureKind::StateLost, message);
        // An instance that has ended meanwhile keeps its end.
        let _ = self.handle_event(Event::Failed { path, failure, at: now }, now);
    }
}

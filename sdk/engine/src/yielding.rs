//! Stopping on purpose what could go on: a pause, a move to another agent, the end of the agent's process.

use crate::run::{Command, Run};
use crate::{Applied, Rejected};
use eyot_model::{Event, Outcome, Path, State, TaskIx, Timestamp, Usage};

impl Run {
    /// From now on nothing of `tasks` is handed out. What runs goes on; [`Run::yield_running`] stops it.
    pub fn hold(&mut self, tasks: impl IntoIterator<Item = TaskIx>) {
        for task in tasks {
            if let Some(entry) = self.tasks.get_mut(task.index()).filter(|entry| !entry.held) {
                entry.held = true;
                self.take_back(task);
            }
        }
    }

    /// As [`Run::hold`], and from now on nothing is decided about `tasks` either, whatever happens to others.
    pub fn rest(&mut self, tasks: impl IntoIterator<Item = TaskIx>) {
        let tasks: Vec<TaskIx> = tasks.into_iter().collect();
        for task in &tasks {
            if let Some(entry) = self.tasks.get_mut(task.index()) {
                entry.at_rest = true;
            }
        }
        self.hold(tasks);
    }

    /// Hands out again what was held, and decides what is due of what rested.
    pub fn unhold(&mut self, tasks: impl IntoIterator<Item = TaskIx>, now: Timestamp) {
        for task in tasks {
            if let Some(entry) = self.tasks.get_mut(task.index()).filter(|entry| entry.held) {
                entry.held = false;
                if std::mem::take(&mut entry.at_rest) {
                    self.undecided.push_back(task);
                }
                self.unpark(task);
            }
        }
        self.decide_all(now);
    }

    /// Asks every running attempt of `tasks` to stop and to give its place back, if the task may be begun a second time: it
    /// ends as [`eyot_model::Event::Yielded`], unless it comes to an end of its own first. Attempts of tasks that must not
    /// be repeated are let finish: see [`Run::running_of`]. Hold the tasks before, or they start again at once.
    pub fn yield_running(&mut self, tasks: impl IntoIterator<Item = TaskIx>) {
        for task in tasks {
            if self.owner_epoch(task).is_none() || !self.graph.workflow.task(task).idempotent {
                continue;
            }
            for path in self.running_of(task) {
                let Ok(instance) = self.instance_mut(path) else { continue };
                if !std::mem::replace(&mut instance.yielding, true) {
                    let attempt = instance.attempts;
                    self.commands.push_back(Command::Stop { path, attempt });
                }
            }
        }
    }

    /// An attempt that was admitted did not begin: it gives its place back. In a run that is being cancelled it is cancelled.
    ///
    /// # Errors
    /// When the instance does not exist.
    pub fn give_back(&mut self, path: Path, attempt: u32, now: Timestamp) -> Result<Applied, Rejected> {
        let instance = self.instance_mut(path)?;
        if instance.attempts == attempt && instance.state == State::Running {
            instance.yielding = true;
        }
        self.attempt_ended(path, attempt, Outcome::Cancelled, Usage::default(), now)
    }

    /// As [`Run::give_back`], after a restart and before [`Run::resume`]: nothing else is decided.
    pub fn write_off(&mut self, path: Path, attempt: u32, now: Timestamp) {
        let Ok(instance) = self.instance(path) else { return };
        let yielded = Event::Yielded {
            path,
            attempt,
            epoch: instance.epoch,
            at: now,
        };
        if let Ok(Applied::New) = self.apply(&yielded) {
            self.append(yielded);
        }
    }

    /// The instances of `task` that run.
    #[must_use]
    pub fn running_of(&self, task: TaskIx) -> Vec<Path> {
        let Some(entry) = self.tasks.get(task.index()) else {
            return Vec::new();
        };
        let own = std::iter::once((None, &entry.own));
        let items = entry
            .items
            .iter()
            .flat_map(|items| (0u32..).zip(&items.instances))
            .map(|(n, instance)| (Some(n), instance));
        let path = self.path(task);
        own.chain(items)
            .filter(|(_, instance)| instance.state == State::Running)
            .map(|(item, _)| Path { item, ..path })
            .collect()
    }

    /// Takes back what of a task was handed out as ready and has not begun.
    pub(crate) fn take_back(&mut self, task: TaskIx) {
        let path = self.path(task);
        let entry = &mut self.tasks[task.index()];
        let own = std::iter::once((None, &mut entry.own));
        let items = entry
            .items
            .iter_mut()
            .flat_map(|items| (0u32..).zip(&mut items.instances))
            .map(|(n, instance)| (Some(n), instance));
        for (item, instance) in own.chain(items) {
            if instance.issued && instance.state == State::Queued {
                instance.issued = false;
                self.issued -= 1;
                self.parked.push_back(Path { item, ..path });
            }
        }
    }

    /// What of a task was parked is ready again, as far as nothing else holds it.
    pub(crate) fn unpark(&mut self, task: TaskIx) {
        let (mine, others) = std::mem::take(&mut self.parked)
            .into_iter()
            .partition(|path: &Path| path.task == task);
        self.parked = others;
        let mut mine: std::collections::VecDeque<Path> = mine;
        self.ready.append(&mut mine);
    }
}

//! A run: its state, and the way in and out of it.

use crate::graph::Graph;
use crate::instance::TaskEntry;
use crate::rule::Upstream;
use eyot_model::{AttemptId, Epoch, Event, Inputs, Path, RunId, RunOutcome, TaskIx, Timestamp, Value};
use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;

/// What a role has to do, in this order.
#[derive(Clone, Debug, PartialEq)]
pub enum Command {
    /// Write the event down. It is already part of the state.
    Append(Event),
    /// The instance may be admitted: call [`Run::admit`] when there is room for it.
    Ready(Path),
    /// Stop the running attempt; report its end by [`Run::attempt_ended`].
    Stop { path: Path, attempt: u32 },
    /// The run is over (only where this engine coordinates the run).
    Finished(RunOutcome),
}

/// An attempt that was admitted.
#[derive(Clone, Debug, PartialEq)]
pub struct Admitted {
    pub id: AttemptId,
    pub inputs: Inputs,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Timer {
    Retry(Path),
    QueueTimeout(Path),
    Deadline,
}

/// The state machine of one run.
pub struct Run {
    pub(crate) id: RunId,
    pub(crate) graph: Arc<Graph>,
    /// The inputs as a map.
    pub(crate) inputs: Value,
    pub(crate) created_at: Timestamp,
    pub(crate) tasks: Vec<TaskEntry>,
    /// Epoch under which each task is owned here.
    pub(crate) owned: Vec<Option<Epoch>>,
    /// How many of the owned tasks have not ended.
    pub(crate) owned_open: u32,
    pub(crate) coordinator: bool,
    pub(crate) ended_tasks: u32,
    pub(crate) cancelled: Option<String>,
    pub(crate) outcome: Option<RunOutcome>,
    pub(crate) ended_at: Option<Timestamp>,
    pub(crate) issued: u32,
    pub(crate) ready: VecDeque<Path>,
    /// Ready ones of tasks of which nothing may be handed out at present.
    pub(crate) parked: VecDeque<Path>,
    pub(crate) undecided: VecDeque<TaskIx>,
    pub(crate) commands: VecDeque<Command>,
    pub(crate) timers: BTreeSet<(Timestamp, Timer)>,
}

impl Run {
    /// A run in which nothing has happened and nothing is owned.
    #[must_use]
    pub fn new(id: RunId, graph: Arc<Graph>, inputs: &Inputs, created_at: Timestamp) -> Self {
        let tasks: Vec<TaskEntry> = graph
            .workflow
            .tasks
            .iter()
            .map(|task| TaskEntry {
                upstream: Upstream {
                    total: u32::try_from(task.needs.len()).unwrap_or(u32::MAX),
                    ..Upstream::default()
                },
                ..TaskEntry::default()
            })
            .collect();
        Self {
            id,
            owned: vec![None; tasks.len()],
            inputs: Value::Map(inputs.clone()),
            created_at,
            tasks,
            graph,
            owned_open: 0,
            coordinator: false,
            ended_tasks: 0,
            cancelled: None,
            outcome: None,
            ended_at: None,
            issued: 0,
            ready: VecDeque::new(),
            parked: VecDeque::new(),
            undecided: VecDeque::new(),
            commands: VecDeque::new(),
            timers: BTreeSet::new(),
        }
    }

    /// Makes this engine the run's coordinator: it keeps the deadline and closes the run.
    pub fn coordinate(&mut self) {
        self.coordinator = true;
        if let (Some(deadline), None) = (self.graph.workflow.deadline, &self.outcome) {
            self.timers.insert((self.created_at.after(deadline), Timer::Deadline));
        }
    }

    /// Takes over `tasks` under `epoch`. Nothing is decided before [`Run::resume`] is called.
    pub fn own(&mut self, tasks: impl IntoIterator<Item = TaskIx>, epoch: Epoch) {
        for task in tasks {
            if let Some(slot) = self.owned.get_mut(task.index())
                && slot.replace(epoch).is_none()
                && !self.tasks[task.index()].own.state.is_terminal()
            {
                self.owned_open += 1;
            }
        }
    }

    /// Gives `tasks` away: from now on their events come from elsewhere. What was handed out for them is void.
    pub fn disown(&mut self, tasks: impl IntoIterator<Item = TaskIx>) {
        let gone: BTreeSet<TaskIx> = tasks.into_iter().collect();
        for task in &gone {
            if let Some(slot) = self.owned.get_mut(task.index())
                && slot.take().is_some()
                && !self.tasks[task.index()].own.state.is_terminal()
            {
                self.owned_open -= 1;
            }
            if let Some(entry) = self.tasks.get_mut(task.index()) {
                entry.held = false;
                entry.at_rest = false;
                let mut released = u32::from(std::mem::take(&mut entry.own.issued));
                if let Some(items) = &mut entry.items {
                    items.backlog.clear();
                    items.issued = 0;
                    released += items
                        .instances
                        .iter_mut()
                        .map(|i| u32::from(std::mem::take(&mut i.issued)))
                        .sum::<u32>();
                }
                self.issued -= released;
            }
        }
        self.ready.retain(|path| !gone.contains(&path.task));
        self.parked.retain(|path| !gone.contains(&path.task));
        self.timers.retain(|(_, timer)| match timer {
            Timer::Retry(path) | Timer::QueueTimeout(path) => !gone.contains(&path.task),
            Timer::Deadline => true,
        });
    }

    /// The next thing to do.
    pub fn poll_command(&mut self) -> Option<Command> {
        self.commands.pop_front()
    }

    /// When [`Run::handle_timeout`] wants to be called.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Timestamp> {
        self.timers.first().map(|(at, _)| *at)
    }

    #[must_use]
    pub fn id(&self) -> RunId {
        self.id
    }

    #[must_use]
    pub fn graph(&self) -> &Arc<Graph> {
        &self.graph
    }

    #[must_use]
    pub fn created_at(&self) -> Timestamp {
        self.created_at
    }

    /// All tasks, by index.
    #[must_use]
    pub fn tasks(&self) -> &[TaskEntry] {
        &self.tasks
    }

    /// The epoch under which `task` is owned here.
    #[must_use]
    pub fn owner_epoch(&self, task: TaskIx) -> Option<Epoch> {
        self.owned.get(task.index()).copied().flatten()
    }

    /// How the run ended.
    #[must_use]
    pub fn outcome(&self) -> Option<&RunOutcome> {
        self.outcome.as_ref()
    }

    #[must_use]
    pub fn ended_at(&self) -> Option<Timestamp> {
        self.ended_at
    }

    /// Who asked for the run to stop.
    #[must_use]
    pub fn cancel_requested_by(&self) -> Option<&str> {
        self.cancelled.as_deref()
    }

    /// The task itself as an instance, in its present generation.
    #[must_use]
    pub fn path(&self, task: TaskIx) -> Path {
        Path::task(task).of_generation(self.tasks.get(task.index()).map_or(0, |entry| entry.generation))
    }

    /// One item of a task, in its present generation.
    #[must_use]
    pub fn item_path(&self, task: TaskIx, item: u32) -> Path {
        Path {
            item: Some(item),
            ..self.path(task)
        }
    }

    /// Whether every task that is owned here has ended.
    #[must_use]
    pub fn owned_all_ended(&self) -> bool {
        self.owned_open == 0
    }

    pub(crate) fn append(&mut self, event: Event) {
        self.commands.push_back(Command::Append(event));
    }
}

//! Applying events: the only place where states change.

use crate::instance::{Instance, Items};
use crate::run::Run;
use eyot_model::{Event, Failure, FailureKind, ItemFailure, Outcome, Path, Resolution, State, TaskIx, Timestamp, Value};
use std::sync::Arc;

/// What an event meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Applied {
    /// It changed the state.
    New,
    /// It was known: the same again.
    Known,
    /// The instance had already ended otherwise. The first end stays.
    Late,
}

/// Why an event cannot be part of this run's history. Always a mistake of the sender.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Rejected {
    #[error("task {0:?} is not part of the run")]
    UnknownTask(TaskIx),
    #[error("instance {0:?} does not exist")]
    UnknownInstance(Path),
    #[error("a `forEach` of {0} items is over the limit of {limit}", limit = Run::ITEM_LIMIT)]
    TooManyItems(u64),
    #[error("{path:?} cannot become {to} from {from}")]
    Illegal { path: Path, from: State, to: State },
}

impl Run {
    /// Most items of one `forEach`.
    pub const ITEM_LIMIT: u32 = 1_000_000;

    /// A fact from the owner of a task, or about the whole run. Whatever follows from it for owned tasks is decided.
    ///
    /// # Errors
    /// When the event cannot be part of this run's history; nothing has changed then.
    pub fn handle_event(&mut self, event: Event, now: Timestamp) -> Result<Applied, Rejected> {
        let applied = self.apply(&event)?;
        if applied == Applied::New {
            let stops = matches!(event, Event::CancelRequested { .. });
            self.written(event);
            if stops {
                self.stop_owned(now);
            }
            self.decide_all(now);
        }
        Ok(applied)
    }

    /// An event that was written down before: it changes the state and nothing else happens. Call [`Run::resume`] after
    /// the last one.
    ///
    /// # Errors
    /// As [`Run::handle_event`].
    pub fn replay(&mut self, event: &Event) -> Result<Applied, Rejected> {
        self.apply(event)
    }

    pub(crate) fn apply(&mut self, event: &Event) -> Result<Applied, Rejected> {
        if self.is_past(event) {
            return Ok(Applied::Known);
        }
        match event {
            Event::Started { path, attempt, epoch, at } => {
                let instance = self.instance(*path)?;
                if instance.state.is_terminal() || instance.attempts >= *attempt {
                    return Ok(if instance.attempts >= *attempt {
                        Applied::Known
                    } else {
                        Applied::Late
                    });
                }
                self.move_to(*path, State::Running)?;
                let instance = self.instance_mut(*path)?;
                instance.attempts = *attempt;
                instance.epoch = *epoch;
                instance.started_at = Some(*at);
                instance.due = None;
                Ok(Applied::New)
            }
            Event::Ended {
                path,
                attempt,
                epoch,
                at,
                outcome,
                usage,
                retry_at,
            } => {
                let instance = self.instance(*path)?;
                if instance.state.is_terminal() {
                    // A failed attempt that is told again after its instance was cancelled while it waited for the next one, or
                    // for an operator; or after he said what became of it.
                    let unknown = matches!(outcome, Outcome::Failed(f) if f.kind == FailureKind::OutcomeUnknown);
                    let waited = retry_at.is_some() || unknown;
                    let resolved = unknown && instance.resolved == Some(*attempt);
                    let before_the_end = resolved || (waited && instance.attempts >= *attempt && instance.state == State::Cancelled);
                    return Ok(if before_the_end {
                        Applied::Known
                    } else {
                        same_end(instance, *attempt, outcome)
                    });
                }
                if instance.attempts > *attempt || (instance.attempts == *attempt && instance.state != State::Running) {
                    return Ok(Applied::Known);
                }
                let state = match (outcome, retry_at) {
                    (_, Some(_)) => State::Retrying,
                    (Outcome::Succeeded(_), None) => State::Succeeded,
                    (Outcome::Cancelled, None) => State::Cancelled,
                    (Outcome::Failed(f), None) if f.kind == FailureKind::Timeout => State::TimedOut,
                    (Outcome::Failed(f), None) if self.graph.workflow.waits_for_operator(path.task, f) => State::Waiting,
                    (Outcome::Failed(_), None) => State::Failed,
                };
                if instance.state != State::Running {
                    self.move_to(*path, State::Running)?;
                }
                self.move_to(*path, state)?;
                let instance = self.instance_mut(*path)?;
                instance.attempts = *attempt;
                instance.epoch = *epoch;
                instance.usage = *usage;
                instance.due = *retry_at;
                instance.yielding = false;
                match outcome {
                    Outcome::Succeeded(outputs) => {
                        instance.outputs = Some(Arc::new(Value::Map(outputs.clone())));
                        instance.failure = None;
                    }
                    Outcome::Failed(failure) => instance.failure = Some(failure.clone()),
                    Outcome::Cancelled => {}
                }
                self.settle(*path, *at);
                Ok(Applied::New)
            }
            Event::Failed { path, failure, at } => {
                self.end_without_attempt(*path, State::Failed, *at, |i| i.failure = Some(failure.clone()))
            }
            Event::Skipped { path, reason, at } => {
                self.end_without_attempt(*path, State::Skipped, *at, |i| i.skipped = Some(reason.clone()))
            }
            Event::UpstreamFailed { path, at, .. } => self.end_without_attempt(*path, State::UpstreamFailed, *at, |_| {}),
            Event::Cancelled { path, at } => self.end_without_attempt(*path, State::Cancelled, *at, |_| {}),
            Event::Expanded {
                task,
                generation,
                count,
                at,
            } => self.expand(*task, *generation, *count, *at),
            Event::Yielded { path, attempt, epoch, at } => self.yielded(*path, *attempt, *epoch, *at),
            Event::Resolved {
                path,
                attempt,
                resolution,
                by,
                at,
            } => self.resolved(*path, *attempt, resolution, by, *at),
            Event::Rewound { task, generation, .. } => self.rewound(*task, *generation),
            Event::CancelRequested { by, .. } => {
                if self.cancelled.is_some() || self.outcome.is_some() {
                    return Ok(Applied::Known);
                }
                self.cancelled = Some(by.clone());
                Ok(Applied::New)
            }
            Event::RunEnded { outcome, at } => {
                if self.outcome.is_some() {
                    return Ok(Applied::Known);
                }
                self.outcome = Some(outcome.clone());
                self.ended_at = Some(*at);
                self.timers.clear();
                Ok(Applied::New)
            }
        }
    }

    /// Whether the event is about an earlier generation of its task: news of the past, which change nothing.
    fn is_past(&self, event: &Event) -> bool {
        let generation = match event {
            Event::Started { path, .. }
            | Event::Ended { path, .. }
            | Event::Failed { path, .. }
            | Event::Skipped { path, .. }
            | Event::UpstreamFailed { path, .. }
            | Event::Cancelled { path, .. }
            | Event::Yielded { path, .. }
            | Event::Resolved { path, .. } => path.generation,
            Event::Expanded { generation, .. } | Event::Rewound { generation, .. } => *generation,
            Event::CancelRequested { .. } | Event::RunEnded { .. } => return false,
        };
        let entry = event.task().and_then(|task| self.tasks.get(task.index()));
        entry.is_some_and(|entry| generation < entry.generation)
    }

    /// The attempt gave its place back: it is as if it had not been begun, but for its number, which is never used twice.
    fn yielded(&mut self, path: Path, attempt: u32, epoch: eyot_model::Epoch, at: Timestamp) -> Result<Applied, Rejected> {
        let instance = self.instance(path)?;
        let running = instance.state == State::Running;
        if instance.state.is_terminal() || instance.attempts > attempt || (instance.attempts == attempt && !running) {
            return Ok(Applied::Known);
        }
        if !running {
            self.move_to(path, State::Running)?;
        }
        self.move_to(path, State::Queued)?;
        let instance = self.instance_mut(path)?;
        instance.attempts = attempt;
        instance.epoch = epoch;
        instance.yielded += 1;
        instance.yielding = false;
        instance.queued_at = Some(at);
        self.settle(path, at);
        Ok(Applied::New)
    }

    fn resolved(&mut self, path: Path, attempt: u32, resolution: &Resolution, by: &str, at: Timestamp) -> Result<Applied, Rejected> {
        let instance = self.instance(path)?;
        if instance.unknown_attempt() != Some(attempt) {
            // It was resolved before, or has gone on since.
            let known = instance.attempts >= attempt;
            return if known {
                Ok(Applied::Known)
            } else {
                Err(Rejected::Illegal {
                    path,
                    from: instance.state,
                    to: State::Queued,
                })
            };
        }
        let state = match resolution {
            Resolution::Succeeded(_) => State::Succeeded,
            Resolution::Failed => State::Failed,
            Resolution::Retry => State::Queued,
        };
        self.move_to(path, state)?;
        let instance = self.instance_mut(path)?;
        instance.resolved = Some(attempt);
        match resolution {
            Resolution::Succeeded(outputs) => {
                instance.outputs = Some(Arc::new(Value::Map(outputs.clone())));
                instance.failure = None;
            }
            Resolution::Failed => {
                if let Some(failure) = &mut instance.failure {
                    failure.message = format!("{}; {by} said that it failed", failure.message);
                }
            }
            Resolution::Retry => instance.queued_at = Some(at),
        }
        self.settle(path, at);
        Ok(Applied::New)
    }

    fn expand(&mut self, task: TaskIx, generation: u32, count: u32, at: Timestamp) -> Result<Applied, Rejected> {
        let path = Path::task(task).of_generation(generation);
        let state = self.instance(path)?.state;
        if count > Self::ITEM_LIMIT {
            return Err(Rejected::TooManyItems(u64::from(count)));
        }
        if self.graph.workflow.task(task).for_each.is_none() {
            return Err(Rejected::Illegal {
                path,
                from: state,
                to: State::Waiting,
            });
        }
        if state.is_terminal() || self.tasks[task.index()].items.is_some() {
            return Ok(Applied::Known);
        }
        self.move_to(path, State::Waiting)?;
        let queued = Instance {
            state: State::Queued,
            queued_at: Some(at),
            ..Instance::default()
        };
        let entry = &mut self.tasks[task.index()];
        entry.own.started_at = Some(at);
        entry.items = Some(Box::new(Items {
            instances: vec![queued; count as usize],
            ..Items::default()
        }));
        if count == 0 {
            self.end_expanded(task, at);
        }
        Ok(Applied::New)
    }

    fn end_without_attempt(
        &mut self,
        path: Path,
        state: State,
        at: Timestamp,
        change: impl FnOnce(&mut Instance),
    ) -> Result<Applied, Rejected> {
        let from = self.instance(path)?.state;
        if from.is_terminal() {
            return Ok(if from == state { Applied::Known } else { Applied::Late });
        }
        self.move_to(path, state)?;
        change(self.instance_mut(path)?);
        self.settle(path, at);
        Ok(Applied::New)
    }

    /// Changes a state as the table of legal transitions allows. A peer does not tell when its tasks are queued, so that
    /// step is taken in passing.
    pub(crate) fn move_to(&mut self, path: Path, to: State) -> Result<(), Rejected> {
        let instance = self.instance_mut(path)?;
        let from = instance.state;
        let legal = from.can_become(to)
            || (from == State::Pending && State::Queued.can_become(to))
            || (from == State::Waiting && to == State::UpstreamFailed);
        if !legal {
            return Err(Rejected::Illegal { path, from, to });
        }
        instance.state = to;
        Ok(())
    }

    /// What follows for the run's books when an instance changes: its end, the end of its task, and the count of its
    /// dependents.
    fn settle(&mut self, path: Path, at: Timestamp) {
        let Ok(instance) = self.instance_mut(path) else { return };
        let was_issued = std::mem::take(&mut instance.issued);
        let ended = instance.state.is_terminal();
        if ended {
            instance.ended_at = Some(at);
        }
        if was_issued {
            self.issued = self.issued.saturating_sub(1);
        }
        let task = path.task;
        if path.item.is_none() {
            if ended {
                self.task_ended(task);
            }
            return;
        }
        let Some(items) = &mut self.tasks[task.index()].items else { return };
        if was_issued {
            items.issued = items.issued.saturating_sub(1);
        }
        if ended {
            items.ended += 1;
            if items.ended as usize == items.instances.len() {
                self.end_expanded(task, at);
            }
        }
    }

    /// The end of a `forEach` follows from the ends of its items; everybody comes to it without being told.
    fn end_expanded(&mut self, task: TaskIx, at: Timestamp) {
        let tolerant = self
            .graph
            .workflow
            .task(task)
            .for_each
            .as_ref()
            .is_some_and(|e| e.item_failure == ItemFailure::Continue);
        let entry = &mut self.tasks[task.index()];
        let Some(items) = &entry.items else { return };
        let total = items.instances.len();
        let failed = items.instances.iter().filter(|i| i.state.is_failure()).count();
        let cancelled = items.instances.iter().any(|i| i.state == State::Cancelled);
        let first = items
            .instances
            .iter()
            .enumerate()
            .find_map(|(n, i)| i.failure.as_ref().filter(|_| i.state.is_failure()).map(|f| (n, f)));
        let own = &mut entry.own;
        own.ended_at = Some(at);
        if cancelled {
            own.state = State::Cancelled;
        } else if failed > 0 && (!tolerant || failed == total) {
            own.state = State::Failed;
            own.failure = first.map(|(n, f)| Failure {
                kind: f.kind,
                message: format!("{failed} of {total} items failed; the first, item {n}: {}", f.message),
                details: f.details.clone(),
            });
        } else {
            own.state = State::Succeeded;
            let outputs = items
                .instances
                .iter()
                .map(|i| i.outputs.as_ref().map_or(Value::Null, |o| Value::clone(o)))
                .collect();
            own.outputs = Some(Arc::new(Value::List(outputs)));
        }
        self.task_ended(task);
    }

    fn task_ended(&mut self, task: TaskIx) {
        self.ended_tasks += 1;
        if self.owned[task.index()].is_some() {
            self.owned_open -= 1;
        }
        let state = self.tasks[task.index()].own.state;
        let graph = Arc::clone(&self.graph);
        for dependent in graph.dependents(task) {
            let entry = &mut self.tasks[dependent.index()];
            entry.upstream.count(state);
            if state.is_failure() && entry.culprit.is_none() {
                entry.culprit = Some(task);
            }
            if self.owned[dependent.index()].is_some() && (entry.own.state == State::Pending || entry.stale) {
                self.undecided.push_back(*dependent);
            }
        }
    }

    pub(crate) fn instance(&self, path: Path) -> Result<&Instance, Rejected> {
        let entry = self.tasks.get(path.task.index()).ok_or(Rejected::UnknownTask(path.task))?;
        entry
            .instance(path.item)
            .filter(|_| path.generation == entry.generation)
            .ok_or(Rejected::UnknownInstance(path))
    }

    pub(crate) fn instance_mut(&mut self, path: Path) -> Result<&mut Instance, Rejected> {
        let entry = self.tasks.get_mut(path.task.index()).ok_or(Rejected::UnknownTask(path.task))?;
        let current = path.generation == entry.generation;
        entry
            .instance_mut(path.item)
            .filter(|_| current)
            .ok_or(Rejected::UnknownInstance(path))
    }
}

/// Whether an end that comes again is the one that is known.
fn same_end(instance: &Instance, attempt: u32, outcome: &Outcome) -> Applied {
    let same = instance.attempts >= attempt
        && match outcome {
            Outcome::Succeeded(outputs) => match instance.outputs.as_deref() {
                Some(Value::Map(known)) => instance.state == State::Succeeded && (instance.attempts > attempt || known == outputs),
                _ => false,
            },
            Outcome::Failed(_) => instance.attempts > attempt || matches!(instance.state, State::Failed | State::TimedOut),
            Outcome::Cancelled => instance.state == State::Cancelled,
        };
    if same { Applied::Known } else { Applied::Late }
}

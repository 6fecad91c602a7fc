//! What the owner of a task decides: whether it runs, over which items, with which inputs, and when again.

use crate::retry;
use crate::rule::{Verdict, verdict};
use crate::run::{Admitted, Command, Run, Timer};
use crate::{Applied, Rejected};
use eyot_expr::EvaluateError;
use eyot_model::{
    AttemptId, Event, Failure, FailureKind, Inputs, OnFailure, Outcome, Path, SkipReason, State, TaskIx, Timestamp, Usage, Value,
};
use std::sync::Arc;

impl Run {
    /// The end of an attempt of an owned task, as the host saw it. Decides whether there is another attempt.
    ///
    /// # Errors
    /// When the instance does not exist or the attempt never began.
    pub fn attempt_ended(
        &mut self,
        path: Path,
        attempt: u32,
        outcome: Outcome,
        mut usage: Usage,
        now: Timestamp,
    ) -> Result<Applied, Rejected> {
        let owned = self.owner_epoch(path.task).is_some();
        let instance = self.instance(path)?;
        // What was given away meanwhile is not decided here any more.
        if !owned || instance.attempts != attempt || instance.state != State::Running {
            return Ok(Applied::Late);
        }
        if let (Some(queued), Some(started)) = (instance.queued_at, instance.started_at) {
            usage.queued = started.since(queued);
        }
        let epoch = instance.epoch;
        if instance.yielding && outcome == Outcome::Cancelled && self.cancelled.is_none() {
            let yielded = Event::Yielded {
                path,
                attempt,
                epoch,
                at: now,
            };
            return self.handle_event(yielded, now);
        }
        let id = AttemptId {
            run: self.id,
            path,
            attempt,
            epoch,
        };
        let (outcome, retry_at) = match outcome {
            Outcome::Failed(failure) if self.cancelled.is_none() => self.after_failure(&id, failure, now),
            other => (other, None),
        };
        self.handle_event(
            Event::Ended {
                path,
                attempt,
                epoch,
                at: now,
                outcome,
                usage,
                retry_at,
            },
            now,
        )
    }

    fn after_failure(&self, id: &AttemptId, failure: Failure, now: Timestamp) -> (Outcome, Option<Timestamp>) {
        let task = self.graph.workflow.task(id.path.task);
        let failure = if task.idempotent || task.retry.when.is_some() {
            failure
        } else {
            retry::unknown_if_cut_off(failure)
        };
        let tries = self.instance(id.path).map_or(id.attempt, crate::Instance::tries);
        match retry::delay(&task.retry, self.graph.node(id.path.task).retry_when.as_ref(), id, tries, &failure) {
            Ok(delay) => (Outcome::Failed(failure), delay.map(|d| now.after(d))),
            Err(error) => {
                let mut failure = failure;
                failure.details = Some(format!("`retry.when` could not be evaluated: {error}"));
                (Outcome::Failed(failure), None)
            }
        }
    }

    /// Begins an attempt of an instance that was [`Command::Ready`]. None if it is not wanted any more, or its inputs
    /// cannot be evaluated (it has failed then).
    pub fn admit(&mut self, path: Path, now: Timestamp) -> Option<Admitted> {
        let epoch = self.owner_epoch(path.task)?;
        let instance = self.instance(path).ok()?;
        let entry = &self.tasks[path.task.index()];
        if instance.state != State::Queued || !instance.issued || entry.held || entry.stale {
            return None;
        }
        let queued_at = instance.queued_at;
        let Some(attempt) = instance.attempts.checked_add(1) else {
            let failure = Failure::new(FailureKind::Agent, "the number of its last attempt is the largest that there is");
            self.decided(Event::Failed { path, failure, at: now });
            self.decide_all(now);
            return None;
        };
        match self.render_inputs(path) {
            Ok(inputs) => {
                if let Some(limit) = self.graph.workflow.task(path.task).queue_timeout {
                    self.timers
                        .remove(&(queued_at.unwrap_or(now).after(limit), Timer::QueueTimeout(path)));
                }
                let started = Event::Started {
                    path,
                    attempt,
                    epoch,
                    at: now,
                };
                self.apply(&started).ok()?;
                self.append(started);
                Some(Admitted {
                    id: AttemptId {
                        run: self.id,
                        path,
                        attempt,
                        epoch,
                    },
                    inputs,
                })
            }
            Err((field, error)) => {
                self.decided(Event::Failed {
                    path,
                    failure: expression_failure(&field, &error),
                    at: now,
                });
                self.decide_all(now);
                None
            }
        }
    }

    /// The inputs of an instance. Deterministic in the events so far.
    fn render_inputs(&self, path: Path) -> Result<Inputs, (String, EvaluateError)> {
        let node = self.graph.node(path.task);
        let mut inputs = Inputs::new();
        if node.with.iter().all(|(_, template)| template.is_literal()) {
            let scope = eyot_expr::Scope::new();
            for (name, template) in &node.with {
                inputs.insert(name.clone(), template.render(&scope).map_err(|e| (format!("with.{name}"), e))?);
            }
            return Ok(inputs);
        }
        let item = path.item.and_then(|index| {
            let each = self.graph.workflow.task(path.task).for_each.as_ref()?;
            Some((each.name.as_str(), index, self.item_value(path.task, index)?))
        });
        let scope = self.scope(node.with.iter().flat_map(|(_, template)| template.references()), item);
        for (name, template) in &node.with {
            inputs.insert(name.clone(), template.render(&scope).map_err(|e| (format!("with.{name}"), e))?);
        }
        Ok(inputs)
    }

    /// Who asked for the stop when a run passed its deadline.
    pub const DEADLINE: &'static str = "the run's deadline";

    /// Fires what is due.
    pub fn handle_timeout(&mut self, now: Timestamp) {
        while let Some(&(at, timer)) = self.timers.first().filter(|(at, _)| *at <= now) {
            self.timers.remove(&(at, timer));
            match timer {
                Timer::Retry(path) => self.queue_again(path, now),
                Timer::QueueTimeout(path) => {
                    let entry = &self.tasks[path.task.index()];
                    if entry.held || entry.stale {
                        // It does not wait for admission: the time begins anew.
                        self.watch_queue(path, now);
                    } else if self.instance(path).is_ok_and(|i| i.state == State::Queued) {
                        let failure = Failure::new(FailureKind::Deadline, "waited for admission longer than `queueTimeout`");
                        self.decided(Event::Failed { path, failure, at: now });
                    }
                }
                Timer::Deadline => self.cancel(Self::DEADLINE, now),
            }
        }
        self.decide_all(now);
    }

    /// Asks the whole run to stop. Owned tasks that have not begun are cancelled at once, running ones are stopped.
    pub fn cancel(&mut self, by: &str, now: Timestamp) {
        if self.outcome.is_some() || self.cancelled.is_some() {
            return;
        }
        self.decided(Event::CancelRequested {
            by: by.to_owned(),
            at: now,
        });
        self.stop_owned(now);
        self.decide_all(now);
    }

    /// Cancels what is owned here and has not ended.
    pub(crate) fn stop_owned(&mut self, now: Timestamp) {
        for index in 0..self.tasks.len() {
            if self.owned[index].is_none() || self.tasks[index].own.state.is_terminal() {
                continue;
            }
            let task = TaskIx(u32::try_from(index).unwrap_or(u32::MAX));
            match &self.tasks[index].items {
                Some(items) if !items.instances.is_empty() => {
                    for item in 0..u32::try_from(items.instances.len()).unwrap_or(u32::MAX) {
                        self.stop(self.item_path(task, item), now);
                    }
                }
                _ => self.stop(self.path(task), now),
            }
        }
    }

    fn stop(&mut self, path: Path, now: Timestamp) {
        let Ok(instance) = self.instance(path) else { return };
        match instance.state {
            State::Running | State::Disconnected => self.commands.push_back(Command::Stop {
                path,
                attempt: instance.attempts,
            }),
            state if !state.is_terminal() => self.decided(Event::Cancelled { path, at: now }),
            _ => {}
        }
    }

    /// Decides every owned task whose turn has come, until nothing follows any more.
    pub(crate) fn decide_all(&mut self, now: Timestamp) {
        while let Some(task) = self.undecided.pop_front() {
            self.decide(task, now);
        }
        self.issue();
        self.close_if_over(now);
    }

    fn decide(&mut self, task: TaskIx, now: Timestamp) {
        let entry = &self.tasks[task.index()];
        if self.owned[task.index()].is_none() || entry.at_rest {
            return;
        }
        if entry.stale {
            return self.take_up(task, now);
        }
        if entry.own.state != State::Pending {
            return;
        }
        let path = self.path(task);
        let event = match verdict(self.graph.workflow.task(task).trigger_rule, &entry.upstream) {
            Verdict::Wait => return,
            Verdict::Skip => Event::Skipped {
                path,
                reason: SkipReason::TriggerRule,
                at: now,
            },
            Verdict::UpstreamFailed => Event::UpstreamFailed {
                path,
                cause: entry.culprit.unwrap_or(task),
                at: now,
            },
            Verdict::Run => match self.condition(task) {
                Ok(false) => Event::Skipped {
                    path,
                    reason: SkipReason::Condition,
                    at: now,
                },
                Err(error) => Event::Failed {
                    path,
                    failure: expression_failure("when", &error),
                    at: now,
                },
                Ok(true) if self.graph.node(task).items.is_some() => match self.item_list(task) {
                    Ok(list) => return self.expand_owned(task, list, now),
                    Err(failure) => Event::Failed { path, failure, at: now },
                },
                Ok(true) => return self.queue(path, now),
            },
        };
        self.decided(event);
    }

    fn condition(&self, task: TaskIx) -> Result<bool, EvaluateError> {
        match &self.graph.node(task).when {
            None => Ok(true),
            Some(program) => program.evaluate_bool(&self.scope(program.references().iter(), None)),
        }
    }

    pub(crate) fn item_list(&self, task: TaskIx) -> Result<Vec<Value>, Failure> {
        let Some(template) = &self.graph.node(task).items else {
            return Ok(Vec::new());
        };
        let scope = self.scope(template.references().iter(), None);
        match template.render(&scope) {
            Ok(Value::List(list)) if list.len() <= Self::ITEM_LIMIT as usize => Ok(list),
            Ok(Value::List(list)) => Err(Failure::new(
                FailureKind::Expression,
                format!("`forEach.items` has {} items, over the limit of {}", list.len(), Self::ITEM_LIMIT),
            )),
            Ok(other) => Err(Failure::new(
                FailureKind::Expression,
                format!("`forEach.items` is a {}, not a list", other.type_name()),
            )),
            Err(error) => Err(expression_failure("forEach.items", &error)),
        }
    }

    fn expand_owned(&mut self, task: TaskIx, list: Vec<Value>, now: Timestamp) {
        let count = u32::try_from(list.len()).unwrap_or(u32::MAX);
        let generation = self.tasks[task.index()].generation;
        self.decided(Event::Expanded {
            task,
            generation,
            count,
            at: now,
        });
        if let Some(items) = &mut self.tasks[task.index()].items {
            items.values = Some(Arc::new(list));
            items.backlog = (0..count).collect();
        }
        self.feed_items(task);
    }

    /// Moves items from a task's backlog to the ready list as far as its own `maxParallel` allows.
    pub(crate) fn feed_items(&mut self, task: TaskIx) {
        let limit = self
            .graph
            .workflow
            .task(task)
            .for_each
            .as_ref()
            .and_then(|e| e.max_parallel)
            .unwrap_or(u32::MAX);
        let entry = &mut self.tasks[task.index()];
        let Some(items) = &mut entry.items else { return };
        while items.issued < limit
            && let Some(item) = items.backlog.pop_front()
        {
            if items.instances[item as usize].state == State::Queued {
                items.issued += 1;
                self.ready.push_back(Path::item(task, item).of_generation(entry.generation));
            }
        }
    }

    fn queue(&mut self, path: Path, now: Timestamp) {
        let Ok(instance) = self.instance_mut(path) else { return };
        instance.state = State::Queued;
        self.ready.push_back(path);
        self.watch_queue(path, now);
    }

    fn queue_again(&mut self, path: Path, now: Timestamp) {
        let Ok(instance) = self.instance_mut(path) else { return };
        if instance.state != State::Retrying {
            return;
        }
        instance.state = State::Queued;
        instance.due = None;
        self.requeue(path, now);
    }

    /// Puts an instance that is Queued again among the ready ones.
    pub(crate) fn requeue(&mut self, path: Path, now: Timestamp) {
        if let Some(item) = path.item {
            if let Some(items) = &mut self.tasks[path.task.index()].items {
                items.backlog.push_front(item);
            }
            self.feed_items(path.task);
        } else {
            self.ready.push_back(path);
        }
        self.watch_queue(path, now);
    }

    /// The wait for admission begins.
    pub(crate) fn watch_queue(&mut self, path: Path, now: Timestamp) {
        let Ok(instance) = self.instance_mut(path) else { return };
        instance.queued_at = Some(now);
        if let Some(limit) = self.graph.workflow.task(path.task).queue_timeout {
            self.timers.insert((now.after(limit), Timer::QueueTimeout(path)));
        }
    }

    /// Hands out ready instances as far as the run's `maxParallel` allows.
    pub(crate) fn issue(&mut self) {
        let limit = self.graph.workflow.max_parallel.unwrap_or(u32::MAX);
        while self.issued < limit
            && let Some(path) = self.ready.pop_front()
        {
            let entry = &self.tasks[path.task.index()];
            if entry.held || entry.stale {
                self.parked.push_back(path);
                continue;
            }
            let Ok(instance) = self.instance_mut(path) else { continue };
            if instance.state == State::Queued && !instance.issued {
                instance.issued = true;
                self.issued += 1;
                self.commands.push_back(Command::Ready(path));
            }
        }
    }

    /// Applies and writes down a decision of this owner.
    pub(crate) fn decided(&mut self, event: Event) {
        // A decision is made from the present state, so it is always legal; were it not, nothing has changed.
        if let Ok(Applied::New) = self.apply(&event) {
            self.written(event);
        }
    }

    /// Writes an applied event down and does what its owner does next.
    pub(crate) fn written(&mut self, event: Event) {
        let now = event.at();
        let left = match &event {
            Event::Ended { path, .. }
            | Event::Failed { path, .. }
            | Event::Skipped { path, .. }
            | Event::UpstreamFailed { path, .. }
            | Event::Cancelled { path, .. }
            | Event::Yielded { path, .. }
            | Event::Resolved { path, .. } => Some(*path),
            Event::Started { .. }
            | Event::Expanded { .. }
            | Event::CancelRequested { .. }
            | Event::RunEnded { .. }
            | Event::Rewound { .. } => None,
        };
        self.append(event);
        if let Some(path) = left {
            self.after_end(path, now);
        }
    }

    /// What an owner does when an instance of one of its tasks has left: later attempts, the next items, fail-fast.
    fn after_end(&mut self, path: Path, now: Timestamp) {
        let Ok(instance) = self.instance(path) else { return };
        let (state, due) = (instance.state, instance.due);
        if self.owned[path.task.index()].is_none() {
            return;
        }
        match (state, due) {
            (State::Retrying, Some(due)) => drop(self.timers.insert((due, Timer::Retry(path)))),
            (State::Queued, _) => self.requeue(path, now),
            // Nobody waits for what became of a task of a run that stops.
            (State::Waiting, _) if self.cancelled.is_some() => self.decided(Event::Cancelled { path, at: now }),
            _ => {}
        }
        if path.item.is_some() {
            self.feed_items(path.task);
        }
        let task_state = self.tasks[path.task.index()].own.state;
        if self.graph.workflow.on_failure == OnFailure::Terminate
            && matches!(task_state, State::Failed | State::TimedOut)
            && self.cancelled.is_none()
        {
            let by = format!(
                "the failure of task `{}` (onFailure: terminate)",
                self.graph.workflow.task(path.task).name
            );
            self.cancel(&by, now);
        }
    }
}

pub(crate) fn expression_failure(field: &str, error: &EvaluateError) -> Failure {
    Failure::new(FailureKind::Expression, format!("`{field}` could not be evaluated: {error}"))
}

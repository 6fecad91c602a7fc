//! Going on after a restart, or after taking tasks over.

use crate::rule::{Verdict, verdict};
use crate::run::{Run, Timer};
use eyot_model::{Event, Failure, FailureKind, Outcome, Path, State, TaskIx, Timestamp, Usage};
use std::sync::Arc;

impl Run {
    /// Decides what is open in the owned tasks. Call it after [`Run::own`] and, after a restart, after the last
    /// [`Run::replay`]. Attempts that had begun and not ended are taken as cut off: they count.
    pub fn resume(&mut self, now: Timestamp) {
        let owned = (0u32..)
            .zip(&self.owned)
            .filter(|(_, owned)| owned.is_some())
            .map(|(ix, _)| TaskIx(ix))
            .collect::<Vec<_>>();
        self.begin(owned, now);
    }

    /// As [`Run::resume`], for tasks that were just taken over while others may be running.
    pub fn begin(&mut self, tasks: impl IntoIterator<Item = TaskIx>, now: Timestamp) {
        for task in tasks {
            if self.owner_epoch(task).is_some() {
                self.find_stale(task);
                self.resume_items(task, now);
                self.resume_instance(self.path(task), now);
                if self.tasks[task.index()].stale {
                    self.undecided.push_back(task);
                }
            }
        }
        if self.cancelled.is_some() && self.outcome.is_none() {
            self.stop_owned(now);
        }
        self.decide_all(now);
    }

    /// Ends the attempts of owned `tasks` that run by the books and not in fact, as cut off: they count.
    pub fn cut_off(&mut self, tasks: &[TaskIx], runs: impl Fn(Path, u32) -> bool, now: Timestamp) {
        for task in tasks
            .iter()
            .filter(|task| self.owner_epoch(**task).is_some())
            .copied()
            .collect::<Vec<_>>()
        {
            for path in self.running_of(task) {
                if self.instance(path).is_ok_and(|instance| !runs(path, instance.attempts)) {
                    self.resume_instance(path, now);
                }
            }
        }
        self.decide_all(now);
    }

    /// What it had begun counts for nothing if a task that it needs has been begun anew since. Where that was known here
    /// before its own past was, [`Run::replay`] could not tell.
    fn find_stale(&mut self, task: TaskIx) {
        let rule = self.graph.workflow.task(task).trigger_rule;
        let entry = &mut self.tasks[task.index()];
        let begun = entry.own.state != State::Pending && !entry.own.state.is_terminal();
        if begun && verdict(rule, &entry.upstream) == Verdict::Wait {
            entry.stale = true;
        }
    }

    fn resume_items(&mut self, task: TaskIx, now: Timestamp) {
        let Some(count) = self.tasks[task.index()].items.as_ref().map(|i| i.instances.len()) else {
            return;
        };
        if self.tasks[task.index()].own.state.is_terminal() {
            return;
        }
        // While a task before it runs anew, the list cannot be had; nothing is handed out before it can.
        let stale = self.tasks[task.index()].stale;
        let list = self.item_list(task).ok().filter(|list| !stale && list.len() == count);
        let known = stale || list.is_some();
        if let Some(items) = &mut self.tasks[task.index()].items {
            items.values = list.map(Arc::new);
        }
        for item in 0..u32::try_from(count).unwrap_or(u32::MAX) {
            let path = self.item_path(task, item);
            if !known {
                // The list is a function of committed facts; a different one means that they were lost.
                let failure = Failure::new(FailureKind::StateLost, "the list of items cannot be had again from what is known");
                self.decided(Event::Failed { path, failure, at: now });
                continue;
            }
            self.resume_instance(path, now);
            let queued = self.instance(path).is_ok_and(|i| i.state == State::Queued && !i.issued);
            if let Some(items) = self.tasks[task.index()].items.as_mut().filter(|_| queued) {
                items.backlog.push_back(item);
            }
        }
        self.feed_items(task);
    }

    fn resume_instance(&mut self, path: Path, now: Timestamp) {
        let Ok(instance) = self.instance(path) else { return };
        match instance.state {
            State::Pending => self.undecided.push_back(path.task),
            State::Retrying => {
                // Whoever set the time may have had another clock: no wait is longer than the policy has it.
                let most = self.graph.workflow.task(path.task).retry.max_interval;
                let due = instance.due.unwrap_or(now).min(now.after(most));
                self.timers.insert((due, Timer::Retry(path)));
            }
            State::Running => {
                let attempt = instance.attempts;
                let task = self.graph.workflow.task(path.task);
                let failure = if task.idempotent {
                    Failure::new(
                        FailureKind::AgentLost,
                        "the attempt was cut off: how it ended was never written down",
                    )
                } else {
                    Failure::new(
                        FailureKind::OutcomeUnknown,
                        "the attempt was cut off: whether its effect happened is not known",
                    )
                };
                // Cannot fail: the instance exists and this attempt runs.
                let _ = self.attempt_ended(path, attempt, Outcome::Failed(failure), Usage::default(), now);
            }
            // Items are queued with their task.
            State::Queued if path.item.is_none() && !instance.issued => self.requeue(path, now),
            State::Queued
            | State::Waiting
            | State::Paused
            | State::Disconnected
            | State::Succeeded
            | State::Failed
            | State::UpstreamFailed
            | State::TimedOut
            | State::Skipped
            | State::Cancelled => {}
        }
    }
}

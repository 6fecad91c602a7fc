//! How a run ends: decided by its coordinator once every task has ended.

use crate::decide::expression_failure;
use crate::run::{Command, Run};
use eyot_model::{Event, Failure, FailureKind, OnFailure, Outputs, RunOutcome, RunState, State, TaskIx, Timestamp, TriggerRule};

impl Run {
    /// Most bytes of a run's outputs: they are in one event, which has to fit into a message and into a record.
    pub const OUTPUT_BYTES: usize = 8 << 20;

    pub(crate) fn close_if_over(&mut self, now: Timestamp) {
        if !self.coordinator || self.outcome.is_some() || (self.ended_tasks as usize) < self.tasks.len() {
            return;
        }
        let outcome = self.conclude();
        self.decided(Event::RunEnded {
            outcome: outcome.clone(),
            at: now,
        });
        self.commands.push_back(Command::Finished(outcome));
    }

    fn conclude(&self) -> RunOutcome {
        let failed = |failure| RunOutcome {
            state: RunState::Failed,
            outputs: Outputs::new(),
            failure: Some(failure),
        };
        let blame = (0..self.tasks.len()).find(|&i| self.counts_as_failure(i));
        if let Some(by) = &self.cancelled {
            return match blame {
                _ if by == Self::DEADLINE => failed(Failure::new(FailureKind::Deadline, "the run passed its `deadline`")),
                Some(index) if self.graph.workflow.on_failure == OnFailure::Terminate => failed(self.failure_of(index)),
                _ => RunOutcome {
                    state: RunState::Cancelled,
                    outputs: Outputs::new(),
                    failure: None,
                },
            };
        }
        if let Some(index) = blame.filter(|_| self.graph.workflow.on_failure != OnFailure::Ignore) {
            return failed(self.failure_of(index));
        }
        let scope = self.scope(self.graph.outputs.iter().flat_map(|(_, template)| template.references()), None);
        let (mut outputs, mut bytes) = (Outputs::new(), 0);
        for (name, template) in &self.graph.outputs {
            match template.render(&scope) {
                Ok(value) => {
                    bytes += name.len() + value.size_hint();
                    if bytes > Self::OUTPUT_BYTES {
                        let limit = Self::OUTPUT_BYTES;
                        let message =
                            format!("with `outputs.{name}` the run's outputs take {bytes} bytes, over the limit of {limit} bytes");
                        return failed(Failure::new(FailureKind::OutputLimit, message));
                    }
                    outputs.insert(name.clone(), value);
                }
                Err(error) => return failed(expression_failure(&format!("outputs.{name}"), &error)),
            }
        }
        RunOutcome {
            state: RunState::Succeeded,
            outputs,
            failure: None,
        }
    }

    /// A failure counts unless a task that runs for failures (`all_failed`, `one_failed`) took care of it.
    fn counts_as_failure(&self, index: usize) -> bool {
        if !matches!(self.tasks[index].own.state, State::Failed | State::TimedOut) {
            return false;
        }
        let task = TaskIx(u32::try_from(index).unwrap_or(u32::MAX));
        !self.graph.dependents(task).iter().any(|d| {
            let handler = matches!(
                self.graph.workflow.task(*d).trigger_rule,
                TriggerRule::AllFailed | TriggerRule::OneFailed
            );
            handler && self.tasks[d.index()].own.state == State::Succeeded
        })
    }

    fn failure_of(&self, index: usize) -> Failure {
        let name = &self.graph.workflow.tasks[index].name;
        match &self.tasks[index].own.failure {
            Some(failure) => Failure {
                message: format!("task `{name}`: {}", failure.message),
                ..failure.clone()
            },
            None => Failure::new(FailureKind::Permanent, format!("task `{name}` failed")),
        }
    }
}

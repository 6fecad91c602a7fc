//! An operator says what became of an attempt whose end nobody knows. The owner of the task decides it, so it is told; its
//! event is what counts.

use crate::command::Command;
use crate::coordinator::Coordinator;
use crate::foreign::Foreign;
use eyot_engine::NotWaiting;
use eyot_model::{AgentId, LinkState, Resolution, RunId, TaskIx};
use eyot_wire::ToAgent;

/// Why an operator's word cannot be passed on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unresolvable {
    #[error("the run is not unfinished")]
    NoRun,
    #[error(transparent)]
    NotWaiting(#[from] NotWaiting),
    #[error("its agent is out of contact, and it alone can end the wait: wait for it, or give its work to another agent")]
    Away(AgentId),
    #[error("no agent owns it at the moment; try again once it is placed")]
    NoOwner,
}

impl Coordinator {
    /// Passes an operator's word on to the owner of the instance. The wait has ended when the owner's event is here; a word
    /// that is lost with the link may be given again.
    ///
    /// # Errors
    /// When nothing waits for it, or the owner cannot be told.
    pub fn resolve(&mut self, run: RunId, task: TaskIx, item: Option<u32>, resolution: Resolution, by: &str) -> Result<(), Unresolvable> {
        let ((path, attempt), agent) = match self.runs.get(&run) {
            Some(entry) => {
                let waiting = entry.run.unknown_attempt(task, item)?;
                let (_, owned) = entry.owner(task).ok_or(Unresolvable::NoOwner)?;
                (waiting, owned.agent.ok_or(Unresolvable::NoOwner)?)
            }
            // Of a run that an agent coordinates it owns every task.
            None => {
                let (agent, known) = self.foreign.open.get(&run).map(Foreign::standing).ok_or(Unresolvable::NoRun)?;
                (known.unknown_attempt(task, item)?, agent)
            }
        };
        if self.link(agent) == LinkState::Disconnected {
            return Err(Unresolvable::Away(agent));
        }
        let message = Box::new(ToAgent::Resolve {
            run,
            path,
            attempt,
            resolution,
            by: by.to_owned(),
        });
        self.commands.push_back(Command::Send { agent, message });
        Ok(())
    }
}

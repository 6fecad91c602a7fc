//! What the coordinator wants done.

use eyot_model::{AgentId, Epoch, Event, FragmentId, Path, Plan, Position, RunId, RunOutcome, TaskIx};
use eyot_wire::{SavedState, ToAgent};

#[derive(Clone, Debug, PartialEq)]
pub enum Command {
    /// Store this. Changes between two other commands belong to one transaction, and may share it with later ones.
    Commit(Change),
    /// Send, once everything before it is stored. Lost with the link: what matters is told again on reconnect.
    Send { agent: AgentId, message: Box<ToAgent> },
    /// The run needs a plan for what has not ended: answer with `planned` or `unplaceable`.
    Plan { run: RunId },
    /// The run is over and stored.
    Ended { run: RunId, outcome: RunOutcome },
    /// Something that an operator should see: a result that contradicts a committed one, an agent that oversteps.
    Alarm { agent: AgentId, run: RunId, message: String },
}

/// A change of the store.
#[derive(Clone, Debug, PartialEq)]
pub enum Change {
    /// Event `seq` of the run (from 1, without gaps).
    Event {
        run: RunId,
        seq: u64,
        event: Event,
        agent: Option<AgentId>,
    },
    /// The plan that the run goes by from now on.
    Planned { run: RunId, plan: Plan },
    /// The fragment belongs to this agent under this epoch.
    Assigned {
        run: RunId,
        fragment: FragmentId,
        agent: AgentId,
        epoch: Epoch,
        tasks: Vec<TaskIx>,
    },
    /// The latest that an instance saved for itself.
    Saved { run: RunId, state: Box<SavedState> },
    /// What the instance saved is of no use any more.
    Unsaved { run: RunId, path: Path },
    /// Everything of the agent's journal up to here is stored.
    Heard { agent: AgentId, through: Position },
    /// The run is over.
    Ended { run: RunId, outcome: RunOutcome },
}

//! What the coordinator wants done.

use eyot_model::{AgentId, Epoch, Event, FragmentId, Path, Plan, Position, RunId, RunOutcome, TaskIx};
use eyot_wire::{SavedState, Submission, ToAgent};
use std::collections::BTreeSet;

#[derive(Clone, Debug, PartialEq)]
pub enum Command {
    /// Store this. Changes between two other commands belong to one transaction, and may share it with later ones.
    Commit(Change),
    /// Send, once everything before it is stored. Lost with the link: what matters is told again on reconnect.
    Send { agent: AgentId, message: Box<ToAgent> },
    /// The run needs a plan for what has not ended: answer with `planned` or `unplaceable`.
    Plan { run: RunId },
    /// The fragment needs another agent, one for all that is left of it and none of `exclude`: answer with `replanned`.
    Replan {
        run: RunId,
        fragment: FragmentId,
        exclude: BTreeSet<AgentId>,
    },
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
        /// Why it changes hands; None where it is given out for the first time.
        why: Option<String>,
    },
    /// The latest that an instance saved for itself.
    Saved { run: RunId, state: Box<SavedState> },
    /// What the instance saved is of no use any more.
    Unsaved { run: RunId, path: Path },
    /// The fragment belongs to nobody under this epoch: whoever had it before commits nothing of it any more.
    Fenced {
        run: RunId,
        fragment: FragmentId,
        epoch: Epoch,
        why: String,
    },
    /// A result under an epoch that had passed. It changes nothing; it is kept so that people can see it.
    Late {
        run: RunId,
        fragment: FragmentId,
        epoch: Epoch,
        agent: AgentId,
        event: Event,
    },
    /// What the run waits for beside its own tasks; None once it waits for nothing more.
    Waiting { run: RunId, why: Option<String> },
    /// Everything of the agent's journal up to here is stored.
    Heard { agent: AgentId, through: Position },
    /// The run is over.
    Ended { run: RunId, outcome: RunOutcome },
    /// A run that this agent coordinates.
    Foreign { agent: AgentId, submission: Submission },
    /// Its coordinator was asked to stop it.
    Cancelling { run: RunId },
    /// The agent lost records, or begins anew: what it had confirmed to have it may not have any more.
    RecordsLost { agent: AgentId },
}

//! The node and what it has decided, made durable in order.

use eyot_checkpoint::{Handle as Journal, JournalError, Record, Service};
use eyot_ledger::Gate;
use eyot_model::{AttemptId, BlobRef, Position, RunId, RunOutcome, Timestamp};
use eyot_node::{Command, Node, Start};
use eyot_wire::ToCloud;
use tokio::sync::mpsc::UnboundedSender;

/// What goes to the cloud, in order.
#[derive(Debug)]
pub enum Outbound {
    Send(ToCloud),
    Upload(BlobRef),
}

/// What the node wants done beyond the journal and the link.
#[derive(Default)]
pub(super) struct Effects {
    pub(super) started: Vec<Start>,
    pub(super) stopped: Vec<AttemptId>,
    pub(super) finished: Vec<(RunId, RunOutcome)>,
    /// Somebody waits for what is appended up to here.
    pub(super) sync: Option<Position>,
}

pub(super) struct Core {
    pub(super) node: Node,
    /// Taken when the runtime stops.
    pub(super) service: Option<Service>,
    outbound: UnboundedSender<Outbound>,
    gate: Gate,
    armed: Option<Timestamp>,
}

/// The journal as the gate sees it.
struct Written<'a>(&'a Journal);

impl eyot_ledger::Journal for Written<'_> {
    fn append(&mut self, records: Vec<Record>) -> Result<Position, JournalError> {
        self.0.append(records)
    }

    fn synced(&self) -> Position {
        self.0.synced()
    }
}

impl Core {
    pub(super) fn new(node: Node, outbound: UnboundedSender<Outbound>) -> Self {
        Self {
            node,
            service: None,
            outbound,
            gate: Gate::default(),
            armed: None,
        }
    }

    /// Takes the node's commands: appends the records, then gives out what may follow.
    pub(super) fn drain(&mut self, journal: &Journal, now: Timestamp) -> Effects {
        let mut effects = Effects::default();
        for command in self.gate.drain(&mut self.node, &mut Written(journal), now) {
            self.give(command, journal, &mut effects);
        }
        effects
    }

    /// Whether something waits for the journal to take records again.
    pub(super) fn is_stuck(&self) -> bool {
        self.gate.is_stuck()
    }

    fn give(&self, command: Command, journal: &Journal, effects: &mut Effects) {
        match command {
            Command::Start { start, .. } => effects.started.push(*start),
            Command::Stop { id } => effects.stopped.push(id),
            // Others are synced by the journal itself within its interval.
            Command::Sync { urgent } => {
                if urgent {
                    effects.sync = Some(journal.appended());
                }
            }
            // The receiver goes only when the agent stops.
            Command::Send(message) => drop(self.outbound.send(Outbound::Send(message))),
            Command::Upload(blob) => drop(self.outbound.send(Outbound::Upload(blob))),
            Command::RunFinished { run, outcome } => effects.finished.push((run, outcome)),
            // Blobs are kept by what names them.
            Command::Forget { .. } | Command::Append { .. } => {}
        }
    }

    /// Whether the next time-out is earlier than the one that the timer waits for.
    pub(super) fn timer_moved(&mut self) -> bool {
        let next = self.node.poll_timeout();
        let earlier = match (next, self.armed) {
            (Some(next), Some(armed)) => next < armed,
            (Some(_), None) => true,
            (None, _) => false,
        };
        self.armed = next;
        earlier
    }
}

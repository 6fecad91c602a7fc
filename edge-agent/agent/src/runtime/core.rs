//! The node and what it has decided, made durable in order.

use super::queue::Job;
use eyot_checkpoint::{Handle as Journal, JournalError, Record, Service};
use eyot_ledger::Gate;
use eyot_model::{AttemptId, BlobRef, Position, RunId, RunOutcome, Timestamp};
use eyot_node::{Command, Node};
use eyot_wasm_host::{AttemptEnd, CancelToken};
use eyot_wire::ToCloud;
use std::collections::BTreeMap;
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
    pub(super) started: Vec<Job>,
    pub(super) finished: Vec<(RunId, RunOutcome)>,
    /// Whose histories are to be archived once that was told.
    pub(super) over: Vec<RunId>,
    /// Somebody waits for what is appended up to here.
    pub(super) sync: Option<Position>,
}

pub(super) struct Core {
    pub(super) node: Node,
    /// Taken when the runtime stops.
    pub(super) service: Option<Service>,
    outbound: UnboundedSender<Outbound>,
    gate: Gate,
    /// Attempts that were started and have not ended.
    running: BTreeMap<AttemptId, CancelToken>,
    armed: Option<Timestamp>,
}

/// The journal as the gate sees it.
struct Written<'a>(&'a Journal);

impl eyot_ledger::Journal for Written<'_> {
    fn append(&mut self, records: &mut Vec<Record>) -> Result<Position, JournalError> {
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
            running: BTreeMap::new(),
            armed: None,
        }
    }

    pub(super) fn attempt_ended(&mut self, id: &AttemptId, end: AttemptEnd, now: Timestamp) {
        self.running.remove(id);
        self.node.attempt_ended(id, end.outcome, end.usage, now);
    }

    /// Takes the node's commands: appends the records, then gives out what may follow.
    pub(super) fn drain(&mut self, journal: &Journal, now: Timestamp, effects: &mut Effects) {
        for command in self.gate.drain(&mut self.node, &mut Written(journal), now) {
            self.give(command, journal, effects);
        }
    }

    /// Whether something waits for the journal to take records again.
    pub(super) fn is_stuck(&self) -> bool {
        self.gate.is_stuck()
    }

    fn give(&mut self, command: Command, journal: &Journal, effects: &mut Effects) {
        match command {
            Command::Start { start, .. } => {
                let cancel = CancelToken::new();
                self.running.insert(start.id, cancel.clone());
                effects.started.push(Job { start: *start, cancel });
            }
            Command::Stop { id } => {
                if let Some(token) = self.running.get(&id) {
                    token.cancel();
                }
            }
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
            Command::Archive { run } => effects.over.push(run),
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

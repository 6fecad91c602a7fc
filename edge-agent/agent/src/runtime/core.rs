//! The node and what it has decided, made durable in order.

use super::checkpoint::to_journal;
use eyot_checkpoint::{Handle as Journal, JournalError, Service};
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
    /// Stopped while they waited for a sync: no worker will tell their end.
    pub(super) never_began: Vec<AttemptId>,
    pub(super) finished: Vec<(RunId, RunOutcome)>,
}

impl Effects {
    pub(super) fn extend(&mut self, later: Self) {
        self.started.extend(later.started);
        self.stopped.extend(later.stopped);
        self.never_began.extend(later.never_began);
        self.finished.extend(later.finished);
    }
}

pub(super) struct Core {
    pub(super) node: Node,
    /// Taken when the runtime stops.
    pub(super) service: Option<Service>,
    outbound: UnboundedSender<Outbound>,
    /// Decided and not yet appended: only while the disk takes nothing.
    unwritten: Vec<eyot_checkpoint::Record>,
    unwritten_through: Position,
    /// What waits until it is.
    held_back: Vec<Command>,
    /// Starts that wait for a sync.
    unsynced: Vec<(Position, Start)>,
    synced: Position,
    armed: Option<Timestamp>,
    stuck: bool,
}

impl Core {
    pub(super) fn new(node: Node, outbound: UnboundedSender<Outbound>) -> Self {
        Self {
            node,
            service: None,
            outbound,
            unwritten: Vec::new(),
            unwritten_through: Position::default(),
            held_back: Vec::new(),
            unsynced: Vec::new(),
            synced: Position::default(),
            armed: None,
            stuck: false,
        }
    }

    /// Takes the node's commands: appends the records in one write, then gives out what may follow. While the journal
    /// takes nothing, everything waits: no acknowledgement, no start, no message.
    pub(super) fn drain(&mut self, journal: &Journal) -> Effects {
        while let Some(command) = self.node.poll_command() {
            match command {
                Command::Append { position, record } => {
                    self.unwritten_through = position;
                    match to_journal(&record) {
                        Ok(record) => self.unwritten.push(record),
                        // Encoding plain data cannot fail; were it to, the position would be missing and the append
                        // below would tell.
                        Err(error) => tracing::error!(%error, "record cannot be encoded"),
                    }
                }
                other => self.held_back.push(other),
            }
        }
        if !self.unwritten.is_empty() && !self.write(journal) {
            return Effects::default();
        }
        self.synced = journal.synced();
        let mut effects = Effects::default();
        for command in std::mem::take(&mut self.held_back) {
            self.give(command, journal, &mut effects);
        }
        let synced = self.synced.n;
        effects
            .started
            .extend(self.unsynced.extract_if(.., |(at, _)| at.n <= synced).map(|(_, start)| start));
        effects
    }

    fn write(&mut self, journal: &Journal) -> bool {
        match journal.append(self.unwritten.clone()) {
            Ok(position) => {
                if position != self.unwritten_through {
                    tracing::error!(?position, expected = ?self.unwritten_through, "journal and node disagree about positions");
                }
                self.unwritten.clear();
                if std::mem::take(&mut self.stuck) {
                    tracing::info!("journal takes records again");
                }
                true
            }
            Err(JournalError::Closed) => false,
            Err(error) => {
                if !std::mem::replace(&mut self.stuck, true) {
                    tracing::error!(error = %error, "journal takes no records; work waits until it does");
                }
                false
            }
        }
    }

    /// Whether something waits for the journal to take records again.
    pub(super) fn is_stuck(&self) -> bool {
        self.stuck
    }

    fn give(&mut self, command: Command, journal: &Journal, effects: &mut Effects) {
        match command {
            Command::Start {
                start,
                after: Some(position),
            } if position.n > self.synced.n => self.unsynced.push((position, *start)),
            Command::Start { start, .. } => effects.started.push(*start),
            Command::Stop { id } => {
                let waiting = self.unsynced.len();
                self.unsynced.retain(|(_, start)| start.id != id);
                if self.unsynced.len() < waiting {
                    effects.never_began.push(id);
                } else {
                    effects.stopped.push(id);
                }
            }
            // Others are synced by the journal itself within its interval.
            Command::Sync { urgent } => {
                if urgent {
                    journal.request_sync(journal.appended());
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

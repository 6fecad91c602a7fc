//! The order between writing down and acting: what the node decided is in the journal before anybody acts on it.

use crate::journal::to_journal;
use eyot_checkpoint::{BATCH_LIMIT, JournalError, Record};
use eyot_model::{Outcome, Position, Timestamp, Usage};
use eyot_node::{Command, Node, Start};

/// Where records are written: the journal's service on a device, the journal itself in the simulation.
pub trait Journal {
    /// Writes records, and takes them; gives the position of the last one.
    ///
    /// # Errors
    /// [`JournalError`]; nothing was written then that counts, and the records are still the caller's.
    fn append(&mut self, records: &mut Vec<Record>) -> Result<Position, JournalError>;

    /// The last record that is durable.
    fn synced(&self) -> Position;
}

/// Commands of a node on their way to those who carry them out.
#[derive(Debug, Default)]
pub struct Gate {
    /// Decided and not yet appended: only while the disk takes nothing.
    unwritten: Vec<Record>,
    unwritten_through: Position,
    /// What waits until it is.
    held_back: Vec<Command>,
    /// Starts that wait for a sync.
    unsynced: Vec<(Position, Start)>,
    stuck: bool,
}

impl Gate {
    /// Takes the node's commands: appends the records in one write, and gives what may be done now, in order. While the
    /// journal takes nothing, everything waits: no acknowledgement, no start, no message. A start that needs a durable
    /// record comes, without its `after`, from the first call after the sync.
    pub fn drain(&mut self, node: &mut Node, journal: &mut impl Journal, now: Timestamp) -> Vec<Command> {
        let mut open = Vec::new();
        loop {
            self.take(node);
            if !self.unwritten.is_empty() && !self.write(journal) {
                return open;
            }
            let synced = journal.synced();
            let mut never_began = Vec::new();
            for command in std::mem::take(&mut self.held_back) {
                match command {
                    Command::Start {
                        start,
                        after: Some(position),
                    } if position.n > synced.n => self.unsynced.push((position, *start)),
                    Command::Stop { id } => {
                        let waited = self.unsynced.extract_if(.., |(_, start)| start.id == id).count() > 0;
                        if waited {
                            never_began.push(id);
                        } else {
                            open.push(Command::Stop { id });
                        }
                    }
                    other => open.push(other),
                }
            }
            let ready = self.unsynced.extract_if(.., |(position, _)| position.n <= synced.n);
            open.extend(ready.map(|(_, start)| Command::Start {
                start: Box::new(start),
                after: None,
            }));
            if never_began.is_empty() {
                return open;
            }
            for id in never_began {
                node.attempt_ended(&id, Outcome::Cancelled, Usage::default(), now);
            }
        }
    }

    fn take(&mut self, node: &mut Node) {
        while let Some(command) = node.poll_command() {
            match command {
                Command::Append { position, record } => {
                    self.unwritten_through = position;
                    match to_journal(&record) {
                        Ok(record) => self.unwritten.push(record),
                        // Encoding plain data cannot fail; were it to, the position would be missing and the append
                        // would tell.
                        Err(error) => tracing::error!(%error, "record cannot be encoded"),
                    }
                }
                other => {
                    if other.greets() {
                        // While the disk took nothing the link was lost and made again: nothing comes before the greeting.
                        self.held_back.retain(|earlier| !earlier.needs_link());
                    }
                    self.held_back.push(other);
                }
            }
        }
    }

    /// In one batch, so that all of it is there after a crash or nothing; in several only where it is over the journal's limit.
    fn write(&mut self, journal: &mut impl Journal) -> bool {
        while !self.unwritten.is_empty() {
            let mut bytes = 0;
            let fits = self.unwritten.iter().take_while(|record| {
                bytes += record.payload.len();
                bytes <= BATCH_LIMIT
            });
            let count = fits.count().max(1);
            let rest = self.unwritten.split_off(count.min(self.unwritten.len()));
            let appended = journal.append(&mut self.unwritten);
            self.unwritten.extend(rest);
            match appended {
                Ok(position) => {
                    if self.unwritten.is_empty() && position != self.unwritten_through {
                        tracing::error!(?position, expected = ?self.unwritten_through, "journal and node disagree about positions");
                    }
                }
                Err(JournalError::Closed) => return false,
                Err(error) => {
                    if !std::mem::replace(&mut self.stuck, true) {
                        tracing::error!(error = %error, "journal takes no records; work waits until it does");
                    }
                    return false;
                }
            }
        }
        if std::mem::take(&mut self.stuck) {
            tracing::info!("journal takes records again");
        }
        true
    }

    /// Whether something waits for the journal to take records again.
    #[must_use]
    pub fn is_stuck(&self) -> bool {
        self.stuck
    }
}

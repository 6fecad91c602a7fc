//! An agent's machine: a node, a journal that may lose what was not synced, and tasks that take their time.

use eyot_model::{AttemptId, Capacity, Digest, Inputs, Position, Timestamp};
use eyot_node::{Command, Config, Node, Record, Recovered};
use eyot_wire::ToCloud;

/// What the machine wants from the world.
pub enum Effect {
    Send(ToCloud),
    /// An attempt began; the world says when it ends.
    Began {
        id: AttemptId,
        inputs: Inputs,
    },
    /// A sync of everything appended so far began.
    Syncing(Position),
    Uploading(Digest),
}

pub struct Device {
    pub node: Node,
    /// The journal: everything appended, in order.
    pub journal: Vec<(Position, Vec<u8>)>,
    pub synced: Position,
    pub up: bool,
    /// Counts restarts, so that what an earlier life began does not end in a later one.
    pub life: u64,
    held_back: Vec<(Position, eyot_node::Start)>,
    pub started: u64,
}

fn config() -> Config {
    Config {
        capacity: Capacity {
            cpu_millis: 4_000,
            memory_bytes: 8 << 30,
            disk_bytes: 1 << 40,
            gpus: 0,
        },
    }
}

impl Device {
    #[must_use]
    pub fn new(generation: u64) -> Self {
        Self {
            node: Node::new(config(), generation),
            journal: Vec::new(),
            synced: Position { generation, n: 0 },
            up: true,
            life: 0,
            held_back: Vec::new(),
            started: 0,
        }
    }

    /// Does what the node wants, in order.
    pub fn drain(&mut self) -> Vec<Effect> {
        let mut effects = Vec::new();
        while let Some(command) = self.node.poll_command() {
            match command {
                Command::Append { position, record } => self.journal.push((position, record.encode().unwrap_or_default())),
                Command::Start {
                    start,
                    after: Some(position),
                } if position.n > self.synced.n => self.held_back.push((position, *start)),
                Command::Start { start, .. } => {
                    self.started += 1;
                    effects.push(Effect::Began {
                        id: start.id,
                        inputs: start.inputs,
                    });
                }
                Command::Stop { id } => effects.push(Effect::Began { id, inputs: Inputs::new() }),
                Command::Sync { .. } => {
                    if let Some((last, _)) = self.journal.last() {
                        effects.push(Effect::Syncing(*last));
                    }
                }
                Command::Send(message) => effects.push(Effect::Send(message)),
                Command::Upload(blob) => effects.push(Effect::Uploading(blob.digest)),
                Command::RunFinished { .. } | Command::Forget { .. } => {}
            }
        }
        effects
    }

    /// A sync has ended.
    pub fn synced(&mut self, position: Position) -> Vec<Effect> {
        if position.n > self.synced.n {
            self.synced = position;
        }
        self.node.journal_synced(self.synced);
        let mut effects = Vec::new();
        let synced = self.synced;
        for (_, start) in self.held_back.extract_if(.., |(at, _)| at.n <= synced.n) {
            self.started += 1;
            effects.push(Effect::Began {
                id: start.id,
                inputs: start.inputs,
            });
        }
        effects.extend(self.drain());
        effects
    }

    /// The machine stops: by kill -9 everything appended stays, by a power cut only what was synced and some of the rest.
    pub fn stop(&mut self, keep: u64) {
        self.up = false;
        self.life += 1;
        self.held_back.clear();
        let synced = self.synced.n;
        self.journal.retain(|(position, _)| position.n <= synced + keep);
    }

    /// The machine comes back with what its journal holds.
    ///
    /// # Panics
    /// When a record of the journal cannot be read: the journal itself is never corrupted here.
    pub fn start(&mut self, now: Timestamp) -> Vec<Effect> {
        let records = self.journal.iter().map(|(position, bytes)| match Record::decode(bytes) {
            Ok(record) => (*position, record),
            Err(error) => panic!("record {position:?} cannot be read: {error}"),
        });
        let last = self.journal.last().map_or(
            Position {
                generation: self.synced.generation,
                n: 0,
            },
            |(position, _)| *position,
        );
        let (node, recovery) = Node::recover(
            config(),
            Recovered {
                records: records.collect(),
                last,
            },
            now,
        );
        assert!(recovery.lost.is_empty(), "runs were lost: {:?}", recovery.lost);
        self.node = node;
        self.synced = last;
        self.up = true;
        self.drain()
    }
}

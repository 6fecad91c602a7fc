//! How records become the checkpoint: which keys each one writes. A function of the record and its position alone, so
//! that folding twice gives the same.

use crate::record::Record;
use eyot_model::{Position, RunId};

/// A key of the checkpoint. Keys of one run share its prefix, so that a run goes as one range.
pub type Key = Vec<u8>;

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Write {
    Put {
        key: Key,
        value: Vec<u8>,
    },
    /// Every key that begins with this.
    DeletePrefix {
        prefix: Key,
    },
}

/// Key spaces: `r` what a run needs to be rebuilt, in the order of positions; `s` saved states of tasks, the two latest of each instance;
/// `c` the position that the cloud has committed.
pub struct Fold;

impl Fold {
    /// What a record writes. `bytes` is the encoded record.
    #[must_use]
    pub fn writes(position: Position, record: &Record, bytes: &[u8]) -> Vec<Write> {
        let history = |run: RunId| Write::Put {
            key: history_key(run, position),
            value: bytes.to_vec(),
        };
        match record {
            Record::Assigned(assignment) | Record::Submitted(assignment) => vec![history(assignment.run)],
            Record::Own { run, .. }
            | Record::Fact { run, .. }
            | Record::Dropped { run, .. }
            | Record::AtRest { run, .. }
            | Record::WentOn { run, .. } => vec![history(*run)],
            Record::Committed { .. } => vec![Write::Put {
                key: b"c".to_vec(),
                value: bytes.to_vec(),
            }],
            Record::Released { run } => {
                vec![
                    Write::DeletePrefix {
                        prefix: run_prefix(b'r', *run),
                    },
                    Write::DeletePrefix {
                        prefix: run_prefix(b's', *run),
                    },
                ]
            }
            Record::Saved { run, state } => {
                // The two latest: the one before is there if the last one turns out to be unreadable.
                let mut key = saved_prefix(*run, &state.path);
                key.push(u8::from(state.serial % 2 == 1));
                vec![Write::Put {
                    key,
                    value: bytes.to_vec(),
                }]
            }
            Record::Unsaved { run, path } => vec![Write::DeletePrefix {
                prefix: saved_prefix(*run, path),
            }],
        }
    }

    /// Prefix of every record of every run, in the order in which they were written within each run.
    #[must_use]
    pub fn history_prefix() -> Key {
        b"r".to_vec()
    }

    #[must_use]
    pub fn committed_key() -> Key {
        b"c".to_vec()
    }

    #[must_use]
    pub fn saved_prefix() -> Key {
        b"s".to_vec()
    }

    /// The position in a key under [`Fold::history_prefix`].
    #[must_use]
    pub fn position_of(key: &[u8]) -> Option<Position> {
        let tail: &[u8; 16] = key.last_chunk()?;
        let (generation, n) = tail.split_at(8);
        Some(Position {
            generation: u64::from_be_bytes(generation.try_into().ok()?),
            n: u64::from_be_bytes(n.try_into().ok()?),
        })
    }
}

fn run_prefix(space: u8, run: RunId) -> Key {
    let mut key = vec![space];
    key.extend(run.0.to_be_bytes());
    key
}

fn history_key(run: RunId, position: Position) -> Key {
    let mut key = run_prefix(b'r', run);
    key.extend(position.generation.to_be_bytes());
    key.extend(position.n.to_be_bytes());
    key
}

fn saved_prefix(run: RunId, path: &eyot_model::Path) -> Key {
    let mut key = run_prefix(b's', run);
    key.extend(path.task.0.to_be_bytes());
    key.extend(path.item.map_or(0, |i| u64::from(i) + 1).to_be_bytes());
    key.extend(path.generation.to_be_bytes());
    key
}

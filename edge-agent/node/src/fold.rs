//! How records become the checkpoint: which keys each one writes. A function of the record and its position alone, so
//! that folding twice gives the same.

use crate::firing::{MarkPlace, TriggerKey};
use crate::record::Record;
use eyot_model::{Digest, Position, RunId};

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

/// Key spaces: `r` what a run needs to be rebuilt, in the order of positions; `s` saved states of tasks, the two latest of each
/// instance;
/// `c` the position that the cloud has committed; `e` runs of this agent's own that are over, `h` the cloud's store that is told
/// of them, `o` how far it has them; `k` components, `w` workflows and `t` marks of triggers.
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
            Record::Assigned(assignment) => vec![history(assignment.run)],
            Record::Submitted(submission) => vec![history(submission.run)],
            Record::Own { run, .. }
            | Record::Fact { run, .. }
            | Record::Dropped { run, .. }
            | Record::AtRest { run, .. }
            | Record::WentOn { run, .. } => vec![history(*run)],
            Record::Committed { .. } => vec![Write::Put {
                key: b"c".to_vec(),
                value: bytes.to_vec(),
            }],
            Record::Released { run } => without(*run, b"rs"),
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
            Record::History { run, n, .. } => vec![put(archive_key(*run, *n), bytes)],
            Record::Archived { submission, .. } => vec![put(archive_key(submission.run, u32::MAX), bytes)],
            Record::Told { run, .. } => vec![put(run_prefix(b'o', *run), bytes)],
            Record::Forgotten { run } => without(*run, b"eo"),
            Record::Component(component) => vec![put(Self::component_key(&component.name, &component.version), bytes)],
            Record::Owned(own) => vec![put(Self::workflow_key(&own.workflow.namespace, &own.workflow.name), bytes)],
            Record::Disowned { namespace, name } => vec![
                delete(Self::workflow_key(namespace, name)),
                delete(hashed(b't', &[namespace, name])),
            ],
            Record::Fired { key, mark } => vec![put(Self::mark_key(key, &MarkPlace::of(mark)), bytes)],
            Record::Unmarked { key, place } => vec![delete(Self::mark_key(key, place))],
            // What is under `o` later was told to this store.
            Record::ToldTo { .. } => vec![delete(b"o".to_vec()), put(b"h".to_vec(), bytes)],
        }
    }

    /// Prefix of what is kept of a run of this agent's own that is over.
    #[must_use]
    pub fn archive_prefix(run: RunId) -> Key {
        run_prefix(b'e', run)
    }

    #[must_use]
    pub fn component_key(name: &str, version: &str) -> Key {
        hashed(b'k', &[name, version])
    }

    #[must_use]
    pub fn workflow_key(namespace: &str, name: &str) -> Key {
        hashed(b'w', &[namespace, name])
    }

    /// Key of a mark: a later one of the same place takes its place.
    #[must_use]
    pub fn mark_key(trigger: &TriggerKey, place: &MarkPlace) -> Key {
        let mut key = hashed(b't', &[&trigger.namespace, &trigger.workflow]);
        key.extend(&hashed(b't', &[&trigger.trigger])[1..]);
        match place {
            MarkPlace::Instant => key.push(b'i'),
            MarkPlace::Message(slot) => {
                key.push(b'm');
                key.extend(slot.to_be_bytes());
            }
            MarkPlace::File(name) => key.extend(hashed(b'f', &[name])),
        }
        key
    }

    /// Prefixes of everything, in the order in which a node has to be given it.
    #[must_use]
    pub fn prefixes() -> Vec<Key> {
        let own: [&[u8]; 6] = [b"e", b"h", b"o", b"k", b"w", b"t"];
        let mut all = vec![Self::history_prefix(), Self::committed_key(), Self::saved_prefix()];
        all.extend(own.map(<[u8]>::to_vec));
        all
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
        let (n, generation) = tail.split_at(8);
        Some(Position {
            generation: u64::from_be_bytes(generation.try_into().ok()?),
            n: u64::from_be_bytes(n.try_into().ok()?),
        })
    }
}

fn put(key: Key, bytes: &[u8]) -> Write {
    Write::Put {
        key,
        value: bytes.to_vec(),
    }
}

fn delete(prefix: Key) -> Write {
    Write::DeletePrefix { prefix }
}

fn without(run: RunId, spaces: &[u8]) -> Vec<Write> {
    spaces.iter().map(|space| delete(run_prefix(*space, run))).collect()
}

fn archive_key(run: RunId, n: u32) -> Key {
    let mut key = run_prefix(b'e', run);
    key.extend(n.to_be_bytes());
    key
}

/// Names have any length, keys do not.
fn hashed(space: u8, names: &[&str]) -> Key {
    let mut whole = Vec::new();
    for name in names {
        whole.extend((name.len() as u64).to_be_bytes());
        whole.extend(name.as_bytes());
    }
    let mut key = vec![space];
    key.extend(&Digest::of(&whole).0[..16]);
    key
}

fn run_prefix(space: u8, run: RunId) -> Key {
    let mut key = vec![space];
    key.extend(run.0.to_be_bytes());
    key
}

fn history_key(run: RunId, position: Position) -> Key {
    let mut key = run_prefix(b'r', run);
    // Generations are random; numbers grow over all of them, so they alone keep the order of writing.
    key.extend(position.n.to_be_bytes());
    key.extend(position.generation.to_be_bytes());
    key
}

fn saved_prefix(run: RunId, path: &eyot_model::Path) -> Key {
    let mut key = run_prefix(b's', run);
    key.extend(path.task.0.to_be_bytes());
    key.extend(path.item.map_or(0, |i| u64::from(i) + 1).to_be_bytes());
    key.extend(path.generation.to_be_bytes());
    key
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn history_is_in_the_order_of_writing_over_all_generations() {
        let at = |generation, n| Position { generation, n };
        let (earlier, later) = (at(9, 7), at(2, 8));
        assert!(history_key(RunId(1), earlier) < history_key(RunId(1), later));
        assert_eq!(Fold::position_of(&history_key(RunId(1), earlier)), Some(earlier));
    }
}

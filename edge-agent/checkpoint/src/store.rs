//! The checkpoint proper: named trees of ordered keys, written in batches that carry the journal position they
//! bring the store to.

mod chunk;
mod memory;
mod sled;
mod sled_source;
mod snapshot;

pub use self::memory::{MemorySource, MemoryStore};
pub use self::sled::SledStore;
pub use self::sled_source::SledSource;

use eyot_model::Position;
use std::fmt::Debug;
use std::sync::Arc;

/// Longest name of a tree, in bytes.
pub const TREE_LIMIT: usize = 32;
/// Longest key, in bytes.
pub const KEY_LIMIT: usize = 192;
/// Longest value, in bytes.
pub const VALUE_LIMIT: usize = 32 << 20;

/// A key and its value.
pub type Pair = (Vec<u8>, Vec<u8>);

#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    #[error("tree name `{0}` is empty or longer than {TREE_LIMIT} bytes")]
    TreeName(String),
    #[error("key of {len} bytes in tree `{tree}` is over the limit of {KEY_LIMIT} bytes")]
    KeyTooLong { tree: String, len: usize },
    #[error("value of {len} bytes in tree `{tree}` is over the limit of {VALUE_LIMIT} bytes")]
    ValueTooLong { tree: String, len: usize },
    #[error("checkpoint store is damaged: {0}")]
    Damaged(String),
    #[error("checkpoint store cannot {action}")]
    Database {
        action: &'static str,
        #[source]
        source: ::sled::Error,
    },
    #[error("checkpoint store cannot {action}")]
    Io {
        action: &'static str,
        #[source]
        source: std::io::Error,
    },
}

impl StoreError {
    /// The disk has no room: nothing is wrong with what is there, and it is worth trying again.
    #[must_use]
    pub fn is_full(&self) -> bool {
        let kind = match self {
            Self::Io { source, .. }
            | Self::Database {
                source: ::sled::Error::Io(source),
                ..
            } => source.kind(),
            _ => return false,
        };
        matches!(kind, std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded)
    }
}

/// One change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Write {
    Put {
        tree: String,
        key: Vec<u8>,
        value: Vec<u8>,
    },
    Delete {
        tree: String,
        key: Vec<u8>,
    },
    /// Deletes every key that begins with `prefix`; an empty one empties the tree.
    DeletePrefix {
        tree: String,
        prefix: Vec<u8>,
    },
}

/// Changes in order; a later one wins over an earlier one. All of them happen, or none.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Batch {
    pub writes: Vec<Write>,
}

impl Batch {
    pub fn put(&mut self, tree: &str, key: impl Into<Vec<u8>>, value: impl Into<Vec<u8>>) {
        self.writes.push(Write::Put {
            tree: tree.to_owned(),
            key: key.into(),
            value: value.into(),
        });
    }

    pub fn delete(&mut self, tree: &str, key: impl Into<Vec<u8>>) {
        self.writes.push(Write::Delete {
            tree: tree.to_owned(),
            key: key.into(),
        });
    }

    pub fn delete_prefix(&mut self, tree: &str, prefix: impl Into<Vec<u8>>) {
        self.writes.push(Write::DeletePrefix {
            tree: tree.to_owned(),
            prefix: prefix.into(),
        });
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.writes.is_empty()
    }

    /// Checks the bounds of every change; a store does it before it writes anything.
    ///
    /// # Errors
    /// The first change that is out of bounds.
    pub fn check(&self) -> Result<(), StoreError> {
        for write in &self.writes {
            match write {
                Write::Put { tree, key, value } => {
                    check_key(tree, key)?;
                    if value.len() > VALUE_LIMIT {
                        return Err(StoreError::ValueTooLong {
                            tree: tree.clone(),
                            len: value.len(),
                        });
                    }
                }
                Write::Delete { tree, key } | Write::DeletePrefix { tree, prefix: key } => check_key(tree, key)?,
            }
        }
        Ok(())
    }
}

fn check_key(tree: &str, key: &[u8]) -> Result<(), StoreError> {
    if tree.is_empty() || tree.len() > TREE_LIMIT {
        return Err(StoreError::TreeName(tree.chars().take(80).collect()));
    }
    if key.len() > KEY_LIMIT {
        return Err(StoreError::KeyTooLong {
            tree: tree.to_owned(),
            len: key.len(),
        });
    }
    Ok(())
}

/// Where the journal is folded into. One writer (the folder); any number of readers.
pub trait CheckpointStore: Debug + Send + Sync {
    /// # Errors
    /// [`StoreError`]
    fn get(&self, tree: &str, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError>;

    /// The pairs of `tree` whose key begins with `prefix` and is greater than `after` (where given), in order of
    /// keys, at most `limit`.
    ///
    /// # Errors
    /// [`StoreError`]
    fn scan(&self, tree: &str, prefix: &[u8], after: Option<&[u8]>, limit: usize) -> Result<Vec<Pair>, StoreError>;

    /// Applies a batch and, where given, the position that it brings the store to: both or neither. Applying the
    /// same batch again changes nothing. Not durable before [`CheckpointStore::flush`].
    ///
    /// # Errors
    /// [`StoreError`]; nothing was applied then, or, where the database itself failed, it has to be opened again.
    fn apply(&self, batch: &Batch, folded: Option<Position>) -> Result<(), StoreError>;

    /// The position of the last batch that carried one.
    ///
    /// # Errors
    /// [`StoreError`]
    fn folded(&self) -> Result<Option<Position>, StoreError>;

    /// Makes everything applied durable.
    ///
    /// # Errors
    /// [`StoreError`]: nothing is known then of what was applied since the last success; open the store again.
    fn flush(&self) -> Result<(), StoreError>;

    /// Whether it takes so much more room than when it was opened that opening it again may free some.
    fn has_grown(&self) -> bool {
        false
    }
}

/// Where a store is opened from, again and again if need be.
pub trait StoreSource: Debug + Send + Sync {
    /// Opens the store, empty where there is none. All earlier handles must have been dropped.
    ///
    /// # Errors
    /// [`StoreError`]: a store that does not open is set aside and built anew.
    fn open(&self) -> Result<Arc<dyn CheckpointStore>, StoreError>;

    /// Moves the store out of the way, under a name that contains `label`, so that the next `open` finds none.
    /// Gives the new name.
    ///
    /// # Errors
    /// [`StoreError`]
    fn quarantine(&self, label: &str) -> Result<String, StoreError>;
}

/// How a record becomes changes of the store. It must depend on nothing but its arguments, because records are
/// folded again after a crash: all of them in order, over a store that may already hold them.
///
/// A record that voids what came before it under its key ([`crate::Keep::Ends`], [`crate::Keep::Renews`]) has to delete or write over
/// whatever records of that key have written: those that come before it in the same round are not folded at all.
pub trait Fold: Send + Sync {
    fn fold(&self, position: Position, record: &[u8], out: &mut Batch);
}

impl<F: Fn(Position, &[u8], &mut Batch) + Send + Sync> Fold for F {
    fn fold(&self, position: Position, record: &[u8], out: &mut Batch) {
        self(position, record, out);
    }
}

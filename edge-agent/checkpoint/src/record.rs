//! What is journalled: opaque bytes, and for how long they have to stay readable.

use eyot_model::Position;

/// Longest payload of one record, in bytes: an assignment is one message of at most 16 MiB.
pub const RECORD_LIMIT: usize = 24 << 20;

/// Groups records that stay needed together, such as all those of one unfinished run (its id fits).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LiveKey(pub u128);

/// How long a record has to stay in the journal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Keep {
    /// Until it is durable in the store.
    UntilFolded,
    /// Until a record with [`Keep::Ends`] of the same key: what an unfinished run needs to be rebuilt when the
    /// store is lost. Costs a copy now and then, when its segment is dropped.
    WhileLive(LiveKey),
    /// Kept until folded, and ends the life of all records of the key before it. A key may come to life again.
    Ends(LiveKey),
}

/// A record to append.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    pub keep: Keep,
    /// At most [`RECORD_LIMIT`] bytes; opaque here.
    pub payload: Vec<u8>,
}

impl Record {
    #[must_use]
    pub fn until_folded(payload: Vec<u8>) -> Self {
        Self {
            keep: Keep::UntilFolded,
            payload,
        }
    }

    #[must_use]
    pub fn while_live(key: LiveKey, payload: Vec<u8>) -> Self {
        Self {
            keep: Keep::WhileLive(key),
            payload,
        }
    }

    #[must_use]
    pub fn ends(key: LiveKey, payload: Vec<u8>) -> Self {
        Self {
            keep: Keep::Ends(key),
            payload,
        }
    }
}

/// A record as it stands in the journal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    pub position: Position,
    pub keep: Keep,
    pub payload: Vec<u8>,
}

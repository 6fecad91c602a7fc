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
    /// Until a record of the same key that ends, renews or settles it: what must be there also when the store is
    /// lost, such as what an unfinished run needs to be rebuilt. Costs a copy now and then, when its segment is dropped.
    WhileLive(LiveKey),
    /// Kept until folded. All records of the key before it are void: they are not needed any more, in the store neither. A key
    /// may come to life again.
    Ends(LiveKey),
    /// All records of the key before it are void, and this one takes their place: it is kept as with [`Keep::WhileLive`].
    Renews(LiveKey),
    /// Kept until folded. Records of the key before it stay in the store, and need not outlive it any more: somebody else has
    /// what they say.
    Settles(LiveKey),
}

impl Keep {
    /// The key under which a record of this kind outlives its folding.
    #[must_use]
    pub fn lives_under(self) -> Option<LiveKey> {
        match self {
            Self::WhileLive(key) | Self::Renews(key) => Some(key),
            Self::UntilFolded | Self::Ends(_) | Self::Settles(_) => None,
        }
    }

    /// The key whose earlier records are void.
    #[must_use]
    pub fn voids(self) -> Option<LiveKey> {
        match self {
            Self::Ends(key) | Self::Renews(key) => Some(key),
            Self::UntilFolded | Self::WhileLive(_) | Self::Settles(_) => None,
        }
    }
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
    pub fn renews(key: LiveKey, payload: Vec<u8>) -> Self {
        Self {
            keep: Keep::Renews(key),
            payload,
        }
    }

    #[must_use]
    pub fn settles(key: LiveKey, payload: Vec<u8>) -> Self {
        Self {
            keep: Keep::Settles(key),
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

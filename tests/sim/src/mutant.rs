//! Broken adapters: each takes away one of the things that the invariant rests on, outside the product.

use std::fmt;
use std::str::FromStr;

/// An adapter that lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Mutant {
    /// Whatever an agent reports or claims to hold is shown to the coordinator under the present epoch and owner.
    NoFence,
    /// The device's disk says that it has synced, and has not.
    NoFsync,
    /// The node is told that its records are durable as soon as they are appended.
    NoExternalSynchrony,
    /// Each report that is delivered, a repeated one too, gets an identity of its own.
    NoDeduplication,
    /// The cloud sends, answers and tells before the commit.
    NoPersistBeforeAct,
    /// The device starts tasks with outside effects before their start is durable.
    NoPersistBeforeStart,
}

impl Mutant {
    pub const ALL: [Self; 6] = [
        Self::NoFence,
        Self::NoFsync,
        Self::NoExternalSynchrony,
        Self::NoDeduplication,
        Self::NoPersistBeforeAct,
        Self::NoPersistBeforeStart,
    ];

    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::NoFence => "no-fence",
            Self::NoFsync => "no-fsync",
            Self::NoExternalSynchrony => "no-external-synchrony",
            Self::NoDeduplication => "no-deduplication",
            Self::NoPersistBeforeAct => "no-persist-before-act",
            Self::NoPersistBeforeStart => "no-persist-before-start",
        }
    }
}

impl fmt::Display for Mutant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Mutant {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Self::ALL.into_iter().find(|m| m.as_str() == text).ok_or_else(|| {
            let names = Self::ALL.map(Self::as_str).join(", ");
            format!("there is no mutant `{text}`; there are {names}")
        })
    }
}

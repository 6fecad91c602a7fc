//! Names of things: runs, agents, tasks, attempts, and positions in an agent's journal.

use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// Why a text is not the identifier that it should be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not {expected}")]
pub struct ParseIdError {
    pub text: String,
    pub expected: &'static str,
}

macro_rules! id128 {
    ($(#[$doc:meta])* $name:ident, $prefix:literal, $expected:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
        pub struct $name(pub u128);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!($prefix, "{:032x}"), self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, f)
            }
        }

        impl FromStr for $name {
            type Err = ParseIdError;
            fn from_str(text: &str) -> Result<Self, ParseIdError> {
                let wrong = || ParseIdError { text: text.chars().take(80).collect(), expected: $expected };
                let hex = text.strip_prefix($prefix).ok_or_else(wrong)?;
                if hex.len() != 32 || !hex.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b)) {
                    return Err(wrong());
                }
                u128::from_str_radix(hex, 16).map(Self).map_err(|_| wrong())
            }
        }

        impl Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
                if s.is_human_readable() { s.collect_str(self) } else { self.0.serialize(s) }
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
                if d.is_human_readable() {
                    String::deserialize(d)?.parse().map_err(serde::de::Error::custom)
                } else {
                    u128::deserialize(d).map(Self)
                }
            }
        }

        impl utoipa::PartialSchema for $name {
            fn schema() -> utoipa::openapi::RefOr<utoipa::openapi::schema::Schema> {
                utoipa::openapi::schema::Object::with_type(utoipa::openapi::schema::Type::String).into()
            }
        }
        impl utoipa::ToSchema for $name {}
    };
}

id128!(
    /// One execution of a workflow version. The upper 48 bits are milliseconds of its start, so that ids sort by time.
    RunId, "r-", "a run id (`r-` and 32 hexadecimal digits)"
);
id128!(
    /// An agent, for as long as it keeps its key: derived from the digest of its public key.
    AgentId, "a-", "an agent id (`a-` and 32 hexadecimal digits)"
);

impl RunId {
    /// An id from the instant of its making and 80 random bits passed in by the shell.
    #[must_use]
    pub fn new(at: crate::Timestamp, random: u128) -> Self {
        Self((u128::from(at.as_millis() & 0xffff_ffff_ffff) << 80) | (random & ((1 << 80) - 1)))
    }
}

/// Index of a task in its workflow's list of tasks. Stable for a run, because a run never changes its workflow version.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, utoipa::ToSchema)]
pub struct TaskIx(pub u32);

impl TaskIx {
    #[must_use]
    pub fn index(self) -> usize {
        self.0 as usize
    }
}

/// Index of a fragment in its run; a reassigned fragment keeps it and gets a new epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, utoipa::ToSchema)]
pub struct FragmentId(pub u32);

/// Counts the assignments of a fragment. A result with an old epoch never commits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Epoch(pub u64);

/// A task instance within a run: the task, the item where it is one of a `forEach`, and the generation, which grows
/// when an instance has to run anew although it had ended (a rewind, an output that was lost).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Path {
    pub task: TaskIx,
    pub item: Option<u32>,
    pub generation: u32,
}

impl Path {
    #[must_use]
    pub fn task(task: TaskIx) -> Self {
        Self {
            task,
            item: None,
            generation: 0,
        }
    }

    #[must_use]
    pub fn item(task: TaskIx, item: u32) -> Self {
        Self {
            task,
            item: Some(item),
            generation: 0,
        }
    }

    /// The same instance in another generation.
    #[must_use]
    pub fn of_generation(self, generation: u32) -> Self {
        Self { generation, ..self }
    }
}

/// One try of a task instance. `attempt` counts from 1 and goes on over epochs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, utoipa::ToSchema)]
pub struct AttemptId {
    pub run: RunId,
    pub path: Path,
    pub attempt: u32,
    pub epoch: Epoch,
}

impl AttemptId {
    /// The key that a task gives to outside systems so that they can drop repeats: the same over all attempts and
    /// epochs of a task instance. 64 hexadecimal digits.
    #[must_use]
    pub fn idempotency_key(&self) -> String {
        let mut hasher = blake3::Hasher::new_derive_key("eyot 2026 idempotency key");
        hasher.update(&self.run.0.to_le_bytes());
        hasher.update(&self.path.task.0.to_le_bytes());
        hasher.update(&self.path.item.map_or(u64::MAX, u64::from).to_le_bytes());
        hasher.update(&self.path.generation.to_le_bytes());
        hasher.finalize().to_hex().to_string()
    }
}

/// Where a record stands in an agent's journal. Generations are random and new after any loss, so that positions of
/// two generations never mean the same record; `n` counts from 1 within one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Position {
    pub generation: u64,
    pub n: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_read_back_and_refuse_what_is_not_one() {
        let id = RunId::new(crate::Timestamp(1_700_000_000_000_000), 42);
        assert_eq!(id.to_string().parse::<RunId>(), Ok(id));
        for wrong in [
            "",
            "r-",
            "a-00",
            "r-+0000000000000000000000000000000",
            "r-0000000000000000000000000000000G",
        ] {
            assert!(wrong.parse::<RunId>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn the_idempotency_key_is_the_same_over_attempts_and_epochs_only() {
        let first = AttemptId {
            run: RunId(1),
            path: Path::task(TaskIx(2)),
            attempt: 1,
            epoch: Epoch(1),
        };
        let later = AttemptId {
            attempt: 3,
            epoch: Epoch(9),
            ..first
        };
        let other = AttemptId {
            path: Path::item(TaskIx(2), 0),
            ..first
        };
        assert_eq!(first.idempotency_key(), later.idempotency_key());
        assert_ne!(first.idempotency_key(), other.idempotency_key());
    }
}

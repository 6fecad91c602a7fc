//! What starts runs of a workflow by itself.

use crate::{Digest, Expr, Millis, RunId, Template, Timestamp};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Starts runs of its workflow, on the one agent that owns it, whatever the link does.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Trigger {
    /// Unique in its workflow; part of what the id of each run is made of.
    pub name: String,
    pub source: TriggerSource,
    /// Over `event`. Where it is false nothing starts.
    pub filter: Option<Expr>,
    /// Inputs of the run: templates over `event`.
    pub inputs: BTreeMap<String, Template>,
}

/// What a trigger listens to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum TriggerSource {
    /// Instants of wall time.
    Schedule {
        /// Five fields, or six with seconds first.
        cron: String,
        /// A name of the IANA time zone database.
        time_zone: String,
        /// How far back a missed instant is still made up for: the latest one, once.
        catch_up: Millis,
    },
    /// Messages of an MQTT broker.
    Mqtt {
        /// A name that the device's own settings give an address to.
        broker: String,
        /// A topic filter, `+` and `#` included.
        topic: String,
    },
    /// Files that appear.
    File {
        /// An absolute path, `*` and `?` in its last part.
        pattern: String,
        /// A file counts once it has not changed for this long.
        settle: Millis,
    },
}

impl TriggerSource {
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Schedule { .. } => "schedule",
            Self::Mqtt { .. } => "mqtt",
            Self::File { .. } => "file",
        }
    }
}

/// Who started a run that an agent coordinates.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Origin {
    /// Somebody on the device, and with a key: the same key gives the same run.
    Device { key: Option<RequestKey> },
    /// A trigger of the workflow.
    Trigger { name: String, mark: Mark },
}

/// A client's own key for its request, and the digest of what it asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RequestKey {
    pub key: Digest,
    pub request: Digest,
}

/// What a trigger fired for. It goes with the run that was started, so that there is never one without the other.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Mark {
    /// An instant of a schedule.
    Instant(Timestamp),
    /// A message, the `n`th of its trigger, by MQTT's packet id and the digest of its topic and payload.
    Message { packet: u16, content: Digest, n: u64 },
    /// A file as it was then.
    File {
        name: String,
        size: u64,
        modified: Timestamp,
        content: Digest,
    },
}

impl RunId {
    /// The id of a run that a trigger starts: the same firing gives the same id, so that starting it twice is a no-op.
    /// `at` is the instant of the firing itself (of the cron, of the file's last change), never the time of looking.
    #[must_use]
    pub fn of_firing(at: Timestamp, parts: &[&[u8]]) -> Self {
        let mut hasher = blake3::Hasher::new_derive_key("eyot 2026 run of a trigger");
        for part in parts {
            hasher.update(&(part.len() as u64).to_le_bytes());
            hasher.update(part);
        }
        let mut low = [0; 16];
        hasher.finalize_xof().fill(&mut low);
        Self::new(at, u128::from_le_bytes(low))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_firing_has_one_id_and_parts_do_not_run_into_each_other() {
        let id = |at, parts: &[&[u8]]| RunId::of_firing(Timestamp(at), parts);
        assert_eq!(id(5_000, &[b"a", b"b"]), id(5_000, &[b"a", b"b"]));
        assert_ne!(id(5_000, &[b"ab", b""]), id(5_000, &[b"a", b"b"]));
        assert!(id(5_000, &[b"z"]) < id(6_000, &[b"a"]), "ids sort by time");
    }
}

//! What simulated tasks do: a function of the scenario and the path alone, so that neither retries nor crashes change it.

use crate::random::hash;
use eyot_model::{AttemptId, BlobForm, BlobRef, Digest, Failure, FailureKind, Inputs, Outcome, Outputs, Path, Value};

/// Which way a task instance goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Nature {
    Succeeds,
    /// Fails retryably this many times, then succeeds.
    SucceedsAfter(u32),
    Fails,
    /// Ends its agent's process each time, or its machine's power.
    Kills {
        power: bool,
    },
}

/// What a task is like, its way aside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Habit {
    /// Of all its instances; None: it follows from the path.
    pub nature: Option<Nature>,
    /// An attempt takes between these, in microseconds.
    pub takes: (u64, u64),
    /// Its outputs hold a blob.
    pub blob: bool,
    /// It saves its state while it runs.
    pub saves: bool,
}

impl Default for Habit {
    fn default() -> Self {
        Self {
            nature: None,
            takes: (50, 120_000),
            blob: false,
            saves: false,
        }
    }
}

impl Habit {
    #[must_use]
    pub fn nature(&self, seed: u64, path: Path) -> Nature {
        self.nature
            .unwrap_or_else(|| match hash(&[seed, 1, u64::from(path.task.0), item(path)]) % 10 {
                0 => Nature::Fails,
                1 => Nature::SucceedsAfter(1),
                2 => Nature::SucceedsAfter(2),
                _ => Nature::Succeeds,
            })
    }

    /// What an attempt comes to, if it is left alone. `stamp` is different for each execution.
    #[must_use]
    pub fn outcome(&self, seed: u64, id: &AttemptId, inputs: &Inputs, stamp: u64) -> Outcome {
        let failure = |kind| Outcome::Failed(Failure::new(kind, "as its nature is"));
        match self.nature(seed, id.path) {
            Nature::Fails => failure(FailureKind::Permanent),
            Nature::SucceedsAfter(n) if id.attempt <= n => failure(FailureKind::Retryable),
            Nature::Succeeds | Nature::SucceedsAfter(_) | Nature::Kills { .. } => {
                Outcome::Succeeded(outputs(seed, id.path, inputs, stamp, self.blob))
            }
        }
    }
}

fn item(path: Path) -> u64 {
    path.item.map_or(99, u64::from)
}

/// `n` and `list` steer what follows and are the same whoever makes them. `stamp` says which execution made them, and
/// `consumed` whose results it was given.
#[must_use]
pub fn outputs(seed: u64, path: Path, inputs: &Inputs, stamp: u64, blob: bool) -> Outputs {
    let given = Value::Map(inputs.clone());
    let steering = serde_json::to_string(&steering(&given).to_json()).unwrap_or_default();
    let n = hash(&[seed, 2, u64::from(path.task.0), item(path), fingerprint(&steering)]) % 5;
    let n = i64::try_from(n).unwrap_or(0);
    let mut consumed = Vec::new();
    stamps(&given, &mut consumed);
    let stamp = stamp >> 1;
    let mut outputs = Outputs::from([
        ("n".into(), Value::Int(n)),
        ("list".into(), Value::List((0..n).map(Value::Int).collect())),
        (STAMP.into(), Value::Int(i64::try_from(stamp).unwrap_or(0))),
        (CONSUMED.into(), Value::List(consumed.into_iter().map(Value::Int).collect())),
    ]);
    if blob {
        let content = BlobRef {
            digest: Digest::of(&stamp.to_le_bytes()),
            size: 8,
            form: BlobForm::Raw,
        };
        outputs.insert(BLOB.into(), Value::Blob(content));
    }
    outputs
}

const STAMP: &str = "stamp";
const CONSUMED: &str = "consumed";
const BLOB: &str = "blob";

/// A value without what tells executions apart.
fn steering(value: &Value) -> Value {
    match value {
        Value::Map(map) => Value::Map(
            map.iter()
                .filter(|(name, _)| ![STAMP, CONSUMED, BLOB].contains(&name.as_str()))
                .map(|(name, value)| (name.clone(), steering(value)))
                .collect(),
        ),
        Value::List(list) => Value::List(list.iter().map(steering).collect()),
        other => other.clone(),
    }
}

/// The stamps of the results in `value`.
pub fn stamps(value: &Value, out: &mut Vec<i64>) {
    match value {
        Value::Map(map) => {
            if let Some(Value::Int(stamp)) = map.get(STAMP) {
                out.push(*stamp);
            }
            map.iter()
                .filter(|(name, _)| name.as_str() != CONSUMED)
                .for_each(|(_, value)| stamps(value, out));
        }
        Value::List(list) => list.iter().for_each(|value| stamps(value, out)),
        _ => {}
    }
}

/// The stamps of the results that made these outputs.
#[must_use]
pub fn consumed(outputs: &Outputs) -> Vec<i64> {
    match outputs.get(CONSUMED) {
        Some(Value::List(list)) => list
            .iter()
            .filter_map(|v| if let Value::Int(n) = v { Some(*n) } else { None })
            .collect(),
        _ => Vec::new(),
    }
}

fn fingerprint(text: &str) -> u64 {
    u64::from_le_bytes(Digest::of(text.as_bytes()).0[..8].try_into().unwrap_or_default())
}

//! A simulated disk and store with a checkpoint on them.

use eyot_checkpoint::{Batch, Checkpoint, Config, DiskMarks, LiveKey, MemorySource, Record, Recovered, SimDisk};
use eyot_model::Position;
use std::sync::Arc;

pub(crate) const LOG: &str = "log";

/// Small enough that segments turn over within a test.
pub(crate) fn small() -> Config {
    Config {
        segment_bytes: 24 << 10,
        journal_bytes: 64 << 10,
        fold_bytes: 16 << 10,
        marks: DiskMarks {
            high_free: 0,
            critical_free: 0,
            reserve: 0,
        },
    }
}

/// Keeps every record under its number.
pub(crate) fn log_fold(position: Position, record: &[u8], out: &mut Batch) {
    out.put(LOG, position.n.to_be_bytes(), record);
}

#[derive(Clone, Debug, Default)]
pub(crate) struct World {
    pub(crate) disk: SimDisk,
    pub(crate) source: MemorySource,
}

impl World {
    pub(crate) fn open(&self, generation: u64) -> (Checkpoint, Recovered) {
        self.open_with(small(), generation)
    }

    pub(crate) fn open_with(&self, config: Config, generation: u64) -> (Checkpoint, Recovered) {
        Checkpoint::open(
            config,
            Arc::new(self.disk.clone()),
            Arc::new(self.source.clone()),
            Arc::new(log_fold),
            generation,
            "20260101T000000",
        )
        .unwrap()
    }

    pub(crate) fn crash(&self, seed: u64) {
        self.disk.crash(seed);
        self.source.crash();
    }
}

/// All records in the store, in order.
pub(crate) fn log(recovered: &Recovered) -> Vec<(u64, Vec<u8>)> {
    let pairs = recovered.store.scan(LOG, &[], None, usize::MAX).unwrap();
    pairs
        .into_iter()
        .map(|(key, value)| (u64::from_be_bytes(key.try_into().unwrap()), value))
        .collect()
}

pub(crate) fn text(n: u64) -> Vec<u8> {
    format!("record {n} {}", "x".repeat(80)).into_bytes()
}

/// Appends records one by one, with their numbers as content.
pub(crate) fn append(checkpoint: &mut Checkpoint, numbers: impl IntoIterator<Item = u64>) {
    for n in numbers {
        checkpoint.append(&mut vec![Record::until_folded(text(n))]).unwrap();
    }
}

pub(crate) fn live(key: u128, n: u64) -> Record {
    Record::while_live(LiveKey(key), text(n))
}

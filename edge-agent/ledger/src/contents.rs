//! What the disk holds of the node.

use crate::journal::TREE;
use eyot_checkpoint::store::StoreError;
use eyot_checkpoint::{Checkpoint, Recovered, Report, StoreView};
use eyot_model::Position;
use eyot_node::{Fold, Record};
use std::collections::BTreeSet;

/// Keys read at once.
const PAGE: usize = 1_024;

/// What a node is rebuilt from: run by run, in the order in which it was written.
pub type Records = Vec<(Position, Record)>;

/// Reads all of it: the store, and what the journal has beyond it. There is such a tail where a failing disk kept the start
/// from making the end of the journal durable, and so from folding it. A record that this version cannot read is left out,
/// and said in the log.
///
/// # Errors
/// [`StoreError`]
pub fn read(found: &Recovered) -> Result<Records, StoreError> {
    let mut records = Records::new();
    let folded = found.store.folded()?.map_or(0, |position| position.n);
    let tail = || found.tail.iter().filter(|entry| entry.position.n > folded);
    let later: BTreeSet<Position> = tail().map(|entry| entry.position).collect();
    for prefix in Fold::prefixes() {
        read_store(&found.store, &prefix, &mut records)?;
        if prefix == Fold::history_prefix() {
            // A round of folding that was cut off may have brought a part of the tail into the store already.
            records.retain(|(position, _)| !later.contains(position));
        }
    }
    for entry in tail() {
        take(entry.position, &entry.payload, &mut records);
    }
    Ok(records)
}

/// What of the records that were found is durable. Numbers that no record has count with the last one that there is.
#[must_use]
pub fn durable(checkpoint: &Checkpoint, report: &Report) -> Position {
    let synced = checkpoint.synced();
    if synced.n >= report.last.n { report.taken } else { synced }
}

fn read_store(store: &StoreView, prefix: &[u8], records: &mut Records) -> Result<(), StoreError> {
    let mut after: Option<Vec<u8>> = None;
    loop {
        let page = store.scan(TREE, prefix, after.as_deref(), PAGE)?;
        let Some((last, _)) = page.last() else { return Ok(()) };
        after = Some(last.clone());
        for (key, value) in &page {
            take(Fold::position_of(key).unwrap_or_default(), value, records);
        }
    }
}

fn take(position: Position, bytes: &[u8], records: &mut Records) {
    match Record::decode(bytes) {
        Ok(record) => records.push((position, record)),
        Err(error) => tracing::error!(%error, n = position.n, "a record on the disk cannot be read by this version"),
    }
}

//! The node's records in the journal's terms, and their folding into the store.

use eyot_checkpoint::{Batch, Keep, LiveKey};
use eyot_model::{Digest, Position, RunId};
use eyot_node::{Fold, MarkPlace, Record, RecordError, Write};

/// The tree of the store that holds the node's keys.
pub const TREE: &str = "node";

/// A record of the node as it is journalled: how long it has to stay readable, and its bytes.
///
/// Whatever nobody else has stays in the journal, so that the store can be lost: unfinished runs, runs of the agent's own that the
/// cloud does not have whole, what was deployed or pushed here, what triggers have fired for. Losing the others costs time (a
/// saved state, an acknowledgement) or what the cloud has too.
///
/// # Errors
/// When it cannot be encoded, which plain data always can.
pub fn to_journal(record: &Record) -> Result<eyot_checkpoint::Record, RecordError> {
    let keep = match record {
        Record::Assigned(assignment) => Keep::WhileLive(LiveKey(assignment.run.0)),
        Record::Submitted(submission) => Keep::WhileLive(LiveKey(submission.run.0)),
        Record::Own { run, .. }
        | Record::Fact { run, .. }
        | Record::Dropped { run, .. }
        | Record::AtRest { run, .. }
        | Record::WentOn { run, .. } => Keep::WhileLive(LiveKey(run.0)),
        Record::Released { run } => Keep::Ends(LiveKey(run.0)),
        Record::History { run, n, .. } => archived(*run, *n),
        Record::Archived { submission, pieces, .. } => archived(submission.run, *pieces),
        Record::Told { run, whole: true, .. } => Keep::Settles(archive(*run)),
        Record::Forgotten { run } => Keep::Ends(archive(*run)),
        Record::Component(component) => Keep::Renews(named(&Fold::component_key(&component.name, &component.version))),
        Record::Owned(own) => Keep::Renews(named(&Fold::workflow_key(&own.workflow.namespace, &own.workflow.name))),
        Record::Disowned { namespace, name } => Keep::Ends(named(&Fold::workflow_key(namespace, name))),
        Record::Fired { key, mark } => Keep::Renews(named(&Fold::mark_key(key, &MarkPlace::of(mark)))),
        Record::Unmarked { key, place } => Keep::Ends(named(&Fold::mark_key(key, place))),
        // What was told goes with the store that it was told to: no start finds an older one beside the new one.
        Record::Committed { .. }
        | Record::Saved { .. }
        | Record::Unsaved { .. }
        | Record::Told { whole: false, .. }
        | Record::ToldTo { .. } => Keep::UntilFolded,
    };
    Ok(eyot_checkpoint::Record {
        keep,
        payload: record.encode()?,
    })
}

/// Piece `n` of an archive: the first one takes the place of an archive that was not finished.
fn archived(run: RunId, n: u32) -> Keep {
    if n == 0 {
        Keep::Renews(archive(run))
    } else {
        Keep::WhileLive(archive(run))
    }
}

fn archive(run: RunId) -> LiveKey {
    named(&Fold::archive_prefix(run))
}

/// What lives and ends under a key of the store.
fn named(key: &[u8]) -> LiveKey {
    let digest = Digest::of(key).0;
    LiveKey(digest[..16].iter().fold(0, |n, byte| n << 8 | u128::from(*byte)))
}

/// Folds the node's records into the store.
#[derive(Clone, Copy, Debug, Default)]
pub struct NodeFold;

impl eyot_checkpoint::Fold for NodeFold {
    fn fold(&self, position: Position, bytes: &[u8], out: &mut Batch) {
        let record = match Record::decode(bytes) {
            Ok(record) => record,
            Err(error) => {
                tracing::error!(%error, n = position.n, "a record of the journal cannot be read by this version; it is left out of the checkpoint");
                return;
            }
        };
        for write in Fold::writes(position, &record, bytes) {
            match write {
                Write::Put { key, value } => out.put(TREE, key, value),
                Write::DeletePrefix { prefix } => out.delete_prefix(TREE, prefix),
            }
        }
    }
}

//! The node's records in the journal's terms, and their folding into the store.

use eyot_checkpoint::{Batch, Fold, Keep, LiveKey};
use eyot_model::Position;
use eyot_node::{Record, RecordError, Write};

/// The tree of the store that holds the node's keys.
pub const TREE: &str = "node";

/// A record of the node as it is journalled: how long it has to stay readable, and its bytes.
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
        Record::Archived { submission, .. } => Keep::Ends(LiveKey(submission.run.0)),
        Record::Committed { .. }
        | Record::Saved { .. }
        | Record::Unsaved { .. }
        | Record::History { .. }
        | Record::Told { .. }
        | Record::Component(_)
        | Record::Owned(_)
        | Record::Disowned { .. }
        | Record::Fired { .. }
        | Record::FileGone { .. } => Keep::UntilFolded,
    };
    Ok(eyot_checkpoint::Record {
        keep,
        payload: record.encode()?,
    })
}

/// Folds the node's records into the store.
#[derive(Clone, Copy, Debug, Default)]
pub struct NodeFold;

impl Fold for NodeFold {
    fn fold(&self, position: Position, bytes: &[u8], out: &mut Batch) {
        let record = match Record::decode(bytes) {
            Ok(record) => record,
            Err(error) => {
                tracing::error!(%error, n = position.n, "a record of the journal cannot be read by this version; it is left out of the checkpoint");
                return;
            }
        };
        for write in eyot_node::Fold::writes(position, &record, bytes) {
            match write {
                Write::Put { key, value } => out.put(TREE, key, value),
                Write::DeletePrefix { prefix } => out.delete_prefix(TREE, prefix),
            }
        }
    }
}

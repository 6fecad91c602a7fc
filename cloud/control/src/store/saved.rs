//! What task instances saved for themselves: the latest of each, while its run has not ended.

use super::{Error, Statement, Store, codec, key};
use eyot_model::{Path, RunId};
use eyot_wire::SavedState;

impl Store {
    /// Everything that instances of the run saved.
    ///
    /// # Errors
    /// When the database fails or holds what cannot be read.
    pub async fn saved_states(&self, run: RunId) -> Result<Vec<SavedState>, Error> {
        let rows: Vec<Vec<u8>> = sqlx::query_scalar("SELECT state FROM saved_states WHERE run = ?")
            .bind(key(run.0))
            .fetch_all(self.readers())
            .await?;
        rows.iter().map(|bytes| codec::decode(bytes, "a saved state")).collect()
    }
}

pub(super) fn put(run: RunId, state: &SavedState) -> Result<Statement, Error> {
    // Not where the run is gone: it may be removed while states of it are on their way.
    Ok(Statement::new(
        "INSERT INTO saved_states (run, path, blob, state) SELECT id, ?, ?, ? FROM runs WHERE id = ?
         ON CONFLICT (run, path) DO UPDATE SET blob = excluded.blob, state = excluded.state",
    )
    .bind(codec::encode(&state.path, "the path of a saved state")?)
    .bind(state.blob().map(|blob| blob.digest.0.to_vec()))
    .bind(codec::encode(state, "a saved state")?)
    .bind(key(run.0)))
}

pub(super) fn drop_one(run: RunId, path: &Path) -> Result<Statement, Error> {
    Ok(Statement::new("DELETE FROM saved_states WHERE run = ? AND path = ?")
        .bind(key(run.0))
        .bind(codec::encode(path, "the path of a saved state")?))
}

/// The run has ended.
pub(super) fn drop_all(run: RunId) -> Statement {
    Statement::new("DELETE FROM saved_states WHERE run = ?").bind(key(run.0))
}

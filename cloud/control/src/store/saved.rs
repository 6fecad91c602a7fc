//! What task instances saved for themselves: the latest of each, while its run has not ended.

use super::{Error, Store, codec, key};
use eyot_model::{Path, RunId};
use eyot_wire::SavedState;
use sqlx::SqliteConnection;

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

pub(super) async fn put(c: &mut SqliteConnection, run: RunId, state: &SavedState) -> Result<(), Error> {
    // Not where the run is gone: it may be removed while states of it are on their way.
    sqlx::query(
        "INSERT INTO saved_states (run, path, blob, state) SELECT ?1, ?2, ?3, ?4 WHERE EXISTS (SELECT 1 FROM runs WHERE id = ?1)
         ON CONFLICT (run, path) DO UPDATE SET blob = excluded.blob, state = excluded.state",
    )
    .bind(key(run.0))
    .bind(codec::encode(&state.path, "the path of a saved state")?)
    .bind(state.blob().map(|blob| blob.digest.0.to_vec()))
    .bind(codec::encode(state, "a saved state")?)
    .execute(c)
    .await?;
    Ok(())
}

pub(super) async fn drop_one(c: &mut SqliteConnection, run: RunId, path: &Path) -> Result<(), Error> {
    sqlx::query("DELETE FROM saved_states WHERE run = ? AND path = ?")
        .bind(key(run.0))
        .bind(codec::encode(path, "the path of a saved state")?)
        .execute(c)
        .await?;
    Ok(())
}

/// The run has ended.
pub(super) async fn drop_all(c: &mut SqliteConnection, run: RunId) -> Result<(), Error> {
    sqlx::query("DELETE FROM saved_states WHERE run = ?")
        .bind(key(run.0))
        .execute(c)
        .await?;
    Ok(())
}

//! What may go: ended runs whose time is over, and blobs that nothing names.

use super::{Error, Statement, Store, digest, id128, key, micros};
use eyot_model::{AgentId, Digest, RunId, Timestamp};
use std::collections::BTreeSet;

impl Store {
    /// Ended runs whose time is over, oldest first.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn expired_runs(&self, now: Timestamp, limit: u32) -> Result<Vec<RunId>, Error> {
        let rows: Vec<Vec<u8>> = sqlx::query_scalar(
            "SELECT id FROM runs WHERE ended_at IS NOT NULL AND state IN ('succeeded', 'failed', 'cancelled') AND expires_at <= ?
                 ORDER BY expires_at LIMIT ?",
        )
        .bind(micros(now))
        .bind(i64::from(limit))
        .fetch_all(self.readers())
        .await?;
        rows.iter().map(|id| Ok(RunId(id128(id, "the id of a run")?))).collect()
    }

    /// Every blob that something stored names, and every upload noted at or after `uploaded_since`.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn named_blobs(&self, uploaded_since: Timestamp) -> Result<BTreeSet<Digest>, Error> {
        let rows: Vec<Vec<u8>> = sqlx::query_scalar(
            "SELECT digest FROM components UNION SELECT digest FROM workflow_blobs UNION SELECT digest FROM run_blobs
             UNION SELECT blob FROM saved_states WHERE blob IS NOT NULL
             UNION SELECT digest FROM uploads WHERE at >= ?",
        )
        .bind(micros(uploaded_since))
        .fetch_all(self.readers())
        .await?;
        rows.iter().map(|bytes| digest(bytes, "the digest of a blob")).collect()
    }

    /// Whether the agent owns or owned a part of the run.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn agent_knows_run(&self, agent: AgentId, run: RunId) -> Result<bool, Error> {
        let found: Option<i64> = sqlx::query_scalar(
            "SELECT 1 FROM fragments WHERE run = ?1 AND agent = ?2 UNION SELECT 1 FROM runs WHERE id = ?1 AND coordinator = ?2 LIMIT 1",
        )
        .bind(key(run.0))
        .bind(key(agent.0))
        .fetch_optional(self.readers())
        .await?;
        Ok(found.is_some())
    }
}

pub(super) fn note_upload(digest: &Digest, at: Timestamp) -> Statement {
    Statement::new("INSERT INTO uploads (digest, at) VALUES (?, ?) ON CONFLICT (digest) DO UPDATE SET at = excluded.at")
        .bind(digest.0.to_vec())
        .bind(micros(at))
}

pub(super) fn forget(out: &mut Vec<Statement>, before: Timestamp, now: Timestamp) {
    out.push(Statement::new("DELETE FROM uploads WHERE at < ?").bind(micros(before)));
    out.push(Statement::new("DELETE FROM idempotency WHERE made_at < ? AND run NOT IN (SELECT id FROM runs)").bind(micros(before)));
    out.push(Statement::new("DELETE FROM invites WHERE expires_at < ?").bind(micros(now)));
}

pub(super) fn drop_unused_texts() -> Statement {
    Statement::new(
        "DELETE FROM workflows WHERE direct = 1 AND NOT EXISTS (SELECT 1 FROM runs
         WHERE runs.namespace = workflows.namespace AND runs.workflow = workflows.name AND runs.version = workflows.version)",
    )
}

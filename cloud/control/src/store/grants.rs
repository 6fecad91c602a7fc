//! Namespaces that agents may coordinate runs of.

use super::{Error, Store, id128, key};
use eyot_model::AgentId;
use sqlx::SqliteConnection;

impl Store {
    /// Every grant.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn grants(&self) -> Result<Vec<(AgentId, String)>, Error> {
        let rows: Vec<(Vec<u8>, String)> = sqlx::query_as("SELECT agent, namespace FROM grants ORDER BY agent, namespace")
            .fetch_all(self.readers())
            .await?;
        rows.into_iter()
            .map(|(agent, namespace)| Ok((AgentId(id128(&agent, "the agent of a grant")?), namespace)))
            .collect()
    }
}

pub(super) async fn set(c: &mut SqliteConnection, agent: AgentId, namespace: &str, on: bool) -> Result<(), Error> {
    let sql = if on {
        "INSERT OR IGNORE INTO grants (agent, namespace) VALUES (?, ?)"
    } else {
        "DELETE FROM grants WHERE agent = ? AND namespace = ?"
    };
    sqlx::query(sql).bind(key(agent.0)).bind(namespace.to_owned()).execute(c).await?;
    Ok(())
}

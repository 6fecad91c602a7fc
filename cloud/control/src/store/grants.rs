//! Namespaces that agents may coordinate runs of.

use super::{Error, Statement, Store, id128, key};
use eyot_model::AgentId;

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

pub(super) fn set(agent: AgentId, namespace: &str, on: bool) -> Statement {
    Statement::new(if on {
        "INSERT INTO grants (agent, namespace) VALUES (?, ?) ON CONFLICT DO NOTHING"
    } else {
        "DELETE FROM grants WHERE agent = ? AND namespace = ?"
    })
    .bind(key(agent.0))
    .bind(namespace)
}

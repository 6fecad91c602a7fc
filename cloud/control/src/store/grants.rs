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

    /// Whether a namespace is somebody else's: it has runs that are not `own`'s, or workflows without a run of `own`'s.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn is_namespace_of_others(&self, namespace: &str, own: Option<AgentId>) -> Result<bool, Error> {
        // No agent's id.
        let own = own.map_or_else(Vec::new, |agent| key(agent.0));
        let used: i64 = sqlx::query_scalar(
            "SELECT EXISTS (SELECT 1 FROM runs WHERE namespace = ?1 AND coordinator IS NOT ?2)
                OR (EXISTS (SELECT 1 FROM workflows WHERE namespace = ?1)
                    AND NOT EXISTS (SELECT 1 FROM runs WHERE namespace = ?1 AND coordinator = ?2))",
        )
        .bind(namespace.to_owned())
        .bind(own)
        .fetch_one(self.readers())
        .await?;
        Ok(used != 0)
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

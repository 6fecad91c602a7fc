//! Workflows that agents own, as the control plane wants it: told until the agent says that it has it.

use super::{Error, Store, codec, count, id128, key, uncount};
use eyot_model::AgentId;
use eyot_wire::Deployment;
use sqlx::SqliteConnection;

/// A workflow on an agent, wanted there or wanted gone.
#[derive(Clone, Debug)]
pub struct DeploymentRow {
    pub agent: AgentId,
    pub namespace: String,
    pub name: String,
    pub version: String,
    pub revision: u64,
    /// It is to go.
    pub ending: bool,
    /// The agent has it, durably.
    pub confirmed: bool,
    /// Why the agent does not take it.
    pub refused: Option<String>,
    pub deployment: Deployment,
}

type Columns = (Vec<u8>, String, String, String, i64, i64, i64, Option<String>, Vec<u8>);

fn row(columns: Columns) -> Result<DeploymentRow, Error> {
    let (agent, namespace, name, version, revision, ending, confirmed, refused, record) = columns;
    Ok(DeploymentRow {
        agent: AgentId(id128(&agent, "the agent of a deployment")?),
        namespace,
        name,
        version,
        revision: uncount(revision),
        ending: ending != 0,
        confirmed: confirmed != 0,
        refused,
        deployment: codec::decode(&record, "a deployment")?,
    })
}

impl Store {
    /// Deployments of one agent, or all.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn deployments(&self, agent: Option<AgentId>) -> Result<Vec<DeploymentRow>, Error> {
        let rows: Vec<Columns> = sqlx::query_as(
            "SELECT agent, namespace, name, version, revision, ending, confirmed, refused, record FROM deployments
             WHERE ?1 IS NULL OR agent = ?1 ORDER BY agent, namespace, name",
        )
        .bind(agent.map(|agent| key(agent.0)))
        .fetch_all(self.readers())
        .await?;
        rows.into_iter().map(row).collect()
    }
}

pub(super) async fn put(c: &mut SqliteConnection, row: &DeploymentRow) -> Result<(), Error> {
    sqlx::query(
        "INSERT INTO deployments (agent, namespace, name, version, revision, ending, confirmed, refused, record) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)
         ON CONFLICT (agent, namespace, name) DO UPDATE SET version = excluded.version, revision = excluded.revision,
         ending = excluded.ending, confirmed = excluded.confirmed, refused = excluded.refused, record = excluded.record
         WHERE excluded.revision > deployments.revision",
    )
    .bind(key(row.agent.0))
    .bind(row.namespace.clone())
    .bind(row.name.clone())
    .bind(row.version.clone())
    .bind(count(row.revision))
    .bind(i64::from(row.ending))
    .bind(i64::from(row.confirmed))
    .bind(row.refused.clone())
    .bind(codec::encode(&row.deployment, "a deployment")?)
    .execute(c)
    .await?;
    Ok(())
}

/// The agent's answer. One that is about an older revision changes nothing; the end of a deployment removes it.
pub(super) async fn answered(
    c: &mut SqliteConnection,
    agent: AgentId,
    namespace: &str,
    name: &str,
    revision: u64,
    refused: Option<&str>,
) -> Result<(), Error> {
    for sql in [
        "UPDATE deployments SET confirmed = 1, refused = ?5 WHERE agent = ?1 AND namespace = ?2 AND name = ?3 AND revision = ?4",
        "DELETE FROM deployments WHERE agent = ?1 AND namespace = ?2 AND name = ?3 AND revision = ?4 AND ending = 1 AND ?5 IS NULL",
    ] {
        sqlx::query(sql)
            .bind(key(agent.0))
            .bind(namespace.to_owned())
            .bind(name.to_owned())
            .bind(count(revision))
            .bind(refused.map(str::to_owned))
            .execute(&mut *c)
            .await?;
    }
    Ok(())
}

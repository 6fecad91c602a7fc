//! Workflows that agents own, as the control plane wants it: told until the agent says that it has it.

use super::{Error, Statement, Store, codec, count, id128, key, uncount};
use eyot_model::AgentId;
use eyot_wire::{Deployed, Deployment};

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

pub(super) fn put(row: &DeploymentRow) -> Result<Statement, Error> {
    Ok(Statement::new(
        "INSERT INTO deployments (agent, namespace, name, version, revision, ending, confirmed, refused, record) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)
         ON CONFLICT (agent, namespace, name) DO UPDATE SET version = excluded.version, revision = excluded.revision,
         ending = excluded.ending, confirmed = excluded.confirmed, refused = excluded.refused, record = excluded.record
         WHERE excluded.revision > deployments.revision",
    )
    .bind(key(row.agent.0))
    .bind(&row.namespace)
    .bind(&row.name)
    .bind(&row.version)
    .bind(count(row.revision))
    .bind(i64::from(row.ending))
    .bind(i64::from(row.confirmed))
    .bind(row.refused.clone())
    .bind(codec::encode(&row.deployment, "a deployment")?))
}

/// The agent's answer. One that is about an older revision changes nothing; the end of a deployment removes it.
pub(super) fn answered(out: &mut Vec<Statement>, agent: AgentId, deployed: &Deployed) {
    let at = |statement: Statement| {
        statement
            .bind(key(agent.0))
            .bind(&deployed.namespace)
            .bind(&deployed.name)
            .bind(count(deployed.revision))
    };
    let confirm = "UPDATE deployments SET confirmed = 1, refused = ? WHERE agent = ? AND namespace = ? AND name = ? AND revision = ?";
    out.push(at(Statement::new(confirm).bind(deployed.refused.clone())));
    if deployed.refused.is_none() {
        let drop = "DELETE FROM deployments WHERE agent = ? AND namespace = ? AND name = ? AND revision = ? AND ending = 1";
        out.push(at(Statement::new(drop)));
    }
}

/// What the agent took is to be confirmed once more; what it refused stays refused.
pub(super) fn unconfirmed(agent: AgentId) -> Statement {
    Statement::new("UPDATE deployments SET confirmed = 0 WHERE agent = ? AND refused IS NULL").bind(key(agent.0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::{AgentRecord, Change};
    use eyot_model::{Position, Timestamp, Workflow};
    use std::sync::Arc;

    const AGENT: AgentId = AgentId(7);

    fn wanted(name: &str) -> Change {
        Change::PutDeployment(Box::new(DeploymentRow {
            agent: AGENT,
            namespace: "n".into(),
            name: name.into(),
            version: "1".into(),
            revision: 1,
            ending: false,
            confirmed: false,
            refused: None,
            deployment: Deployment {
                revision: 1,
                workflow: Arc::new(Workflow::new("n", name, "1", Vec::new())),
                text: String::new(),
            },
        }))
    }

    fn answered(name: &str, refused: Option<&str>) -> Change {
        Change::DeploymentAnswered {
            agent: AGENT,
            deployed: Deployed {
                namespace: "n".into(),
                name: name.into(),
                revision: 1,
                refused: refused.map(str::to_owned),
            },
        }
    }

    #[tokio::test]
    async fn what_an_agent_took_is_asked_again_once_it_lost_records_and_what_it_refused_is_not() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(&dir.path().join("eyot.db")).await.unwrap();
        let agent = AgentRecord {
            id: AGENT,
            name: "cam".into(),
            joined_at: Timestamp(1),
            certificate_expires_at: Timestamp(1),
            revoked: false,
            draining: false,
            last_seen: None,
            profile: None,
            committed: Position::default(),
            incarnation: None,
        };
        let told = vec![
            Change::PutAgent(Box::new(agent)),
            wanted("taken"),
            wanted("refused"),
            answered("taken", None),
            answered("refused", Some("no GPU")),
        ];
        store.commit(vec![], told).await.unwrap();
        let confirmed = async || -> Vec<(String, bool)> {
            let rows = store.deployments(Some(AGENT)).await.unwrap();
            rows.into_iter().map(|row| (row.name, row.confirmed)).collect()
        };
        assert!(confirmed().await.iter().all(|(_, confirmed)| *confirmed));
        store.commit(vec![], vec![Change::DeploymentsUnconfirmed(AGENT)]).await.unwrap();
        assert_eq!(confirmed().await, [("refused".to_owned(), true), ("taken".to_owned(), false)]);
    }
}

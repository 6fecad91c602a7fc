//! Workflows on their way to the agents that are to own them: sent over every link until the agent says that it has them.

use crate::access::{Access, named_blobs};
use crate::fleet::Fleet;
use crate::store::{DeploymentRow, Store};
use eyot_model::{AgentId, RunId, Timestamp};
use eyot_wire::ToAgent;

/// Sends what an agent has not confirmed. Until it has, it may read the components. What is not sent for a failing store is
/// sent over the next link.
pub(crate) async fn redeploy(store: &Store, fleet: &Fleet, access: &Access, agent: AgentId) {
    match store.deployments(Some(agent)).await {
        Ok(rows) => rows.into_iter().filter(|row| !row.confirmed).for_each(|row| send(fleet, access, row)),
        Err(error) => tracing::warn!(error = %crate::chain(&error), "deployments were not looked up"),
    }
}

pub(crate) fn send(fleet: &Fleet, access: &Access, row: DeploymentRow) {
    let agent = row.agent;
    if row.ending {
        access.end(reading(&row));
        return fleet.send(
            agent,
            ToAgent::Undeploy {
                namespace: row.namespace,
                name: row.name,
                revision: row.revision,
            },
        );
    }
    access.deploy(reading(&row), agent, named_blobs(&row.deployment.workflow));
    fleet.send(agent, ToAgent::Deploy(Box::new(row.deployment)));
}

/// A deployment reads blobs as a run would, under an id that is no run's.
fn reading(row: &DeploymentRow) -> RunId {
    RunId::of_firing(
        Timestamp::default(),
        &[
            b"deployment",
            &row.agent.0.to_be_bytes(),
            row.namespace.as_bytes(),
            row.name.as_bytes(),
        ],
    )
}

/// The agent has it: its components are there.
pub(crate) fn confirmed(access: &Access, agent: AgentId, namespace: &str, name: &str) {
    access.end(RunId::of_firing(
        Timestamp::default(),
        &[b"deployment", &agent.0.to_be_bytes(), namespace.as_bytes(), name.as_bytes()],
    ));
}

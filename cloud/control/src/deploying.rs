//! Workflows on their way to the agents that are to own them: sent over every link until the agent says that it has them.

use crate::access::{Access, named_blobs};
use crate::fleet::Fleet;
use crate::store::{DeploymentRow, Store};
use eyot_model::{AgentId, RunId, Timestamp};
use eyot_wire::ToAgent;

/// Sends what an agent has not confirmed. Until it has, it may read the components. What is not sent for a failing store is
/// sent over the next link. An agent that has never reported anything is sent all of it: whether it lost records is only
/// known of one whose journal was heard of, and what it has it just confirms again.
pub(crate) async fn redeploy(store: &Store, fleet: &Fleet, access: &Access, agent: AgentId) {
    let silent = fleet.get(agent).is_none_or(|(record, _)| record.committed.generation == 0);
    match store.deployments(Some(agent)).await {
        Ok(rows) => rows
            .into_iter()
            .filter(|row| !row.confirmed || (silent && row.refused.is_none()))
            .for_each(|row| send(fleet, access, row)),
        Err(error) => tracing::warn!(error = %crate::chain(&error), "deployments were not looked up"),
    }
}

pub(crate) fn send(fleet: &Fleet, access: &Access, row: DeploymentRow) {
    let agent = row.agent;
    if row.ending {
        return fleet.send(
            agent,
            ToAgent::Undeploy {
                namespace: row.namespace,
                name: row.name,
                revision: row.revision,
            },
        );
    }
    let reading = reading(agent, &row.namespace, &row.name, row.revision);
    access.deploy(reading, agent, named_blobs(&row.deployment.workflow));
    fleet.send(agent, ToAgent::Deploy(Box::new(row.deployment)));
}

/// The agent has this revision: its components are there.
pub(crate) fn confirmed(access: &Access, agent: AgentId, namespace: &str, name: &str, revision: u64) {
    access.end(reading(agent, namespace, name, revision));
}

/// A deployment reads blobs as a run would, under an id that is no run's. Each revision does by itself: the answer to an
/// older one, which comes late, says nothing of the newer.
fn reading(agent: AgentId, namespace: &str, name: &str, revision: u64) -> RunId {
    let (agent, revision) = (agent.0.to_be_bytes(), revision.to_be_bytes());
    RunId::of_firing(
        Timestamp::default(),
        &[b"deployment", &agent, namespace.as_bytes(), name.as_bytes(), &revision],
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use eyot_link::{BlobPolicy, Peer};
    use eyot_model::{ComponentRef, Digest, Task, Workflow};
    use eyot_wire::Deployment;
    use std::sync::Arc;

    const AGENT: AgentId = AgentId(7);

    /// A revision of a workflow, whose only component is named after it.
    fn revision(n: u64) -> (DeploymentRow, Digest) {
        let digest = Digest::of(&n.to_be_bytes());
        let uses = ComponentRef {
            name: "x".into(),
            digest: Some(digest),
            size: 1,
        };
        let row = DeploymentRow {
            agent: AGENT,
            namespace: "n".into(),
            name: "w".into(),
            version: n.to_string(),
            revision: n,
            ending: false,
            confirmed: false,
            refused: None,
            deployment: Deployment {
                revision: n,
                workflow: Arc::new(Workflow::new("n", "w", n.to_string(), vec![Task::new("t", uses)])),
                text: String::new(),
            },
        };
        (row, digest)
    }

    #[test]
    fn a_late_answer_to_an_older_revision_leaves_the_newer_one_to_be_read() {
        let (fleet, access) = (Fleet::default(), Access::default());
        let policy = crate::access::Policy {
            access: access.clone(),
            limits: crate::access::upload_limits(1),
        };
        let (old, of_old) = revision(1);
        let (new, of_new) = revision(2);
        send(&fleet, &access, old);
        send(&fleet, &access, new);
        let reads = |digest| policy.may_read(Peer::Agent(AGENT), &digest);
        assert!(reads(of_old) && reads(of_new));
        confirmed(&access, AGENT, "n", "w", 1);
        assert_eq!((reads(of_old), reads(of_new)), (false, true));
        confirmed(&access, AGENT, "n", "w", 2);
        assert!(!reads(of_new));
    }
}

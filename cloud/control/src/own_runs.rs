//! What an agent tells of runs of its own, on its way to the loop.

use crate::conductor::{Input, Stopping, ended_events};
use crate::deploying;
use crate::link::Links;
use crate::store::Change;
use eyot_model::AgentId;
use eyot_wire::{Deployed, OwnRun};

/// A control plane that is stopping, or a store that cannot be read: the agent tells it again.
pub(crate) enum NotGiven {
    Stopping,
    Store,
}

impl From<Stopping> for NotGiven {
    fn from(_: Stopping) -> Self {
        Self::Stopping
    }
}

impl Links {
    /// Looks up what the loop cannot know, and gives it on.
    pub(crate) async fn own_run(&self, agent: AgentId, told: Box<OwnRun>) -> Result<(), NotGiven> {
        let granted = told
            .submission
            .as_ref()
            .is_some_and(|submission| self.grants.allows(&self.fleet, agent, &submission.workflow.namespace));
        // Only the first part of a run can be of one that ended: the loop knows the others.
        let ended = match told.submission {
            Some(_) => ended_events(&self.store, told.run).await.map_err(|error| {
                tracing::warn!(error = %crate::chain(&error), "an agent's own run was not looked up");
                NotGiven::Store
            })?,
            None => None,
        };
        self.conductor
            .give(Input::OwnRun {
                agent,
                told,
                granted,
                ended,
            })
            .await?;
        Ok(())
    }

    /// An agent says what became of a deployment.
    pub(crate) async fn deployed(&self, agent: AgentId, deployed: Deployed) {
        match &deployed.refused {
            Some(why) => tracing::error!(%agent, workflow = deployed.name, why, "an agent does not take a workflow"),
            None => deploying::confirmed(&self.access, agent, &deployed.namespace, &deployed.name, deployed.revision),
        }
        // Not stored, it is sent again over the next link, and answered again.
        let answered = Change::DeploymentAnswered { agent, deployed };
        if let Err(error) = self.store.commit(vec![], vec![answered]).await {
            tracing::warn!(error = %crate::chain(&error), "an answer to a deployment was not stored");
        }
    }

    /// An agent is back: what it has not confirmed.
    pub(crate) async fn redeploy(&self, agent: AgentId) {
        deploying::redeploy(&self.store, &self.fleet, &self.access, agent).await;
    }
}

//! Agents: look, invite, cordon, drain, revoke, remove.

use crate::registry::Listing;
use crate::{Client, Error};
use eyot_model::api::{AgentView, DeployRequest, DeploymentView, DrainView, GrantRequest, Invitation, InviteRequest};
use reqwest::Method;

impl Client {
    /// # Errors
    /// When the request fails.
    pub async fn agents(&self) -> Result<Vec<AgentView>, Error> {
        Ok(self.json::<Listing<_>>(self.get(&["v1", "agents"])).await?.into_items())
    }

    /// One agent by its id or name.
    ///
    /// # Errors
    /// When there is none, or the request fails.
    pub async fn agent(&self, id_or_name: &str) -> Result<AgentView, Error> {
        self.json(self.get(&["v1", "agents", id_or_name])).await
    }

    /// A one-time token with which a device joins.
    ///
    /// # Errors
    /// When the request fails.
    pub async fn invite(&self, request: &InviteRequest) -> Result<Invitation, Error> {
        self.post_json(&["v1", "agents", "invite"], request).await
    }

    /// A cordoned agent ends what it has and gets no new work.
    ///
    /// # Errors
    /// When there is no such agent, or the request fails.
    pub async fn cordon(&self, id_or_name: &str, on: bool) -> Result<(), Error> {
        self.done(self.post(&["v1", "agents", id_or_name, "cordon"]).query(&[("on", on)]))
            .await
    }

    /// Cordons an agent, has everything that it holds go on elsewhere, and says how far that is: ask again until nothing
    /// is left.
    ///
    /// # Errors
    /// When there is no such agent, or the request fails.
    pub async fn drain(&self, id_or_name: &str) -> Result<DrainView, Error> {
        self.json(self.post(&["v1", "agents", id_or_name, "drain"])).await
    }

    /// Its certificate is worth nothing from now on.
    ///
    /// # Errors
    /// When there is no such agent, or the request fails.
    pub async fn revoke(&self, id_or_name: &str) -> Result<(), Error> {
        self.done(self.post(&["v1", "agents", id_or_name, "revoke"])).await
    }

    /// Lets an agent begin anew whose disk was taken for a copy of another device's.
    ///
    /// # Errors
    /// When there is no such agent, it is connected, or the request fails.
    pub async fn readmit(&self, id_or_name: &str) -> Result<(), Error> {
        self.done(self.post(&["v1", "agents", id_or_name, "readmit"])).await
    }

    /// Forgets an agent.
    ///
    /// # Errors
    /// When there is no such agent, it is connected, or the request fails.
    pub async fn remove_agent(&self, id_or_name: &str) -> Result<(), Error> {
        self.done(self.request(Method::DELETE, &["v1", "agents", id_or_name])).await
    }

    /// Lets an agent coordinate runs of a namespace, or not any more.
    ///
    /// # Errors
    /// When there is no such agent, or the request fails.
    pub async fn grant(&self, id_or_name: &str, request: &GrantRequest) -> Result<(), Error> {
        self.done(self.post(&["v1", "agents", id_or_name, "grants"]).json(request)).await
    }

    /// Gives a stored workflow to an agent to own.
    ///
    /// # Errors
    /// When there is no such agent or workflow, or the request fails.
    pub async fn deploy(&self, id_or_name: &str, workflow: &str) -> Result<DeploymentView, Error> {
        let request = DeployRequest {
            workflow: workflow.to_owned(),
        };
        self.post_json(&["v1", "agents", id_or_name, "workflows"], &request).await
    }

    /// The workflows that an agent owns by the control plane's word.
    ///
    /// # Errors
    /// When there is no such agent, or the request fails.
    pub async fn deployments(&self, id_or_name: &str) -> Result<Vec<DeploymentView>, Error> {
        let request = self.get(&["v1", "agents", id_or_name, "workflows"]);
        Ok(self.json::<Listing<_>>(request).await?.into_items())
    }

    /// Ends an agent's ownership of a workflow.
    ///
    /// # Errors
    /// When it is not deployed there, or the request fails.
    pub async fn undeploy(&self, id_or_name: &str, namespace: &str, name: &str) -> Result<(), Error> {
        let path = ["v1", "agents", id_or_name, "workflows", namespace, name];
        self.done(self.request(Method::DELETE, &path)).await
    }
}

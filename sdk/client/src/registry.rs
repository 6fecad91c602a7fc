//! Workflows, plans, components, and the health of the control plane.

use crate::{Client, Error};
use eyot_model::Digest;
use eyot_model::api::{ComponentView, PlanView, RunRequest, Validation, WorkflowSource, WorkflowView};
use serde::{Deserialize, Serialize};

/// What is registered: an uploaded component, with the name it goes by and what it says of itself.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ComponentSpec {
    /// `eyot/image`
    pub name: String,
    pub version: String,
    /// Of a blob that was uploaded before.
    pub digest: Digest,
    /// The component's own description as `eyot-agent describe` prints it.
    pub description: serde_json::Value,
}

/// The answer of `/healthz`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Health {
    /// What it says, at most 4 KiB.
    pub text: String,
}

/// A list, whether or not the server cuts it in pages.
#[derive(Deserialize)]
#[serde(untagged)]
pub(crate) enum Listing<T> {
    Whole(Vec<T>),
    Page { items: Vec<T> },
}

impl<T> Listing<T> {
    pub(crate) fn into_items(self) -> Vec<T> {
        match self {
            Self::Whole(items) | Self::Page { items } => items,
        }
    }
}

impl Client {
    /// Whether the control plane is up and ready. Needs no token.
    ///
    /// # Errors
    /// When it cannot be reached or says that it is not ready.
    pub async fn health(&self) -> Result<Health, Error> {
        let response = self.send(self.get(&["healthz"])).await?;
        let text = response.text().await.map_err(|e| self.lost(e))?;
        Ok(Health {
            text: text.chars().take(4096).collect(),
        })
    }

    /// The stored workflows, newest version of each.
    ///
    /// # Errors
    /// When the request fails.
    pub async fn workflows(&self) -> Result<Vec<WorkflowView>, Error> {
        Ok(self.json::<Listing<_>>(self.get(&["v1", "workflows"])).await?.into_items())
    }

    /// One stored workflow with its text; the newest version where none is named.
    ///
    /// # Errors
    /// When there is none, or the request fails.
    pub async fn workflow(&self, namespace: &str, name: &str, version: Option<&str>) -> Result<WorkflowView, Error> {
        let mut request = self.get(&["v1", "workflows", namespace, name]);
        if let Some(version) = version {
            request = request.query(&[("version", version)]);
        }
        self.json(request).await
    }

    /// Stores a version of a workflow.
    ///
    /// # Errors
    /// When it is invalid (the diagnostics are in the problem), its version exists with another content, or the request fails.
    pub async fn push_workflow(&self, source: &WorkflowSource) -> Result<WorkflowView, Error> {
        self.post_json(&["v1", "workflows"], source).await
    }

    /// Ends an agent's ownership of a workflow. For an agent's own socket.
    ///
    /// # Errors
    /// When there is none, the control plane deployed it, or the request fails.
    pub async fn remove_workflow(&self, namespace: &str, name: &str) -> Result<(), Error> {
        self.done(self.request(reqwest::Method::DELETE, &["v1", "workflows", namespace, name]))
            .await
    }

    /// Checks a workflow against the control plane's registry and stores nothing.
    ///
    /// # Errors
    /// When the request fails; an invalid workflow is an answer, not an error.
    pub async fn validate(&self, source: &WorkflowSource) -> Result<Validation, Error> {
        self.post_json(&["v1", "workflows", "validate"], source).await
    }

    /// What would run where, if this were submitted now.
    ///
    /// # Errors
    /// When the workflow or its inputs are invalid, or the request fails.
    pub async fn plan(&self, request: &RunRequest) -> Result<PlanView, Error> {
        self.post_json(&["v1", "plan"], request).await
    }

    /// # Errors
    /// When the request fails.
    pub async fn components(&self) -> Result<Vec<ComponentView>, Error> {
        Ok(self.json::<Listing<_>>(self.get(&["v1", "components"])).await?.into_items())
    }

    /// Gives an uploaded component its name and version.
    ///
    /// # Errors
    /// When the blob is missing or no component, the version exists with another digest, or the request fails.
    pub async fn push_component(&self, component: &ComponentSpec) -> Result<ComponentView, Error> {
        self.post_json(&["v1", "components"], component).await
    }
}

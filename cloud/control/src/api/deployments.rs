//! Workflows that agents own: their triggers fire there, link or no link.

use super::body::Body;
use super::{App, Error};
use crate::clock;
use crate::deploying;
use crate::registry;
use crate::store::{Change, DeploymentRow};
use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use eyot_model::api::{DeployRequest, DeploymentView, Page, Problem};
use eyot_model::{AgentId, LinkState};
use eyot_wire::Deployment;

fn view(row: &DeploymentRow) -> DeploymentView {
    let state = match (&row.refused, row.ending, row.confirmed) {
        (Some(_), ..) => "refused",
        (None, true, _) => "ending",
        (None, false, true) => "deployed",
        (None, false, false) => "on its way",
    };
    DeploymentView {
        namespace: row.namespace.clone(),
        name: row.name.clone(),
        version: row.version.clone(),
        state: state.to_owned(),
        refused: row.refused.clone(),
    }
}

/// Workflows that an agent owns by the control plane's word.
#[utoipa::path(get, path = "/v1/agents/{agent}/workflows", tag = "agents", params(("agent" = String, Path, description = "Id or name")),
    responses((status = 200, body = Page<DeploymentView>), (status = 404, body = Problem)))]
pub(super) async fn list(State(app): State<App>, Path(agent): Path<String>) -> Result<Json<Page<DeploymentView>>, Error> {
    let agent = super::agents::find(&app, &agent)?;
    let rows = app.store.deployments(Some(agent)).await?;
    Ok(Json(Page {
        items: rows.iter().map(view).collect(),
        next: None,
    }))
}

/// Gives a stored workflow to an agent to own, and lets it coordinate runs of the workflow's namespace. The agent gets it
/// now, or when it comes back.
#[utoipa::path(post, path = "/v1/agents/{agent}/workflows", tag = "agents", request_body = DeployRequest, params(("agent" = String, Path, description = "Id or name")),
    responses((status = 202, body = DeploymentView), (status = 404, body = Problem)))]
pub(super) async fn deploy(
    State(app): State<App>,
    Path(agent): Path<String>,
    Body(request): Body<DeployRequest>,
) -> Result<(StatusCode, Json<DeploymentView>), Error> {
    let agent = super::agents::find(&app, &agent)?;
    let record = registry::stored(&app.store, &request.workflow).await?;
    let workflow = record.workflow;
    let known = known(&app, agent, &workflow.namespace, &workflow.name).await?;
    if let Some(known) = &known
        && app.fleet.link(agent) == LinkState::Disconnected
    {
        // It cannot have heard of that one if it has not confirmed it, and will hear of this one instead.
        deploying::confirmed(&app.access, agent, &known.namespace, &known.name, known.revision);
    }
    let deployment = Deployment {
        revision: after(known.as_ref()),
        workflow: std::sync::Arc::clone(&workflow),
        text: record.text,
    };
    let row = DeploymentRow {
        agent,
        namespace: workflow.namespace.clone(),
        name: workflow.name.clone(),
        version: workflow.version.clone(),
        revision: deployment.revision,
        ending: false,
        confirmed: false,
        refused: None,
        deployment,
    };
    let grant = Change::SetGrant {
        agent,
        namespace: workflow.namespace.clone(),
        on: true,
    };
    app.store
        .commit(vec![], vec![Change::PutDeployment(Box::new(row.clone())), grant])
        .await?;
    app.grants.set(agent, &workflow.namespace, true);
    let shown = view(&row);
    deploying::send(&app.fleet, &app.access, row);
    Ok((StatusCode::ACCEPTED, Json(shown)))
}

/// Ends an agent's ownership of a workflow. Its runs go on.
#[utoipa::path(delete, path = "/v1/agents/{agent}/workflows/{namespace}/{name}", tag = "agents",
    params(("agent" = String, Path, description = "Id or name"), ("namespace" = String, Path), ("name" = String, Path)),
    responses((status = 202), (status = 404, body = Problem)))]
pub(super) async fn undeploy(
    State(app): State<App>,
    Path((agent, namespace, name)): Path<(String, String, String)>,
) -> Result<StatusCode, Error> {
    let agent: AgentId = super::agents::find(&app, &agent)?;
    let mut row = known(&app, agent, &namespace, &name).await?.ok_or_else(|| {
        let shown: String = format!("{namespace}/{name}").chars().take(120).collect();
        Error::not_found("workflow.not-deployed", format!("`{shown}` is not deployed to this agent"))
    })?;
    // What the agent may still be fetching it need not have any more.
    deploying::confirmed(&app.access, agent, &namespace, &name, row.revision);
    row.revision = after(Some(&row));
    (row.ending, row.confirmed, row.refused) = (true, false, None);
    app.store.commit(vec![], vec![Change::PutDeployment(Box::new(row.clone()))]).await?;
    deploying::send(&app.fleet, &app.access, row);
    Ok(StatusCode::ACCEPTED)
}

async fn known(app: &App, agent: AgentId, namespace: &str, name: &str) -> Result<Option<DeploymentRow>, Error> {
    let rows = app.store.deployments(Some(agent)).await?;
    Ok(rows.into_iter().find(|row| row.namespace == namespace && row.name == name))
}

/// A revision above the last one, whatever the clock says: an agent takes no other.
fn after(known: Option<&DeploymentRow>) -> u64 {
    clock::now().0.max(known.map_or(0, |row| row.revision + 1))
}

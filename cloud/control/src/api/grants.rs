//! Which namespaces an agent may coordinate runs of.

use super::body::Body;
use super::{App, Error};
use crate::store::Change;
use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use eyot_model::api::{GrantRequest, Page, Problem};

/// Longest name of a namespace, in bytes.
const NAME: usize = 63;

/// Namespaces that were granted to an agent, beside its own.
#[utoipa::path(get, path = "/v1/agents/{agent}/grants", tag = "agents", params(("agent" = String, Path, description = "Id or name")),
    responses((status = 200, body = Page<String>), (status = 404, body = Problem)))]
pub(super) async fn list(State(app): State<App>, Path(agent): Path<String>) -> Result<Json<Page<String>>, Error> {
    let id = super::agents::find(&app, &agent)?;
    Ok(Json(Page {
        items: app.grants.of(id),
        next: None,
    }))
}

/// Lets an agent coordinate runs of a namespace, or not any more. Runs that were refused are taken with its next link.
#[utoipa::path(post, path = "/v1/agents/{agent}/grants", tag = "agents", request_body = GrantRequest, params(("agent" = String, Path, description = "Id or name")),
    responses((status = 204), (status = 404, body = Problem), (status = 422, body = Problem)))]
pub(super) async fn set(State(app): State<App>, Path(agent): Path<String>, Body(request): Body<GrantRequest>) -> Result<StatusCode, Error> {
    let agent = super::agents::find(&app, &agent)?;
    let namespace = request.namespace;
    if namespace.is_empty() || namespace.len() > NAME || namespace.contains('/') {
        return Err(Error::invalid(
            "agent.bad-namespace",
            format!("a namespace has 1 to {NAME} bytes and no `/`"),
            Vec::new(),
        ));
    }
    let change = Change::SetGrant {
        agent,
        namespace: namespace.clone(),
        on: request.on,
    };
    app.store.commit(vec![], vec![change]).await?;
    app.grants.set(agent, &namespace, request.on);
    tracing::info!(%agent, namespace, on = request.on, "grant");
    Ok(StatusCode::NO_CONTENT)
}

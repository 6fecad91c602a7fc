//! Agents: look, invite, cordon, drain, revoke, remove.

use super::body::{Body, Params};
use super::{App, Error};
use crate::clock;
use crate::conductor::Input;
use crate::grants::may_be_named;
use crate::store::{Change, Invite};
use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use eyot_link::{JoinToken, Secret};
use eyot_model::api::{AgentView, DrainView, Invitation, InviteRequest, MovingView, Page, Problem};
use eyot_model::{AgentId, LinkState, Millis};
use serde::Deserialize;
use utoipa::IntoParams;

/// Longest time that an invitation is open.
const LONGEST: Millis = Millis(3_600_000);

/// All agents that have joined.
#[utoipa::path(get, path = "/v1/agents", tag = "agents", responses((status = 200, body = Page<AgentView>)))]
pub(super) async fn list(State(app): State<App>) -> Json<Page<AgentView>> {
    let items = app.fleet.views(|agent| app.board.owned(agent));
    Json(Page { items, next: None })
}

/// One agent by its id or name.
#[utoipa::path(get, path = "/v1/agents/{agent}", tag = "agents", params(("agent" = String, Path, description = "Id or name")),
    responses((status = 200, body = AgentView), (status = 404, body = Problem)))]
pub(super) async fn show(State(app): State<App>, Path(agent): Path<String>) -> Result<Json<AgentView>, Error> {
    let id = find(&app, &agent)?;
    let views = app.fleet.views(|agent| app.board.owned(agent));
    views
        .into_iter()
        .find(|view| view.id == id)
        .map(Json)
        .ok_or_else(|| not_found(&agent))
}

/// A one-time token with which a device joins.
#[utoipa::path(post, path = "/v1/agents/invite", tag = "agents", request_body = InviteRequest,
    responses((status = 200, body = Invitation), (status = 409, body = Problem), (status = 422, body = Problem)))]
pub(super) async fn invite(State(app): State<App>, Body(request): Body<InviteRequest>) -> Result<Json<Invitation>, Error> {
    if let Some(name) = &request.name {
        if !is_agent_name(name) {
            return Err(Error::invalid(
                "agent.bad-name",
                "a name has 1 to 63 letters, digits, `-`, `_` or `.`",
                Vec::new(),
            ));
        }
        if app.fleet.find(name).is_some() {
            return Err(Error::conflict("agent.name-taken", format!("there is an agent `{name}`")));
        }
        if !may_be_named(&app.store, name, None).await? {
            return Err(Error::conflict(
                "agent.name-is-namespace",
                format!(
                    "`{name}` is a namespace in use, and an agent of that name could write to it; choose another name, and grant what it needs"
                ),
            ));
        }
    }
    let valid_for = request.valid_for.unwrap_or(LONGEST);
    if valid_for.0 == 0 || valid_for > LONGEST {
        return Err(Error::invalid(
            "agent.bad-invitation",
            "an invitation is valid for more than nothing and at most an hour",
            Vec::new(),
        ));
    }
    let secret = Secret::random().map_err(|error| Error::internal(&error))?;
    let now = clock::now();
    let record = Invite {
        hash: secret.digest().0,
        name: request.name,
        made_at: now,
        expires_at: now.after(valid_for),
        used_by: None,
    };
    let token = JoinToken {
        addresses: app.settings.agent_addresses.clone(),
        ca: app.settings.ca,
        secret,
    };
    let text = token.to_text().map_err(|error| Error::internal(&error))?;
    let expires_at = record.expires_at;
    app.store.commit(vec![], vec![Change::PutInvite(Box::new(record))]).await?;
    Ok(Json(Invitation {
        token: text.to_string(),
        command: "eyot-agent join --token-file -".to_owned(),
        expires_at,
    }))
}

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
pub(super) struct Cordon {
    /// False: takes work again, and keeps what was about to move.
    on: Option<bool>,
}

/// A cordoned agent ends what it has and gets no new work.
#[utoipa::path(post, path = "/v1/agents/{agent}/cordon", tag = "agents", params(("agent" = String, Path, description = "Id or name"), Cordon),
    responses((status = 204), (status = 404, body = Problem)))]
pub(super) async fn cordon(State(app): State<App>, Path(agent): Path<String>, Params(cordon): Params<Cordon>) -> Result<StatusCode, Error> {
    let (id, on) = (find(&app, &agent)?, cordon.on.unwrap_or(true));
    to_its_end(async move {
        set_cordon(&app, id, on).await?;
        if !on {
            app.conductor.ask(|answer| Input::Move { agent: id, on, answer }).await?;
        }
        Ok(StatusCode::NO_CONTENT)
    })
    .await
}

/// Cordons an agent and moves everything that it has elsewhere. To be asked again, as often as one wants to know how far that
/// is: it tries again what did not move.
#[utoipa::path(post, path = "/v1/agents/{agent}/drain", tag = "agents", params(("agent" = String, Path, description = "Id or name")),
    responses((status = 200, body = DrainView), (status = 404, body = Problem)))]
pub(super) async fn drain(State(app): State<App>, Path(agent): Path<String>) -> Result<Json<DrainView>, Error> {
    let id = find(&app, &agent)?;
    to_its_end(async move {
        if !app.fleet.get(id).is_some_and(|(record, _)| record.draining) {
            set_cordon(&app, id, true).await?;
        }
        let moves = app
            .conductor
            .ask(|answer| Input::Move {
                agent: id,
                on: true,
                answer,
            })
            .await?;
        let view = |moving: eyot_coordinator::Moving| MovingView {
            run: moving.run,
            fragment: moving.fragment,
            to: moving.to.map(|agent| app.fleet.name(agent)),
            stays: moving.stays,
        };
        Ok(Json(DrainView {
            agent: app.fleet.name(id),
            fragments: moves.into_iter().map(view).collect(),
        }))
    })
    .await
}

async fn set_cordon(app: &App, id: AgentId, on: bool) -> Result<(), Error> {
    app.store.commit(vec![], vec![Change::SetDraining { agent: id, on }]).await?;
    app.fleet.set_draining(id, on);
    app.fleet.send(id, eyot_wire::ToAgent::Drain(on));
    app.conductor.give(Input::FleetChanged).await?;
    tracing::info!(agent = %id, on, "cordon");
    Ok(())
}

/// Its certificate is worth nothing from now on, and its link is closed.
#[utoipa::path(post, path = "/v1/agents/{agent}/revoke", tag = "agents", params(("agent" = String, Path, description = "Id or name")),
    responses((status = 204), (status = 404, body = Problem)))]
pub(super) async fn revoke(State(app): State<App>, Path(agent): Path<String>) -> Result<StatusCode, Error> {
    let id = find(&app, &agent)?;
    to_its_end(async move {
        app.store.commit(vec![], vec![Change::Revoke(id)]).await?;
        app.fleet.revoke(id);
        app.conductor
            .give(Input::Link {
                agent: id,
                state: LinkState::Disconnected,
            })
            .await?;
        let why = "its certificate was revoked";
        app.conductor.give(Input::Expel { agent: id, why }).await?;
        tracing::warn!(agent = %id, "revoked");
        Ok(StatusCode::NO_CONTENT)
    })
    .await
}

/// Lets an agent begin anew whose disk was taken for a copy of another device's. What it holds of unfinished runs counts for
/// nothing; another device with the same disk is refused from then on.
#[utoipa::path(post, path = "/v1/agents/{agent}/readmit", tag = "agents", params(("agent" = String, Path, description = "Id or name")),
    responses((status = 204), (status = 404, body = Problem), (status = 409, body = Problem)))]
pub(super) async fn readmit(State(app): State<App>, Path(agent): Path<String>) -> Result<StatusCode, Error> {
    let id = find(&app, &agent)?;
    if app.fleet.link(id) != LinkState::Disconnected {
        return Err(Error::conflict(
            "agent.connected",
            format!("agent `{agent}` is at work; if that is the copy, stop it first"),
        ));
    }
    to_its_end(async move {
        // First what it holds counts for nothing, then it may come.
        app.conductor.ask(|answer| Input::StartOver { agent: id, answer }).await?;
        let change = Change::SetIncarnation {
            agent: id,
            incarnation: None,
        };
        app.store.commit(vec![], vec![change]).await?;
        app.fleet.readmit(id);
        tracing::warn!(agent = %id, "readmitted");
        Ok(StatusCode::NO_CONTENT)
    })
    .await
}

/// Forgets an agent that is gone: it is disconnected. Its certificate is worth nothing from then on, and what it owned of
/// unfinished runs is given to others.
#[utoipa::path(delete, path = "/v1/agents/{agent}", tag = "agents", params(("agent" = String, Path, description = "Id or name")),
    responses((status = 204), (status = 404, body = Problem), (status = 409, body = Problem)))]
pub(super) async fn remove(State(app): State<App>, Path(agent): Path<String>) -> Result<StatusCode, Error> {
    let id = find(&app, &agent)?;
    let Some((_, link)) = app.fleet.get(id) else {
        return Err(not_found(&agent));
    };
    if link != LinkState::Disconnected {
        return Err(Error::conflict(
            "agent.connected",
            format!("agent `{agent}` is {}; stop or revoke it first", link.as_str()),
        ));
    }
    to_its_end(async move {
        app.store.commit(vec![], vec![Change::DeleteAgent(id)]).await?;
        app.fleet.remove(id);
        app.conductor.give(Input::Forget(id)).await?;
        tracing::info!(agent = %id, "removed");
        Ok(StatusCode::NO_CONTENT)
    })
    .await
}

/// Does all of it although whoever asked may hang up in the middle: what is stored and what is known here stay the same.
async fn to_its_end<T: Send + 'static>(work: impl Future<Output = Result<T, Error>> + Send + 'static) -> Result<T, Error> {
    tokio::spawn(work).await.map_err(|error| Error::internal(&error))?
}

pub(super) fn find(app: &App, id_or_name: &str) -> Result<AgentId, Error> {
    app.fleet.find(id_or_name).ok_or_else(|| not_found(id_or_name))
}

fn not_found(id_or_name: &str) -> Error {
    let shown: String = id_or_name.chars().take(80).collect();
    Error::not_found("agent.not-found", format!("there is no agent `{shown}`"))
}

/// Whether an agent can be called so.
pub(crate) fn is_agent_name(name: &str) -> bool {
    (1..=63).contains(&name.len())
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.'))
        && !name.starts_with(['-', '.'])
        // So that no name is taken for an id.
        && name.parse::<AgentId>().is_err()
}

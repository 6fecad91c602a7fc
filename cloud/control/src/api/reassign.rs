//! Taking fragments from their agents: how an operator ends a wait.

use super::body::Body;
use super::{App, Error, runs};
use crate::conductor::Input;
use axum::Json;
use axum::extract::{Path, State};
use eyot_coordinator::{Nothing, Which};
use eyot_model::FragmentId;
use eyot_model::api::{Problem, ReassignRequest, Reassigned};

/// Takes fragments from their agents now, whatever the workflow's `onDisconnect` says: another agent gets each, or, of a
/// run that is being cancelled, it ends. Without an agent or a fragment: those whose agent is out of contact.
///
/// What those agents still do commits nothing from then on. A task without `idempotent: true` may run twice.
#[utoipa::path(post, path = "/v1/runs/{run}/reassign", tag = "runs", params(("run" = String, Path)), request_body = ReassignRequest,
    responses((status = 200, body = Reassigned), (status = 404, body = Problem), (status = 409, body = Problem)))]
pub(super) async fn reassign(
    State(app): State<App>,
    Path(run): Path<String>,
    Body(request): Body<ReassignRequest>,
) -> Result<Json<Reassigned>, Error> {
    let run = runs::parse(&run)?;
    runs::load(&app, run).await?;
    let which = match (&request.agent, request.fragment) {
        (Some(_), Some(_)) => {
            return Err(Error::bad_request("run.bad-reassignment", "give an agent or a fragment, not both"));
        }
        (Some(agent), None) => Which::Agent(super::agents::find(&app, agent)?),
        (None, Some(fragment)) => Which::Fragment(FragmentId(fragment)),
        (None, None) => Which::Away,
    };
    let taken = app.conductor.ask(|answer| Input::Reassign { run, which, answer }).await?;
    match taken {
        Ok(fragments) => {
            tracing::info!(%run, ?fragments, "reassigned by an operator");
            Ok(Json(Reassigned { fragments }))
        }
        Err(nothing @ Nothing::NoRun) => Err(Error::conflict("run.ended", nothing.to_string())),
        Err(nothing) => Err(Error::conflict("run.nothing-to-reassign", nothing.to_string())),
    }
}

//! The local API: what the control plane's API does, for the runs that this agent coordinates itself, over a Unix socket
//! that only the agent's own user may open. Paths and JSON are the control plane's, so the same client works.
//!
//! What is answered is durable: a run is started when its record is synced, and shown as far as its events are.

mod blobs;
mod events;
mod problem;
mod registry;
mod resolve;
mod runs;
mod status;

pub use status::{RunStatus, Status, TriggerStatus, ask, socket_path};

use crate::runtime::Runtime;
use axum::Router;
use axum::extract::rejection::{JsonRejection, QueryRejection};
use axum::extract::{DefaultBodyLimit, FromRequest, FromRequestParts, Json, Query, Request};
use axum::http::StatusCode;
use axum::http::request::Parts;
use axum::response::IntoResponse;
use axum::routing::{get, post};
use problem::Error;
use serde::de::DeserializeOwned;
use std::io;
use std::path::Path;
use std::sync::Arc;
use tokio::net::UnixListener;

/// Largest JSON body, in bytes. Larger inputs are uploaded as blobs.
const BODY_LIMIT: usize = 8 << 20;

/// What the handlers work with. Cheap to clone.
#[derive(Clone)]
pub(crate) struct App(Arc<Device>);

/// The agent, as its local API shows it.
pub struct Device {
    pub runtime: Arc<Runtime>,
    pub id: eyot_model::AgentId,
    pub name: String,
    /// It has no control plane.
    pub alone: bool,
}

impl std::ops::Deref for App {
    type Target = Device;

    fn deref(&self) -> &Device {
        &self.0
    }
}

impl Device {
    /// On an agent `default` is its own namespace, which has its name: the control plane takes runs in it without more.
    pub(crate) fn namespace(&self, named: &str) -> String {
        let own = named.is_empty() || named == "default";
        if own { self.name.clone() } else { named.to_owned() }
    }
}

/// Answers on the socket of a data folder until the task is dropped.
///
/// # Errors
/// When the socket cannot be made.
pub fn serve(data: &Path, device: Device) -> io::Result<tokio::task::JoinHandle<()>> {
    let path = socket_path(data);
    match std::fs::remove_file(&path) {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(error),
    }
    // Closed to others from its first instant on.
    let before = rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o177));
    let listener = UnixListener::bind(&path);
    rustix::process::umask(before);
    let (listener, router) = (listener?, router(App(Arc::new(device))));
    Ok(tokio::spawn(async move {
        if let Err(error) = axum::serve(listener, router).await {
            tracing::error!(%error, "the local API answers no more");
        }
    }))
}

fn router(app: App) -> Router {
    Router::new()
        .route("/healthz", get(status::healthz))
        .route("/v1/agent", get(status::show))
        .route("/v1/runs", get(runs::list).post(runs::start))
        .route("/v1/runs/{run}", get(runs::show).delete(runs::remove))
        .route("/v1/runs/{run}/logs", get(runs::logs))
        .route("/v1/runs/{run}/cancel", post(runs::cancel))
        .route("/v1/runs/{run}/resolve", post(resolve::resolve))
        .route("/v1/runs/{run}/events", get(events::follow))
        .route("/v1/workflows", get(registry::workflows).post(registry::store))
        .route("/v1/workflows/validate", post(registry::validate))
        .route("/v1/workflows/{namespace}/{name}", get(registry::show).delete(registry::remove))
        .route("/v1/components", get(registry::components).post(registry::register))
        .layer(DefaultBodyLimit::max(BODY_LIMIT))
        .merge(
            Router::new()
                .route("/v1/blobs", post(blobs::upload))
                .route("/v1/blobs/{digest}", get(blobs::download))
                .layer(DefaultBodyLimit::disable()),
        )
        .fallback(|| async {
            Error::not_found(
                "agent.cloud-only",
                "an agent by itself does not do this; ask its control plane (leave --agent out)",
            )
            .into_response()
        })
        .method_not_allowed_fallback(|| async {
            Error::new(
                StatusCode::METHOD_NOT_ALLOWED,
                "request.wrong-method",
                "this address does not take this method",
            )
            .into_response()
        })
        .with_state(app)
}

/// A JSON body of a request.
struct Body<T>(T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequest<S> for Body<T> {
    type Rejection = Error;

    async fn from_request(request: Request, state: &S) -> Result<Self, Error> {
        match Json::<T>::from_request(request, state).await {
            Ok(Json(body)) => Ok(Self(body)),
            Err(rejection) => {
                let rejection: JsonRejection = rejection;
                let code = if rejection.status() == StatusCode::PAYLOAD_TOO_LARGE {
                    "request.too-large"
                } else {
                    "request.malformed"
                };
                Err(Error::new(rejection.status(), code, rejection.body_text()))
            }
        }
    }
}

/// The query part of the address.
struct Params<T>(T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequestParts<S> for Params<T> {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Error> {
        let read: Result<Query<T>, QueryRejection> = Query::from_request_parts(parts, state).await;
        read.map(|Query(params)| Self(params))
            .map_err(|rejection| Error::bad_request("request.malformed", rejection.body_text()))
    }
}

/// Runs what blocks on the disk.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, Error> {
    tokio::task::spawn_blocking(work).await.map_err(|error| Error::internal(&error))
}

/// What was told to the node is durable; or the agent stops, or its disk takes nothing.
async fn durable(app: &App, position: eyot_model::Position) -> Result<(), Error> {
    app.runtime
        .durable(position)
        .await
        .map_err(|_| Error::unavailable("the agent is stopping, or its disk takes nothing"))
}

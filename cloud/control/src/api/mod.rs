//! The HTTP API: routes, what they ask for, and their description in OpenAPI.

mod admin;
pub(crate) mod agents;
mod blobs;
mod body;
mod components;
mod deployments;
mod events;
mod flood;
mod fragments;
mod gate;
mod grants;
mod health;
mod problem;
mod reassign;
mod runs;
mod views;
mod workflows;

pub(crate) use flood::Flood;
pub(crate) use gate::Peer;
pub(crate) use problem::Error;

use crate::access::Access;
use crate::board::Board;
use crate::conductor::{Handle, Planning, Stopping};
use crate::disk::Disk;
use crate::fleet::Fleet;
use crate::grants::Grants;
use crate::store::Store;
use crate::tokens::Tokens;
use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::http::StatusCode;
use axum::response::IntoResponse;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use utoipa::OpenApi;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

/// Largest JSON body, in bytes. Larger inputs are uploaded as blobs.
pub(crate) const BODY_LIMIT: usize = 8 << 20;
/// Most items on one page of a list.
pub(crate) const PAGE_LIMIT: u32 = 1_000;

/// What the handlers work with. Cheap to clone.
#[derive(Clone)]
pub(crate) struct App(Arc<Parts>);

pub(crate) struct Parts {
    pub(crate) store: Store,
    pub(crate) blobs: eyot_blob::Store,
    pub(crate) fleet: Fleet,
    pub(crate) grants: Grants,
    pub(crate) access: Access,
    pub(crate) board: Board,
    pub(crate) conductor: Handle,
    pub(crate) planning: Arc<Planning>,
    pub(crate) tokens: Tokens,
    pub(crate) flood: Flood,
    /// Requests that are served at the same time.
    pub(crate) room: Arc<Semaphore>,
    pub(crate) settings: Settings,
    pub(crate) disk: Disk,
    /// One back-up at a time, and no sweep during it.
    pub(crate) backup: Arc<tokio::sync::Mutex<()>>,
    pub(crate) stop: CancellationToken,
}

pub(crate) struct Settings {
    pub(crate) dev: bool,
    pub(crate) data: PathBuf,
    pub(crate) request_timeout: Duration,
    pub(crate) max_upload: u64,
    /// `host:port` under which agents reach this control plane.
    pub(crate) agent_addresses: Vec<String>,
    /// Digest of the CA's certificate, which join tokens pin.
    pub(crate) ca: eyot_model::Digest,
}

impl App {
    pub(crate) fn new(parts: Parts) -> Self {
        Self(Arc::new(parts))
    }
}

impl std::ops::Deref for App {
    type Target = Parts;

    fn deref(&self) -> &Parts {
        &self.0
    }
}

impl From<Stopping> for Error {
    fn from(_: Stopping) -> Self {
        Self::unavailable("the control plane is stopping")
    }
}

#[derive(OpenApi)]
#[openapi(info(
    title = "Eyot control plane",
    description = "Workflows, runs, agents, components and blobs. Errors are `Problem` objects with stable codes."
))]
struct Doc;

/// All routes, behind the gate.
pub(crate) fn router(app: App) -> Router {
    let (router, mut document) = OpenApiRouter::with_openapi(Doc::openapi())
        .routes(routes!(workflows::list, workflows::store))
        .routes(routes!(workflows::validate))
        .routes(routes!(workflows::show))
        .routes(routes!(workflows::plan))
        .routes(routes!(components::list, components::register))
        .routes(routes!(runs::list, runs::start))
        .routes(routes!(runs::show))
        .routes(routes!(runs::logs))
        .routes(routes!(runs::cancel))
        .routes(routes!(runs::resolve))
        .routes(routes!(reassign::reassign))
        .routes(routes!(events::follow))
        .routes(routes!(agents::list))
        .routes(routes!(agents::invite))
        .routes(routes!(agents::show, agents::remove))
        .routes(routes!(agents::cordon))
        .routes(routes!(agents::drain))
        .routes(routes!(agents::revoke))
        .routes(routes!(agents::readmit))
        .routes(routes!(grants::list, grants::set))
        .routes(routes!(deployments::list, deployments::deploy))
        .routes(routes!(deployments::undeploy))
        .routes(routes!(admin::backup))
        .routes(routes!(health::healthz))
        .routes(routes!(health::readyz))
        .routes(routes!(health::metrics))
        .layer(DefaultBodyLimit::max(BODY_LIMIT))
        // Uploads have a limit of their own, which they count while they stream.
        .merge(
            OpenApiRouter::new()
                .routes(routes!(blobs::upload))
                .routes(routes!(blobs::download))
                .layer(DefaultBodyLimit::disable()),
        )
        .split_for_parts();
    env!("CARGO_PKG_VERSION").clone_into(&mut document.info.version);
    let document = serde_json::to_string(&document).unwrap_or_else(|_| "{}".to_owned());
    router
        .route(
            "/openapi.json",
            axum::routing::get(move || {
                let document = document.clone();
                async move { ([(axum::http::header::CONTENT_TYPE, "application/json")], document) }
            }),
        )
        .fallback(|| async { Error::not_found("request.no-route", "there is nothing at this address").into_response() })
        .method_not_allowed_fallback(|| async {
            Error::new(
                StatusCode::METHOD_NOT_ALLOWED,
                "request.wrong-method",
                "this address does not take this method",
            )
            .into_response()
        })
        .layer(axum::middleware::from_fn_with_state(app.clone(), gate::pass))
        .with_state(app)
}

/// A limit that a client asks for, within bounds.
pub(crate) fn page(limit: Option<u32>) -> u32 {
    limit.unwrap_or(100).clamp(1, PAGE_LIMIT)
}

/// Runs what blocks on the disk.
pub(crate) async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, Error> {
    tokio::task::spawn_blocking(work).await.map_err(|error| Error::internal(&error))
}

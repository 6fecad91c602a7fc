//! Whether this control plane lives, whether it works, and its figures.

use super::{App, Error};
use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use std::sync::atomic::Ordering;

/// The process answers.
#[utoipa::path(get, path = "/healthz", tag = "health", responses((status = 200, body = String)), security(()))]
pub(super) async fn healthz() -> &'static str {
    concat!("eyot-cloud ", env!("CARGO_PKG_VERSION"), "\n")
}

/// It can take work: the store reads, and the last commit succeeded.
#[utoipa::path(get, path = "/readyz", tag = "health", responses((status = 200, body = String), (status = 503, body = eyot_model::api::Problem)), security(()))]
pub(super) async fn readyz(State(app): State<App>) -> Result<&'static str, Error> {
    if app.stop.is_cancelled() {
        return Err(Error::unavailable("the control plane is stopping"));
    }
    if !app.healthy.load(Ordering::Relaxed) {
        return Err(Error::unavailable("the store cannot commit"));
    }
    app.store.ping().await.map_err(|_| Error::unavailable("the store cannot be read"))?;
    Ok("ready\n")
}

/// Figures in Prometheus' format.
#[utoipa::path(get, path = "/metrics", tag = "health", responses((status = 200, body = String)))]
pub(super) async fn metrics(State(app): State<App>) -> Result<Response, Error> {
    for state in ["pending", "running", "cancelling", "succeeded", "failed", "cancelled"] {
        metrics::gauge!("eyot_runs", "state" => state).set(0.0);
    }
    for (state, n) in app.store.count_runs().await? {
        #[allow(clippy::cast_precision_loss, reason = "a count of rows")]
        metrics::gauge!("eyot_runs", "state" => state).set(n as f64);
    }
    for (link, n) in app.fleet.count() {
        metrics::gauge!("eyot_agents", "link" => link.as_str()).set(f64::from(n));
    }
    let recorder = crate::metrics::recorder();
    recorder.run_upkeep();
    Ok(([(header::CONTENT_TYPE, "text/plain; version=0.0.4")], recorder.render()).into_response())
}

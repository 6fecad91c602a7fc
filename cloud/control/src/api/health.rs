//! Whether this control plane lives, whether it works, and its figures.

use super::{App, Error};
use crate::disk;
use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse, Response};

/// The process answers, and says how its disk is.
#[utoipa::path(get, path = "/healthz", tag = "health", responses((status = 200, body = String)), security(()))]
pub(super) async fn healthz(State(app): State<App>) -> String {
    let disk = app.disk.state();
    let told = match disk {
        disk::State::Working => "",
        disk::State::Low => ": nothing new is taken",
        disk::State::Full | disk::State::Failing => ": nothing is stored or acknowledged",
    };
    let version = env!("CARGO_PKG_VERSION");
    format!("eyot-cloud {version}\ndisk {}{told}\n", disk.as_str())
}

/// It can take work: the store reads, the last commit succeeded, and there is room for more.
#[utoipa::path(get, path = "/readyz", tag = "health", responses((status = 200, body = String), (status = 503, body = eyot_model::api::Problem), (status = 507, body = eyot_model::api::Problem)), security(()))]
pub(super) async fn readyz(State(app): State<App>) -> Result<&'static str, Error> {
    if app.stop.is_cancelled() {
        return Err(Error::unavailable("the control plane is stopping"));
    }
    let disk = app.disk.state();
    if disk != disk::State::Working {
        return Err(disk.refusal());
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
    let disk = app.disk.state();
    for state in disk::State::ALL {
        metrics::gauge!("eyot_disk_state", "state" => state.as_str()).set(f64::from(u8::from(state == disk)));
    }
    if let Some(free) = app.disk.free() {
        #[allow(clippy::cast_precision_loss, reason = "a number of bytes")]
        metrics::gauge!("eyot_disk_free_bytes").set(free as f64);
    }
    let recorder = crate::metrics::recorder();
    recorder.run_upkeep();
    Ok(([(header::CONTENT_TYPE, "text/plain; version=0.0.4")], recorder.render()).into_response())
}

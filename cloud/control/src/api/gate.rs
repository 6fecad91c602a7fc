//! What every request passes: whom it is for, where it comes from, who asks, and whether there is room.

use super::{App, Error};
use crate::disk;
use axum::extract::{FromRequestParts, MatchedPath, Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

/// Where a connection comes from; the listener puts it into each request.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Peer(pub(crate) SocketAddr);

/// Whose token a request came with; nobody's where no token is asked for.
#[derive(Clone, Debug, Default)]
pub(super) struct Caller(Option<String>);

impl Caller {
    /// Who is written down as the author of an order. `named` is what the client says of itself.
    pub(super) fn author(self, named: Option<String>) -> String {
        match (named, self.0) {
            (Some(named), Some(token)) => format!("{named} (token `{token}`)"),
            (Some(named), None) => named,
            (None, Some(token)) => format!("token `{token}`"),
            (None, None) => "an API client".to_owned(),
        }
    }
}

impl<S: Send + Sync> FromRequestParts<S> for Caller {
    type Rejection = std::convert::Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Self::Rejection> {
        Ok(parts.extensions.get::<Self>().cloned().unwrap_or_default())
    }
}

/// Open to everybody who can reach the listener.
const PUBLIC: [&str; 3] = ["/healthz", "/readyz", "/openapi.json"];
/// Take as long as their bytes or their run take: the client's own patience bounds them, not the request timeout.
const LONG: [&str; 4] = ["/v1/blobs", "/v1/blobs/{digest}", "/v1/runs/{run}/events", "/v1/admin/backup"];
/// Change nothing, whatever their method. A back-up says itself what it has no room for.
const LOOKING: [&str; 3] = ["/v1/workflows/validate", "/v1/plan", "/v1/admin/backup"];
/// Bring what is new, and are refused before the disk is full. What goes on is looked after until it is.
const GROWING: [&str; 5] = [
    "/v1/runs",
    "/v1/workflows",
    "/v1/components",
    "/v1/blobs",
    "/v1/agents/{agent}/workflows",
];

pub(super) async fn pass(State(app): State<App>, request: Request, next: Next) -> Response {
    let began = Instant::now();
    let route = request
        .extensions()
        .get::<MatchedPath>()
        .map_or("unknown", MatchedPath::as_str)
        .to_owned();
    let method = request.method().clone();
    let (mut parts, body) = request.into_parts();
    let writes = !method.is_safe() && !LOOKING.contains(&route.as_str());
    let admitted = match admit(&app, &mut parts, &route).await {
        Ok(_) if writes && !takes(&app, &route) => Err(app.disk.state().refusal()),
        admitted => admitted,
    };
    let limit = match LONG.contains(&route.as_str()) {
        true => None,
        false => Some(app.settings.request_timeout),
    };
    let request = Request::from_parts(parts, body);
    let response = match admitted {
        Ok(_permit) => tokio::select! {
            biased;
            response = within(limit, next.run(request)) => response,
            // It may be stored once there is room, and it is not acknowledged.
            state = app.disk.stuck(), if writes => state.refusal().into_response(),
        },
        Err(refused) => refused.into_response(),
    };
    let status = response.status();
    tracing::debug!(%method, route, status = status.as_u16(), micros = began.elapsed().as_micros(), "request");
    let labels = [("route", route), ("status", status.as_u16().to_string())];
    metrics::counter!("eyot_http_requests_total", &labels).increment(1);
    metrics::histogram!("eyot_http_request_seconds").record(began.elapsed().as_secs_f64());
    response
}

/// Whether the disk is such that this is worth beginning.
fn takes(app: &App, route: &str) -> bool {
    match app.disk.state() {
        disk::State::Working => true,
        disk::State::Low => !GROWING.contains(&route),
        disk::State::Full | disk::State::Failing => false,
    }
}

async fn within(limit: Option<Duration>, answer: impl Future<Output = Response>) -> Response {
    let Some(limit) = limit else { return answer.await };
    match tokio::time::timeout(limit, answer).await {
        Ok(response) => response,
        Err(_) => Error::new(StatusCode::GATEWAY_TIMEOUT, "service.timeout", "the request took too long").into_response(),
    }
}

async fn admit(app: &App, request: &mut Parts, route: &str) -> Result<Option<tokio::sync::OwnedSemaphorePermit>, Error> {
    if app.settings.dev {
        check_host(request)?;
        check_origin(&request.headers)?;
    }
    if PUBLIC.contains(&route) {
        return Ok(None);
    }
    let peer = request.extensions.get::<Peer>().map(|peer| peer.0.ip());
    if app.settings.dev {
        app.flood.take(&peer)?;
    } else {
        // A flood of wrong tokens is a flood too: the address pays for it before anything is compared.
        app.flood.take(&peer)?;
        let Some(name) = app.tokens.name_of(bearer(&request.headers)).await? else {
            return Err(Error::new(
                StatusCode::UNAUTHORIZED,
                "auth.required",
                "this needs a valid API token (`Authorization: Bearer …`)",
            ));
        };
        request.extensions.insert(Caller(Some(name)));
    }
    match app.room.clone().try_acquire_owned() {
        Ok(permit) => Ok(Some(permit)),
        Err(_) => Err(Error::busy("too many requests at the same time")),
    }
}

fn bearer(headers: &HeaderMap) -> Option<&str> {
    let (scheme, token) = headers.get(header::AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}

/// Without a token, the names that a request may be for are all that keeps a web page in the user's browser from
/// reaching a loopback port by a name of its own.
fn check_host(request: &Parts) -> Result<(), Error> {
    let named = request
        .uri
        .authority()
        .map(|authority| authority.as_str())
        .or_else(|| request.headers.get(header::HOST).and_then(|host| host.to_str().ok()));
    if named.is_some_and(is_loopback_authority) {
        return Ok(());
    }
    Err(Error::new(
        StatusCode::FORBIDDEN,
        "request.host-refused",
        "without TLS and a token only requests to a loopback name are answered",
    ))
}

fn check_origin(headers: &HeaderMap) -> Result<(), Error> {
    let fine = headers.get_all(header::ORIGIN).iter().all(|origin| {
        origin
            .to_str()
            .ok()
            .and_then(|origin| origin.strip_prefix("http://").or_else(|| origin.strip_prefix("https://")))
            .is_some_and(is_loopback_authority)
    });
    let cross = headers.get("sec-fetch-site").is_some_and(|site| site == "cross-site");
    if fine && !cross {
        return Ok(());
    }
    Err(Error::new(
        StatusCode::FORBIDDEN,
        "request.origin-refused",
        "requests from other sites' pages are not answered",
    ))
}

/// Whether `authority` (`host` or `host:port`) is a loopback name: `localhost`, 127.0.0.0/8 or `[::1]`.
pub(crate) fn is_loopback_authority(authority: &str) -> bool {
    let (host, port) = match authority.rsplit_once(':') {
        Some((host, port)) if !port.ends_with(']') => (host, port),
        _ => (authority, ""),
    };
    if !port.bytes().all(|b| b.is_ascii_digit()) {
        return false;
    }
    if host.eq_ignore_ascii_case("localhost") || host == "[::1]" {
        return true;
    }
    host.parse::<std::net::Ipv4Addr>().is_ok_and(|ip| ip.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn orders_are_written_down_with_the_token_that_gave_them() {
        let by = |named: Option<&str>, token: Option<&str>| Caller(token.map(str::to_owned)).author(named.map(str::to_owned));
        assert_eq!(by(Some("ana"), Some("ops")), "ana (token `ops`)");
        assert_eq!(by(None, Some("ops")), "token `ops`");
        assert_eq!(by(Some("ana"), None), "ana");
        assert_eq!(by(None, None), "an API client");
    }

    #[test]
    fn only_loopback_names_are_loopback() {
        for good in [
            "localhost",
            "localhost:7340",
            "LOCALHOST",
            "127.0.0.1",
            "127.0.0.1:80",
            "127.9.9.9:1",
            "[::1]",
            "[::1]:7340",
        ] {
            assert!(is_loopback_authority(good), "{good}");
        }
        for bad in [
            "",
            "example.com",
            "example.com:7340",
            "localhost.example.com",
            "127.0.0.1.example.com",
            "user@localhost",
            "localhost:80@example.com",
            "[::2]",
            "10.0.0.1:7340",
            "localhost:80/x",
            "null",
        ] {
            assert!(!is_loopback_authority(bad), "{bad}");
        }
    }
}

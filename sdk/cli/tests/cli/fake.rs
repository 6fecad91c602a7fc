//! A control plane of canned answers that remembers what it was asked, and a way to run the program against it.

use axum::Router;
use axum::body::Bytes;
use axum::extract::{Path as UrlPath, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Json, Response};
use axum::routing::{get, post};
use eyot_model::Digest;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::{Command, Output};
use std::sync::{Arc, Mutex};

pub(crate) const RUN: &str = "r-019a00000000000000000000000000aa";

#[derive(Default)]
pub(crate) struct Seen {
    pub(crate) start: Option<Value>,
    pub(crate) component: Option<Value>,
    pub(crate) cancelled: bool,
    pub(crate) blobs: BTreeMap<String, Vec<u8>>,
}

/// How the run of the fake ends.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    Succeeded,
    Failed,
    Cancelled,
}

#[derive(Clone)]
struct Shared {
    seen: Arc<Mutex<Seen>>,
    end: End,
    token: Option<&'static str>,
}

/// A fake control plane, and a folder that stands for the user's home.
pub(crate) struct Fake {
    pub(crate) address: String,
    pub(crate) home: tempfile::TempDir,
    pub(crate) seen: Arc<Mutex<Seen>>,
    _runtime: tokio::runtime::Runtime,
}

impl Fake {
    pub(crate) fn start(end: End, token: Option<&'static str>) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap();
        let seen = Arc::new(Mutex::new(Seen::default()));
        let shared = Shared {
            seen: Arc::clone(&seen),
            end,
            token,
        };
        let listener = runtime.block_on(tokio::net::TcpListener::bind("127.0.0.1:0")).unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        runtime.spawn(async move { axum::serve(listener, router(shared)).await });
        Self {
            address,
            home: tempfile::tempdir().unwrap(),
            seen,
            _runtime: runtime,
        }
    }

    pub(crate) fn eyot(&self, args: &[&str]) -> Answer {
        run(self.command(args))
    }

    pub(crate) fn command(&self, args: &[&str]) -> Command {
        let mut command = bare(args);
        command
            .env("HOME", self.home.path())
            .env("EYOT_SERVER", &self.address)
            .current_dir(self.home.path());
        command
    }

    pub(crate) fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.home.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, text).unwrap();
        path
    }
}

/// The program with an environment of its own.
pub(crate) fn bare(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_eyot"));
    command.args(args).env_clear().env("TZ", "UTC");
    command.env("PATH", std::env::var_os("PATH").unwrap_or_default());
    command.stdin(std::process::Stdio::null());
    command
}

pub(crate) struct Answer {
    pub(crate) code: i32,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Answer {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.out).unwrap_or_else(|e| panic!("{e}: {} {}", self.out, self.err))
    }
}

pub(crate) fn run(mut command: Command) -> Answer {
    let Output { status, stdout, stderr } = command.output().unwrap();
    Answer {
        code: status.code().unwrap_or(-1),
        out: String::from_utf8(stdout).unwrap(),
        err: String::from_utf8(stderr).unwrap(),
    }
}

fn router(shared: Shared) -> Router {
    Router::new()
        .route("/healthz", get(|| async { "ok" }))
        .route("/v1/agents", get(|| async { Json(json!({"items": [agent()]})) }))
        .route("/v1/agents/{name}", get(show_agent))
        .route("/v1/agents/invite", post(|| async { Json(json!({"token": "eyot1.secret", "command": "eyot-agent join --token-file -", "expiresAt": 4_000_000_000_000_000_u64})) }))
        .route("/v1/blobs", post(store_blob))
        .route("/v1/blobs/{digest}", get(|| async { problem(StatusCode::NOT_FOUND, "blob.not-found", "not here") }))
        .route("/v1/components", post(register))
        .route("/v1/plan", post(|| async { Json(plan()) }))
        .route("/v1/runs", get(|State(s): State<Shared>| async move { Json(json!({"items": [view(s.end)]})) }).post(start))
        .route("/v1/runs/{id}", get(|State(s): State<Shared>| async move { Json(detail(s.end)) }))
        .route("/v1/runs/{id}/events", get(|State(s): State<Shared>| async move { events(s.end) }))
        .route("/v1/runs/{id}/logs", get(|| async { Json(json!({"items": [{"at": 1_700_000_000_125_000_u64, "task": "read", "item": 1, "attempt": 2, "level": "warn", "message": "dim\u{1b}[31m light"}]})) }))
        .route("/v1/runs/{id}/cancel", post(|State(s): State<Shared>| async move { s.seen.lock().unwrap().cancelled = true; StatusCode::ACCEPTED }))
        .layer(axum::middleware::from_fn_with_state(shared.clone(), guard))
        .with_state(shared)
}

async fn guard(
    State(shared): State<Shared>,
    headers: HeaderMap,
    request: axum::extract::Request,
    next: axum::middleware::Next,
) -> Response {
    let given = headers
        .get("authorization")
        .and_then(|h| h.to_str().ok())
        .and_then(|h| h.strip_prefix("Bearer "));
    match shared.token {
        Some(token) if given != Some(token) => problem(StatusCode::UNAUTHORIZED, "auth.token", "the token is not known"),
        _ => next.run(request).await,
    }
}

pub(crate) fn problem(status: StatusCode, code: &str, message: &str) -> Response {
    (status, Json(json!({"code": code, "message": message}))).into_response()
}

async fn store_blob(State(shared): State<Shared>, body: Bytes) -> Json<Value> {
    let digest = Digest::of(&body).to_string();
    shared.seen.lock().unwrap().blobs.insert(digest.clone(), body.to_vec());
    Json(json!({"blob": {"digest": digest, "size": body.len(), "form": "raw"}}))
}

async fn register(State(shared): State<Shared>, Json(body): Json<Value>) -> Json<Value> {
    let view = json!({"name": body["name"], "version": body["version"], "digest": body["digest"], "size": 4, "pushedAt": 1});
    shared.seen.lock().unwrap().component = Some(body);
    Json(view)
}

async fn start(State(shared): State<Shared>, Json(body): Json<Value>) -> Json<Value> {
    shared.seen.lock().unwrap().start = Some(body);
    Json(view(shared.end))
}

async fn show_agent(UrlPath(name): UrlPath<String>) -> Response {
    if name == "camera" {
        Json(agent()).into_response()
    } else {
        problem(StatusCode::NOT_FOUND, "agent.not-found", &format!("there is no agent `{name}`"))
    }
}

fn agent() -> Value {
    json!({
        "id": "a-00000000000000000000000000000001", "name": "camera", "labels": {"role": "camera"}, "capabilities": ["inference"],
        "platform": "linux/x86_64", "version": "0.1.0", "capacity": {"cpuMillis": 2000, "memoryBytes": 1_073_741_824_u64, "diskBytes": 0, "gpus": 0},
        "load": {"running": 3, "queued": 0, "cpuMillisUsed": 500, "memoryBytesUsed": 0, "diskBytesFree": 0, "disk": "normal"}, "link": "connected",
        "draining": false, "revoked": false, "lastSeen": 1, "joinedAt": 1, "certificateExpiresAt": 2, "fragments": 1
    })
}

fn word(end: End) -> &'static str {
    match end {
        End::Succeeded => "succeeded",
        End::Failed => "failed",
        End::Cancelled => "cancelled",
    }
}

fn view(end: End) -> Value {
    json!({"id": RUN, "namespace": "default", "workflow": "w", "version": "1", "state": word(end), "createdAt": 1_700_000_000_000_000_u64,
        "endedAt": 1_700_000_002_500_000_u64, "counts": {"succeeded": 2, "failed": 1}})
}

fn detail(end: End) -> Value {
    let mut detail = view(end);
    let more = json!({
        "inputs": {"n": 5},
        "outputs": {"report": "two lines\nof text", "count": 3},
        "tasks": [
            {"task": "find", "state": "succeeded", "attempts": 1, "agent": "camera", "usage": {"wallMicros": 1_250_000, "peakMemoryBytes": 2_097_152, "queued": 0}},
            {"task": "read", "state": "succeeded", "attempts": 0},
            {"task": "read", "item": 0, "state": "succeeded", "attempts": 1, "agent": "compute"},
            {"task": "read", "item": 1, "state": "failed", "attempts": 3, "agent": "compute",
             "failure": {"kind": "invalid-input", "message": "not an image", "details": null}},
        ],
        "fragments": [{"id": 0, "agent": "a-00000000000000000000000000000001", "agentName": "camera", "epoch": 1, "link": "connected", "tasks": ["find"]}],
    });
    detail.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    detail
}

fn events(end: End) -> String {
    let all = [
        json!({"seq": 1, "at": 1_700_000_000_000_000_u64, "kind": "started", "task": "find", "attempt": 1, "state": "running", "agent": "camera"}),
        json!({"seq": 2, "at": 1_700_000_001_250_000_u64, "kind": "ended", "task": "find", "attempt": 1, "state": "succeeded", "agent": "camera"}),
        json!({"seq": 3, "at": 1_700_000_001_300_000_u64, "kind": "expanded", "task": "read", "count": 2}),
        json!({"seq": 4, "at": 1_700_000_001_400_000_u64, "kind": "ended", "task": "read", "item": 1, "attempt": 3, "state": "failed",
            "failure": {"kind": "invalid-input", "message": "not an image", "details": null}}),
        json!({"seq": 5, "at": 1_700_000_002_500_000_u64, "kind": "run-ended", "runState": word(end)}),
    ];
    all.iter().map(|event| format!("data: {event}\n\n")).collect()
}

fn plan() -> Value {
    json!({
        "workflow": "w", "version": "1", "tasks": ["find", "read"], "agents": {"a-00000000000000000000000000000001": "camera"},
        "plan": {
            "fragments": [{"id": 0, "agent": "a-00000000000000000000000000000001", "tasks": [0], "start": 0, "finish": 400, "transfers": []}],
            "pruned": [{"task": 1, "reason": "`inputs.read` is false"}],
            "choices": [{"task": 0, "agent": "a-00000000000000000000000000000001", "start": 0, "finish": 400, "duration": 400, "reason": "ends first here",
                "alternatives": [], "refusals": []}],
            "makespan": 400
        },
        "unplaceable": []
    })
}

//! The client against a control plane made of canned answers.

use axum::Router;
use axum::body::Body;
use axum::extract::{Path as UrlPath, Query, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Json, Response};
use axum::routing::{get, post};
use eyot_client::{Client, Error, Options, RunFilter, Token, Unreachable, Update};
use eyot_model::api::{Page, RunRequest, WorkflowChoice};
use eyot_model::{BlobForm, Digest, RunId};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

type Fault = Box<dyn std::error::Error>;

/// Serves `app` on loopback until the test ends.
async fn serve(app: Router) -> Result<Client, Fault> {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
    let address = format!("http://{}", listener.local_addr()?);
    tokio::spawn(async move { axum::serve(listener, app).await });
    let mut options = Options::new(address);
    options.token = Some(Token::new("open-sesame"));
    Ok(Client::new(&options)?)
}

fn problem(status: StatusCode, code: &str) -> Response {
    let body = json!({"code": code, "message": "said no", "diagnostics": [
        {"line": 3, "column": 5, "severity": "error", "code": "unknown-field", "message": "unknown field `need`", "help": "did you mean `needs`?"}
    ]});
    (status, Json(body)).into_response()
}

fn run_json(id: RunId) -> Value {
    json!({"id": id.to_string(), "namespace": "default", "workflow": "w", "version": "1", "state": "running", "createdAt": 1, "counts": {"running": 1}})
}

#[tokio::test]
async fn nobody_listens() -> Result<(), Fault> {
    let listener = std::net::TcpListener::bind("127.0.0.1:0")?;
    let address = listener.local_addr()?;
    drop(listener);
    let client = Client::new(&Options::new(format!("http://{address}")))?;
    let error = client.health().await.expect_err("nothing listens there");
    assert_eq!(error.to_string(), format!("cannot reach http://{address} (connection refused)"));
    assert!(error.advice().is_some_and(|a| a.contains("is eyot-cloud running?")));
    assert!(error.is_retryable());
    Ok(())
}

#[tokio::test]
async fn a_refusal_keeps_its_code_and_diagnostics() -> Result<(), Fault> {
    let app = Router::new()
        .route(
            "/v1/agents",
            get(|headers: HeaderMap| async move {
                match headers.get("authorization").map(|h| h.as_bytes()) {
                    Some(b"Bearer open-sesame") => Json(json!({"items": []})).into_response(),
                    _ => problem(StatusCode::UNAUTHORIZED, "auth.token"),
                }
            }),
        )
        .route(
            "/v1/workflows",
            post(|| async { problem(StatusCode::UNPROCESSABLE_ENTITY, "workflow.invalid") }),
        )
        .route("/v1/components", get(|| async { (StatusCode::OK, "<html>") }))
        .route("/v1/runs", get(|| async { (StatusCode::BAD_GATEWAY, "<html>") }));
    let client = serve(app).await?;
    assert_eq!(client.agents().await?, vec![]);

    let source = eyot_model::api::WorkflowSource {
        text: "x".into(),
        files: BTreeMap::new(),
    };
    match client.push_workflow(&source).await {
        Err(Error::Refused { status: 422, problem }) => {
            assert_eq!(problem.code, "workflow.invalid");
            assert_eq!(problem.diagnostics[0].line, 3);
        }
        other => panic!("{other:?}"),
    }
    assert!(matches!(client.components().await, Err(Error::Malformed { .. })));
    assert!(matches!(
        client.runs(&RunFilter::default()).await,
        Err(Error::NotEyot { status: 502, .. })
    ));
    Ok(())
}

#[tokio::test]
async fn paths_and_queries_are_escaped() -> Result<(), Fault> {
    let app = Router::new()
        .route(
            "/v1/agents/{name}",
            get(|UrlPath(name): UrlPath<String>| async move {
                assert_eq!(name, "a/b ?c");
                problem(StatusCode::NOT_FOUND, "agent.not-found")
            }),
        )
        .route(
            "/v1/runs",
            get(|Query(query): Query<BTreeMap<String, String>>| async move {
                assert_eq!(query.get("after").map(String::as_str), Some("x&y"));
                let empty: Page<Value> = Page {
                    items: vec![],
                    next: Some("n".into()),
                };
                Json(empty)
            }),
        );
    let client = serve(app).await?;
    assert_eq!(client.agent("a/b ?c").await.expect_err("no such agent").code(), "agent.not-found");
    let filter = RunFilter {
        after: Some("x&y".into()),
        ..RunFilter::default()
    };
    assert_eq!(client.runs(&filter).await?.next.as_deref(), Some("n"));
    Ok(())
}

#[tokio::test]
async fn a_file_goes_up_and_comes_down_verified() -> Result<(), Fault> {
    async fn store(State(lie): State<Arc<AtomicU32>>, body: axum::body::Bytes) -> Json<Value> {
        let shown = if lie.load(Ordering::SeqCst) == 1 {
            Digest::of(b"other")
        } else {
            Digest::of(&body)
        };
        Json(json!({"blob": {"digest": shown.to_string(), "size": body.len(), "form": "raw"}}))
    }
    let lie = Arc::new(AtomicU32::new(0));
    let app = Router::new()
        .route("/v1/blobs", post(store))
        .route("/v1/blobs/{digest}", get(|| async { "true bytes" }))
        .layer(axum::extract::DefaultBodyLimit::disable())
        .with_state(Arc::clone(&lie));
    let client = serve(app).await?;
    let dir = tempfile::tempdir()?;
    let path = dir.path().join("big");
    let bytes = vec![7; 3 << 20];
    std::fs::write(&path, &bytes)?;

    let blob = client.upload_file(&path, None).await?;
    assert_eq!((blob.digest, blob.size, blob.form), (Digest::of(&bytes), 3 << 20, BlobForm::Raw));
    lie.store(1, Ordering::SeqCst);
    assert!(matches!(client.upload_file(&path, None).await, Err(Error::Corrupt { .. })));
    let missing = client.upload_file(&dir.path().join("none"), None).await;
    assert!(matches!(missing, Err(Error::File { action: "read", .. })));

    let out = dir.path().join("out");
    assert_eq!(client.download(&Digest::of(b"true bytes"), &out, None).await?, 10);
    assert_eq!(std::fs::read(&out)?, b"true bytes");
    let wrong = dir.path().join("wrong");
    assert!(matches!(
        client.download(&Digest::of(b"false"), &wrong, None).await,
        Err(Error::Corrupt { .. })
    ));
    assert!(!wrong.exists());
    Ok(())
}

fn event(seq: u64, kind: &str) -> String {
    format!("id: {seq}\ndata: {{\"seq\":{seq},\"at\":{seq},\"kind\":\"{kind}\"}}\n\n")
}

#[tokio::test]
async fn events_come_once_each_over_lost_connections() -> Result<(), Fault> {
    // The first answer is cut, the second is a restarting server, the third repeats an event and goes to the end.
    async fn events(State(calls): State<Arc<AtomicU32>>, headers: HeaderMap) -> Response {
        let after = headers
            .get("last-event-id")
            .and_then(|h| h.to_str().ok())
            .unwrap_or("none")
            .to_owned();
        match calls.fetch_add(1, Ordering::SeqCst) {
            0 => {
                assert_eq!(after, "none");
                let text = event(1, "started") + &event(2, "ended") + "data: {\"seq\":3";
                Body::from(text).into_response()
            }
            1 => problem(StatusCode::SERVICE_UNAVAILABLE, "starting"),
            _ => {
                assert_eq!(after, "2");
                Body::from(event(2, "ended") + ": beat\n\n" + &event(3, "run-ended")).into_response()
            }
        }
    }
    let app = Router::new().route("/v1/runs/{id}/events", get(events)).with_state(Arc::default());
    let client = serve(app).await?;
    let mut stream = client.events(RunId(5), 0);
    let (mut seen, mut cuts) = (vec![], 0);
    while let Some(update) = stream.next().await {
        match update? {
            Update::Event(event) => seen.push((event.seq, event.kind)),
            Update::Reconnecting { .. } => cuts += 1,
            Update::Reconnected => {}
        }
    }
    let want = [(1, "started"), (2, "ended"), (3, "run-ended")].map(|(n, kind)| (n, kind.to_owned()));
    assert_eq!(seen, want);
    assert_eq!(cuts, 2);
    Ok(())
}

#[tokio::test]
async fn a_run_that_is_not_there_ends_the_events_at_once() -> Result<(), Fault> {
    let app = Router::new().route(
        "/v1/runs/{id}/events",
        get(|| async { problem(StatusCode::NOT_FOUND, "run.not-found") }),
    );
    let mut stream = serve(app).await?.events(RunId(1), 0);
    assert!(matches!(stream.next().await, Some(Err(error)) if error.code() == "run.not-found"));
    assert!(stream.next().await.is_none());
    Ok(())
}

#[tokio::test]
async fn a_start_with_a_key_is_repeated_when_the_answer_is_lost() -> Result<(), Fault> {
    async fn start(State(calls): State<Arc<AtomicU32>>, Json(body): Json<RunRequest>) -> Response {
        assert_eq!(body.idempotency_key.as_deref(), Some("key"));
        if calls.fetch_add(1, Ordering::SeqCst) == 0 {
            return problem(StatusCode::SERVICE_UNAVAILABLE, "starting");
        }
        Json(run_json(RunId(9))).into_response()
    }
    let calls = Arc::new(AtomicU32::new(0));
    let app = Router::new().route("/v1/runs", post(start)).with_state(Arc::clone(&calls));
    let client = serve(app).await?;
    let mut request = RunRequest {
        workflow: WorkflowChoice::Ref("w".into()),
        inputs: BTreeMap::new(),
        idempotency_key: Some("key".into()),
    };
    assert_eq!(client.start(&request).await?.id, RunId(9));
    assert_eq!(calls.load(Ordering::SeqCst), 2);
    // Without a key a repeat could start it twice.
    calls.store(0, Ordering::SeqCst);
    request.idempotency_key = None;
    assert!(client.start(&request).await.is_err());
    Ok(())
}

/// A TLS server whose CA the caller gets to know.
async fn serve_tls(name: &str) -> Result<(String, String), Fault> {
    let mut ca_params = rcgen::CertificateParams::new(Vec::new())?;
    ca_params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let ca_key = rcgen::KeyPair::generate()?;
    let ca = ca_params.self_signed(&ca_key)?;
    let key = rcgen::KeyPair::generate()?;
    let leaf = rcgen::CertificateParams::new(vec![name.to_owned()])?.signed_by(&key, &rcgen::Issuer::new(ca_params, ca_key))?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(
            vec![leaf.der().clone()],
            rustls::pki_types::PrivatePkcs8KeyDer::from(key.serialize_der()).into(),
        )?;
    let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(config));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
    let address = format!("https://{}", listener.local_addr()?);
    tokio::spawn(async move {
        while let Ok((tcp, _)) = listener.accept().await {
            let acceptor = acceptor.clone();
            tokio::spawn(async move {
                use tokio::io::{AsyncReadExt, AsyncWriteExt};
                let mut tls = acceptor.accept(tcp).await?;
                let mut request = [0; 2048];
                tls.read(&mut request).await?;
                tls.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\nok")
                    .await?;
                tls.shutdown().await
            });
        }
    });
    Ok((address, ca.pem()))
}

#[tokio::test]
async fn only_the_ca_that_was_given_is_trusted() -> Result<(), Fault> {
    let (address, ca) = serve_tls("127.0.0.1").await?;
    let (_, other_ca) = serve_tls("127.0.0.1").await?;
    let (misnamed, its_ca) = serve_tls("elsewhere.example").await?;
    for (address, ca, want) in [
        (&address, Some(&ca), None),
        (&address, Some(&other_ca), Some(Unreachable::UnknownCa)),
        (&address, None, Some(Unreachable::UnknownCa)),
        (&misnamed, Some(&its_ca), Some(Unreachable::WrongName)),
    ] {
        let mut options = Options::new(address.as_str());
        options.ca_pem = ca.cloned();
        let found = match Client::new(&options)?.health().await {
            Ok(health) => {
                assert_eq!(health.text, "ok");
                None
            }
            Err(Error::Unreachable { why, .. }) => Some(why),
            Err(other) => return Err(other.into()),
        };
        assert_eq!(found, want, "{address}");
    }
    let mut options = Options::new("https://127.0.0.1:1");
    options.ca_pem = Some("no certificate".into());
    assert!(matches!(Client::new(&options), Err(Error::BadCa { .. })));
    Ok(())
}

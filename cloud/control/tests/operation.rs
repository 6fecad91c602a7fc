//! Who may do what, and what an operator does: tokens, hosts, enrolment, back-up, retention.
#![allow(clippy::unwrap_used, reason = "tests")]

mod common;

use common::{Agent, Plane, WORKFLOW, args, next};
use eyot_control::store::{Change, Store};
use eyot_control::{Server, backup};
use eyot_link::{Clock, Live};
use eyot_model::{Millis, Timestamp};
use reqwest::Method;
use serde_json::json;

#[tokio::test(flavor = "multi_thread")]
async fn with_tls_nobody_gets_in_without_a_token() {
    let dir = tempfile::tempdir().unwrap();
    let mut settings = args(&dir);
    settings.dev = false;
    let mut plane = Plane::start(settings.clone()).await;
    assert!(plane.server.url().starts_with("https://"));
    assert_eq!(plane.get("/v1/runs").await.0, 200);
    let clear = plane.server.url().replacen("https://", "http://", 1);
    let answer = plane.http.get(format!("{clear}/v1/runs")).send().await.unwrap();
    assert_eq!(answer.status(), 400);
    let problem: serde_json::Value = answer.json().await.unwrap();
    assert_eq!(problem["code"], "request.clear-text", "{problem}");
    assert!(matches!(Server::start(settings.clone()).await, Err(eyot_control::Error::InUse(_))));
    let token_file = settings.data.join(eyot_control::TOKEN_FILE);
    let mode = std::os::unix::fs::PermissionsExt::mode(&std::fs::metadata(&token_file).unwrap().permissions());
    assert_eq!(mode & 0o777, 0o600);
    let good = plane.token.take();
    for path in ["/v1/runs", "/v1/agents", "/metrics", "/v1/nothing"] {
        let (status, problem) = plane.get(path).await;
        assert_eq!((status.as_u16(), problem["code"].as_str()), (401, Some("auth.required")), "{path}");
    }
    for path in ["/healthz", "/readyz", "/openapi.json"] {
        assert_eq!(plane.get(path).await.0, 200, "{path}");
    }
    plane.token = good.as_ref().map(|token| format!("{token}x"));
    assert_eq!(plane.get("/v1/runs").await.0, 401);
    plane.token = good;
    // Revoked from outside, as the command line does it.
    let store = Store::open(&settings.data.join("eyot.db")).await.unwrap();
    let id = store.tokens().await.unwrap()[0].id.clone();
    store
        .commit(vec![], vec![Change::RevokeToken { id, at: Timestamp(1) }])
        .await
        .unwrap();
    plane.until("/v1/runs", |status, _| status == 401).await;
    let (_, text) = eyot_control::tokens::create(&store, "second").await.unwrap();
    store.close().await;
    plane.token = Some(text);
    plane.until("/v1/runs", |status, _| status == 200).await;
    plane.server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_tls_only_loopback_names_and_pages_are_answered() {
    let dir = tempfile::tempdir().unwrap();
    let mut settings = args(&dir);
    settings.limits.requests_per_sec = 20;
    let plane = Plane::start(settings).await;
    let ask = |name: &'static str, value: &'static str| plane.request(Method::GET, "/healthz").header(name, value);
    for (name, value, code) in [
        ("host", "evil.example", "request.host-refused"),
        ("host", "127.0.0.1.evil.example", "request.host-refused"),
        ("origin", "https://evil.example", "request.origin-refused"),
        ("origin", "null", "request.origin-refused"),
        ("sec-fetch-site", "cross-site", "request.origin-refused"),
    ] {
        let (status, problem) = plane.send(ask(name, value)).await;
        assert_eq!((status.as_u16(), problem["code"].as_str()), (403, Some(code)), "{name}: {value}");
    }
    for (name, value) in [
        ("host", "localhost"),
        ("origin", "http://localhost:3000"),
        ("sec-fetch-site", "same-origin"),
    ] {
        assert_eq!(plane.send(ask(name, value)).await.0, 200, "{name}: {value}");
    }
    let mut busy = 0;
    for _ in 0..200 {
        let (status, problem) = plane.get("/v1/agents").await;
        busy += u32::from(status == 429 && problem["code"] == "service.busy");
    }
    assert!(busy > 0);
    plane.server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_admits_one_device_and_a_revoked_agent_stays_out() {
    let dir = tempfile::tempdir().unwrap();
    let plane = Plane::start(args(&dir)).await;
    let token = plane.invite(json!({"name": "camera"})).await;
    let agent = Agent::join(&token, "x").await.unwrap();
    assert!(matches!(Agent::join(&token, "y").await, Err(eyot_link::Error::EnrolmentDenied(why)) if why.contains("used")));
    let mut unknown = token.clone();
    unknown.secret = eyot_link::Secret::random().unwrap();
    assert!(matches!(Agent::join(&unknown, "y").await, Err(eyot_link::Error::EnrolmentDenied(why)) if why.contains("not known")));
    let (status, problem) = plane.post("/v1/agents/invite", &json!({"name": "camera"})).await;
    assert_eq!((status.as_u16(), problem["code"].as_str()), (409, Some("agent.name-taken")));

    // A link that does not begin with a hello is closed, and the others go on.
    let rude = agent.dial().await.unwrap();
    let mut events = rude.events;
    rude.link
        .send(&eyot_wire::ToCloud::Inventory(eyot_wire::Inventory::default()))
        .await
        .unwrap();
    assert!(next(&mut events).await.is_none());

    let live = agent.dial().await.unwrap();
    let mut events = live.events;
    live.link.send(&agent.hello()).await.unwrap();
    assert!(next(&mut events).await.is_some());
    live.link
        .send(&eyot_wire::ToCloud::Inventory(eyot_wire::Inventory::default()))
        .await
        .unwrap();
    plane.until("/v1/agents/camera", |_, view| view["link"] == "connected").await;
    let drain = plane.request(Method::POST, "/v1/agents/camera/drain");
    assert_eq!(plane.send(drain).await.0, 200);
    assert_eq!(plane.get("/v1/agents/camera").await.1["draining"], true);
    let revoke = plane.request(Method::POST, "/v1/agents/camera/revoke");
    assert_eq!(plane.send(revoke).await.0, 204);
    while next(&mut events).await.is_some() {}
    assert!(agent.dial().await.is_err());
    plane
        .until("/v1/agents/camera", |_, view| {
            view["link"] == "disconnected" && view["revoked"] == true
        })
        .await;
    let remove = plane.request(Method::DELETE, "/v1/agents/camera");
    assert_eq!(plane.send(remove).await.0, 204);
    assert_eq!(plane.get("/v1/agents/camera").await.0, 404);
    assert!(agent.dial().await.is_err());
    plane.server.stop().await;
}

/// The number of the control plane's store, as it is said to an agent.
async fn store_heard_by(agent: &Agent) -> u64 {
    let mut live = agent.dial().await.unwrap();
    live.link.send(&agent.hello()).await.unwrap();
    match next(&mut live.events).await {
        Some(eyot_wire::ToAgent::Welcome(welcome)) => welcome.store,
        other => panic!("no welcome: {other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_restores_and_a_damaged_one_does_not() {
    let dir = tempfile::tempdir().unwrap();
    let plane = Plane::start(args(&dir)).await;
    let digest = plane.register().await;
    let run = plane.run(json!({"workflow": {"source": {"text": WORKFLOW}}})).await;
    let mut agent = Agent::join(&plane.invite(json!({"name": "camera"})).await, "camera").await.unwrap();
    let mut stores = vec![store_heard_by(&agent).await];
    let file = dir.path().join("eyot.backup");
    let streamed = plane.request(Method::POST, "/v1/admin/backup").send().await.unwrap();
    assert_eq!(streamed.status(), 200);
    std::fs::write(&file, streamed.bytes().await.unwrap()).unwrap();
    // From outside, while it is served.
    let direct = dir.path().join("direct.backup");
    let summary = backup::save(&args(&dir).data, &direct).await.unwrap();
    assert_eq!(summary.blobs, 1);
    plane.server.stop().await;

    let mut settings = args(&dir);
    for (n, file) in [&file, &direct].into_iter().enumerate() {
        settings.data = dir.path().join(format!("restored-{n}"));
        assert_eq!(backup::restore(file, &settings.data).await.unwrap().blobs, 1);
        assert!(matches!(
            backup::restore(file, &settings.data).await,
            Err(backup::Error::NotEmpty(_))
        ));
        let plane = Plane::start(settings.clone()).await;
        assert_eq!(plane.get(&format!("/v1/runs/{run}")).await.1["state"], "pending");
        assert_eq!(plane.get(&format!("/v1/blobs/{digest}")).await.0, 200);
        agent.addresses = plane.invite(json!({})).await.addresses;
        let store = store_heard_by(&agent).await;
        assert!(!stores.contains(&store), "an agent would not tell again what the back-up lacks");
        stores.push(store);
        plane.server.stop().await;
    }
    let mut bytes = std::fs::read(&file).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(&file, &bytes).unwrap();
    let target = dir.path().join("never");
    assert!(matches!(backup::restore(&file, &target).await, Err(backup::Error::Damaged(_))));
    std::fs::write(&file, &bytes[..middle]).unwrap();
    assert!(backup::restore(&file, &target).await.is_err());
    std::fs::write(&file, b"something else altogether, which is longer than forty bytes").unwrap();
    assert!(matches!(backup::restore(&file, &target).await, Err(backup::Error::NoBackup(_))));
    assert!(!target.exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn after_a_restore_an_agent_is_given_again_what_was_deployed_to_it() {
    let dir = tempfile::tempdir().unwrap();
    let plane = Plane::start(args(&dir)).await;
    plane.register().await;
    let agent = Agent::join(&plane.invite(json!({"name": "camera"})).await, "camera").await.unwrap();
    let (status, stored) = plane.post("/v1/workflows", &json!({"text": WORKFLOW})).await;
    assert_eq!(status, 200, "{stored}");
    let (status, view) = plane.post("/v1/agents/camera/workflows", &json!({"workflow": "hello"})).await;
    assert_eq!(status, 202, "{view}");
    let (live, given) = deployed_to(&agent).await;
    let confirmed = eyot_wire::Deployed {
        namespace: given.workflow.namespace.clone(),
        name: given.workflow.name.clone(),
        revision: given.revision,
        refused: None,
    };
    live.link.send(&eyot_wire::ToCloud::Deployed(confirmed)).await.unwrap();
    let list = "/v1/agents/camera/workflows";
    plane.until(list, |_, body| body["items"][0]["state"] == "deployed").await;
    let file = dir.path().join("eyot.backup");
    backup::save(&args(&dir).data, &file).await.unwrap();
    plane.server.stop().await;

    let mut settings = args(&dir);
    settings.data = dir.path().join("restored");
    backup::restore(&file, &settings.data).await.unwrap();
    let plane = Plane::start(settings).await;
    assert_eq!(plane.get(list).await.1["items"][0]["state"], "on its way");
    let mut agent = agent;
    agent.addresses = plane.invite(json!({})).await.addresses;
    assert_eq!(deployed_to(&agent).await.1, given);
    plane.server.stop().await;
}

/// Comes up, and waits for a workflow to own.
async fn deployed_to(agent: &Agent) -> (Live<eyot_wire::ToCloud, eyot_wire::ToAgent>, eyot_wire::Deployment) {
    let mut live = agent.dial().await.unwrap();
    live.link.send(&agent.hello()).await.unwrap();
    assert!(matches!(next(&mut live.events).await, Some(eyot_wire::ToAgent::Welcome(_))));
    let inventory = eyot_wire::Inventory::default();
    live.link.send(&eyot_wire::ToCloud::Inventory(inventory)).await.unwrap();
    let wait = async {
        loop {
            match next(&mut live.events).await {
                Some(eyot_wire::ToAgent::Deploy(given)) => return *given,
                Some(_) => {}
                None => panic!("the link is gone"),
            }
        }
    };
    let given = tokio::time::timeout(std::time::Duration::from_secs(20), wait).await;
    (live, given.expect("a deployment"))
}

#[tokio::test(flavor = "multi_thread")]
async fn ended_runs_and_what_only_they_named_go_when_their_time_is_over() {
    let dir = tempfile::tempdir().unwrap();
    let mut settings = args(&dir);
    settings.retention.keep_failed = Millis(1);
    settings.retention.keep_uploads = Millis(1_000);
    settings.retention.sweep_every = Millis(50);
    let plane = Plane::start(settings).await;
    let component = plane.register().await;
    let run = plane.run(json!({"workflow": {"source": {"text": WORKFLOW}}})).await;
    let cancel = plane.request(Method::POST, &format!("/v1/runs/{run}/cancel"));
    assert_eq!(plane.send(cancel).await.0, 202);
    plane.until(&format!("/v1/runs/{run}"), |status, _| status == 404).await;
    let stray = plane.upload(b"named by nothing".to_vec()).await;
    // Asking for a blob is a use of it, so it is asked for seldom enough to grow old in between.
    let mut gone = false;
    for _ in 0..20 {
        tokio::time::sleep(std::time::Duration::from_millis(2_500)).await;
        gone = plane.get(&format!("/v1/blobs/{stray}")).await.0 == 404;
        if gone {
            break;
        }
    }
    assert!(gone);
    assert_eq!(plane.get(&format!("/v1/blobs/{component}")).await.0, 200);
    plane.server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_whose_clock_is_off_works_and_is_shown_so() {
    let dir = tempfile::tempdir().unwrap();
    let plane = Plane::start(args(&dir)).await;
    plane.register().await;
    let mut agent = Agent::join(&plane.invite(json!({"name": "late"})).await, "late").await.unwrap();
    agent.clock = Clock::new(|| Timestamp(Clock::system().now().0 - 600_000_000));
    let working = tokio::spawn(agent.work());
    let off = |skew: i64| (-700_000..=-590_000).contains(&skew);
    // Said by the greeting first, and then by each heart-beat.
    for _ in 0..2 {
        plane
            .until("/v1/agents/late", |_, view| view["clockSkewMillis"].as_i64().is_some_and(off))
            .await;
        tokio::time::sleep(std::time::Duration::from_millis(500)).await;
    }
    let run = plane.run(json!({"workflow": {"source": {"text": WORKFLOW}}})).await;
    let events = plane.follow(&run, None).await;
    assert!(!events.is_empty());
    working.abort();
    plane.server.stop().await;
}

/// By its name an agent may write to the namespace of that name.
#[tokio::test(flavor = "multi_thread")]
async fn a_device_that_wants_the_name_of_a_namespace_gets_another_one() {
    let dir = tempfile::tempdir().unwrap();
    let plane = Plane::start(args(&dir)).await;
    plane.register().await;
    let text = WORKFLOW.replace("name: hello", "name: hello, namespace: plant-a");
    assert_ne!(text, WORKFLOW);
    let (status, body) = plane
        .post(
            "/v1/runs",
            &json!({"workflow": {"source": {"text": text}}, "inputs": {"who": "me"}}),
        )
        .await;
    assert!(status.is_success(), "{body}");

    for (wanted, given) in [("plant-a", "plant-a-2"), ("default", "default-2"), ("plant-b", "plant-b")] {
        let agent = Agent::join(&plane.invite(json!({})).await, wanted).await.unwrap();
        let (status, view) = plane.get(&format!("/v1/agents/{}", agent.identity.agent())).await;
        assert_eq!((status.as_u16(), view["name"].as_str()), (200, Some(given)));
    }
    for name in ["plant-a", "default"] {
        let (status, problem) = plane.post("/v1/agents/invite", &json!({"name": name})).await;
        assert_eq!((status.as_u16(), problem["code"].as_str()), (409, Some("agent.name-is-namespace")));
    }
}

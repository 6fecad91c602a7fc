//! The API over a real listener, without TLS as `--dev` has it, with an agent on a real link.
#![allow(clippy::unwrap_used, reason = "tests")]

mod common;

use common::{Agent, Plane, WORKFLOW, args};
use reqwest::Method;
use serde_json::{Value as Json, json};

#[tokio::test(flavor = "multi_thread")]
async fn a_run_goes_from_text_to_result_and_can_be_looked_at() {
    let dir = tempfile::tempdir().unwrap();
    let plane = Plane::start(args(&dir)).await;
    plane.register().await;
    let token = plane.invite(json!({"name": "camera"})).await;
    let agent = Agent::join(&token, "ignored").await.unwrap();
    assert_eq!(agent.name, "camera", "the invitation's name reaches the device");
    let id = agent.identity.agent().to_string();
    let working = tokio::spawn(agent.work());
    plane.until("/v1/agents/camera", |_, view| view["link"] == "connected").await;

    let request = json!({"workflow": {"source": {"text": WORKFLOW}}, "inputs": {"who": "me"}, "idempotencyKey": "k1"});
    let run = plane.run(request.clone()).await;
    let events = plane.follow(&run, None).await;
    let kinds: Vec<&str> = events.iter().map(|e| e["kind"].as_str().unwrap()).collect();
    assert_eq!(kinds, ["assigned", "started", "ended", "run-ended"]);
    let numbers: Vec<u64> = events.iter().map(|e| e["seq"].as_u64().unwrap()).collect();
    assert_eq!(numbers, [1, 2, 3, 4]);
    assert_eq!((&events[1]["task"], &events[1]["agent"]), (&json!("greet"), &json!("camera")));
    // Going on after an event, and after the end.
    let rest = plane.follow(&run, Some(2)).await;
    assert_eq!(rest.iter().map(|e| e["seq"].as_u64().unwrap()).collect::<Vec<_>>(), [3, 4]);
    assert!(plane.follow(&run, Some(4)).await.is_empty());

    let (status, detail) = plane.get(&format!("/v1/runs/{run}")).await;
    assert_eq!(status, 200);
    assert_eq!(detail["state"], "succeeded");
    assert_eq!(detail["outputs"], json!({"text": "hello"}));
    assert_eq!(detail["inputs"], json!({"who": "me"}));
    assert_eq!(detail["counts"], json!({"succeeded": 1}));
    assert_eq!(detail["tasks"][0]["agent"], "camera");
    assert_eq!(detail["fragments"][0]["agent"], Json::String(id));
    assert!(detail["plan"]["fragments"].as_array().is_some_and(|f| f.len() == 1));
    let logs = plane
        .until(&format!("/v1/runs/{run}/logs"), |_, page| {
            page["items"].as_array().is_some_and(|l| !l.is_empty())
        })
        .await;
    assert_eq!(logs["items"][0]["message"], "said hello");

    // The same key: the same run, and no other one. Another request under it: refused.
    let (status, again) = plane.post("/v1/runs", &request).await;
    assert_eq!((status.as_u16(), again["id"].as_str()), (200, Some(run.as_str())));
    let mut other = request;
    other["inputs"]["who"] = json!("you");
    let (status, problem) = plane.post("/v1/runs", &other).await;
    assert_eq!((status.as_u16(), problem["code"].as_str()), (409, Some("run.key-reused")));
    let (_, page) = plane.get("/v1/runs?state=succeeded&limit=1").await;
    assert_eq!(page["items"].as_array().map(Vec::len), Some(1));
    assert_eq!(page["next"], Json::Null);

    let (status, problem) = plane.send(plane.request(Method::POST, &format!("/v1/runs/{run}/cancel"))).await;
    assert_eq!((status.as_u16(), problem["code"].as_str()), (409, Some("run.ended")));
    let (status, problem) = plane.send(plane.request(Method::DELETE, "/v1/agents/camera")).await;
    assert_eq!((status.as_u16(), problem["code"].as_str()), (409, Some("agent.connected")));
    let (_, metrics) = plane.get("/metrics").await;
    let metrics = metrics.as_str().unwrap_or_default().to_owned();
    assert!(
        metrics.contains(r#"eyot_runs{state="succeeded"} 1"#) && metrics.contains("eyot_commit_seconds"),
        "{metrics}"
    );

    plane.server.stop().await;
    working.await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_that_fits_nobody_waits_with_the_cause_and_survives_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let plane = Plane::start(args(&dir)).await;
    plane.register().await;
    let (status, stored) = plane.post("/v1/workflows", &json!({"text": WORKFLOW})).await;
    assert_eq!((status.as_u16(), stored["name"].as_str()), (200, Some("hello")));
    let run = plane.run(json!({"workflow": {"ref": "hello@1"}})).await;
    let (_, detail) = plane.get(&format!("/v1/runs/{run}")).await;
    assert_eq!(detail["state"], "pending");
    assert!(detail["waitingFor"].as_str().is_some_and(|why| why.contains("agent")), "{detail}");
    let cancelled = plane.run(json!({"workflow": {"ref": "hello"}})).await;
    let (status, _) = plane
        .send(plane.request(Method::POST, &format!("/v1/runs/{cancelled}/cancel")))
        .await;
    assert_eq!(status, 202);
    plane
        .until(&format!("/v1/runs/{cancelled}"), |_, run| run["state"] == "cancelled")
        .await;
    plane.server.stop().await;

    let plane = Plane::start(args(&dir)).await;
    let (_, page) = plane.get("/v1/runs").await;
    assert_eq!(page["items"].as_array().map(Vec::len), Some(2));
    let token = plane.invite(json!({})).await;
    let agent = Agent::join(&token, "a b/c").await.unwrap();
    let working = tokio::spawn(agent.work());
    let events = plane.follow(&run, None).await;
    assert_eq!(events.last().map(|e| &e["runState"]), Some(&json!("succeeded")));
    let (_, agent) = plane.get("/v1/agents/a-b-c").await;
    assert_eq!(agent["link"], "connected", "{agent}");
    plane.server.stop().await;
    working.await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_wrong_is_refused_with_a_stable_code() {
    let dir = tempfile::tempdir().unwrap();
    let plane = Plane::start(args(&dir)).await;
    let digest = plane.register().await;
    let missing = eyot_model::RunId(9).to_string();
    for (path, status, code) in [
        ("/v1/nothing".to_owned(), 404, "request.no-route"),
        ("/v1/runs/r-1".to_owned(), 400, "run.bad-id"),
        (format!("/v1/runs/{missing}"), 404, "run.not-found"),
        (format!("/v1/runs/{missing}/events"), 404, "run.not-found"),
        (format!("/v1/runs/{missing}/logs"), 404, "run.not-found"),
        ("/v1/runs?state=odd".to_owned(), 400, "request.malformed"),
        ("/v1/runs?unknown=1".to_owned(), 400, "request.malformed"),
        ("/v1/workflows/default/none".to_owned(), 404, "workflow.not-found"),
        ("/v1/agents/nobody".to_owned(), 404, "agent.not-found"),
        ("/v1/blobs/b3:00".to_owned(), 400, "blob.bad-digest"),
        (format!("/v1/blobs/{}", eyot_model::Digest::of(b"absent")), 404, "blob.not-found"),
    ] {
        let (found, problem) = plane.get(&path).await;
        assert_eq!(
            (found.as_u16(), problem["code"].as_str()),
            (status, Some(code)),
            "{path}: {problem}"
        );
    }
    let not_wasm = plane.upload(b"no wasm".to_vec()).await;
    let component = |name: &str, version: &str, digest: &str| json!({"name": name, "version": version, "digest": digest});
    let source = |text: &str| json!({"text": text});
    let typo = WORKFLOW.replace("uses:", "used:");
    let unknown = WORKFLOW.replace("test/greet@1", "test/greed@1");
    for (path, body, status, code) in [
        ("/v1/runs", json!({"workflow": {"ref": "none"}}), 404, "workflow.not-found"),
        ("/v1/runs", json!({"workflow": {"source": source(&typo)}}), 422, "workflow.invalid"),
        (
            "/v1/runs",
            json!({"workflow": {"source": source(WORKFLOW)}, "inputs": {"who": 5}}),
            422,
            "run.inputs-invalid",
        ),
        (
            "/v1/runs",
            json!({"workflow": {"source": source(WORKFLOW)}, "idempotencyKey": ""}),
            400,
            "run.bad-key",
        ),
        ("/v1/runs", json!({"workflows": 1}), 400, "request.malformed"),
        ("/v1/plan", json!({"workflow": {"source": source(WORKFLOW)}}), 409, "plan.no-agents"),
        ("/v1/workflows", source(&unknown), 422, "workflow.invalid"),
        (
            "/v1/components",
            component("test/greet", "1.0.0", &not_wasm),
            422,
            "component.invalid",
        ),
        ("/v1/components", component("Test", "1.0.0", &digest), 422, "component.invalid"),
        ("/v1/components", component("test", "one", &digest), 422, "component.invalid"),
        ("/v1/agents/invite", json!({"validFor": 3_600_001}), 422, "agent.bad-invitation"),
        ("/v1/agents/invite", json!({"name": "a b"}), 422, "agent.bad-name"),
    ] {
        let (found, problem) = plane.post(path, &body).await;
        assert_eq!(
            (found.as_u16(), problem["code"].as_str()),
            (status, Some(code)),
            "{path} {body}: {problem}"
        );
    }
    let (_, problem) = plane.post("/v1/workflows", &source(&typo)).await;
    assert!(problem["diagnostics"][0]["line"].as_u64().is_some_and(|line| line > 1), "{problem}");
    let (status, validation) = plane.post("/v1/workflows/validate", &source(&unknown)).await;
    assert_eq!((status.as_u16(), &validation["valid"]), (200, &json!(false)));

    // A version never changes its text, and a component never its digest.
    let (status, _) = plane.post("/v1/workflows", &source(WORKFLOW)).await;
    assert_eq!(status, 200);
    let (status, _) = plane.post("/v1/workflows", &source(WORKFLOW)).await;
    assert_eq!(status, 200);
    let (status, problem) = plane
        .post("/v1/workflows", &source(&WORKFLOW.replace("default: you", "default: them")))
        .await;
    assert_eq!((status.as_u16(), problem["code"].as_str()), (409, Some("workflow.version-exists")));
    let second = plane.upload(b"\0asm\x0d\0\x01\0 another".to_vec()).await;
    let (status, problem) = plane.post("/v1/components", &component("test/greet", "1.0.0", &second)).await;
    assert_eq!((status.as_u16(), problem["code"].as_str()), (409, Some("component.version-exists")));
    let (_, page) = plane.get("/v1/components").await;
    assert_eq!(page["items"].as_array().map(Vec::len), Some(1));
    let (_, shown) = plane.get("/v1/workflows/default/hello").await;
    assert_eq!(shown["text"], WORKFLOW);
    let (_, document) = plane.get("/openapi.json").await;
    assert!(document["paths"]["/v1/runs"]["post"].is_object() && document["paths"]["/v1/blobs/{digest}"]["get"].is_object());
    plane.server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn blobs_go_up_and_down_whole_and_in_ranges() {
    let dir = tempfile::tempdir().unwrap();
    let mut settings = args(&dir);
    settings.limits.max_upload = 3 << 20;
    let plane = Plane::start(settings).await;
    let bytes: Vec<u8> = (0..2_500_000_u32).flat_map(|n| [(n % 251) as u8]).collect();
    let digest = plane.upload(bytes.clone()).await;
    assert_eq!(digest, eyot_model::Digest::of(&bytes).to_string());
    let path = format!("/v1/blobs/{digest}");
    let whole = plane.request(Method::GET, &path).send().await.unwrap();
    assert_eq!(whole.headers()["content-length"], bytes.len().to_string());
    assert_eq!(whole.bytes().await.unwrap(), bytes);
    let part = plane
        .request(Method::GET, &path)
        .header("range", "bytes=1000000-1000009")
        .send()
        .await
        .unwrap();
    assert_eq!(
        (part.status().as_u16(), part.headers()["content-range"].clone()),
        (206, format!("bytes 1000000-1000009/{}", bytes.len()).parse().unwrap())
    );
    assert_eq!(part.bytes().await.unwrap(), bytes[1_000_000..1_000_010]);
    let beyond = plane
        .request(Method::GET, &path)
        .header("range", "bytes=9000000-")
        .send()
        .await
        .unwrap();
    assert_eq!(beyond.status(), 416);
    let head = plane.request(Method::HEAD, &path).send().await.unwrap();
    assert_eq!(head.status(), 200);
    let (status, problem) = plane
        .send(plane.request(Method::POST, "/v1/blobs").body(vec![0; (3 << 20) + 1]))
        .await;
    assert_eq!((status.as_u16(), problem["code"].as_str()), (413, Some("blob.too-large")));
    plane.server.stop().await;
}

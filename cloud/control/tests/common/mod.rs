//! A control plane in this process, a client, and an agent that does what it is told without running anything.
#![allow(
    dead_code,
    unreachable_pub,
    clippy::unwrap_used,
    reason = "a test helper: each test file uses a part of it"
)]

use eyot_control::{ServeArgs, Server};
use eyot_link::{AgentKey, Clock, Dialer, DialerOptions, Events, Happening, Identity, JoinToken, Live};
use eyot_model::{AgentProfile, Capacity, Event, Load, Millis, Outcome, Path, Position, RunId, Timestamp, Usage, Value};
use eyot_wire::{Assignment, Hello, Inventory, LogRecord, Report, ReportItem, ToAgent, ToCloud};
use reqwest::{Method, StatusCode};
use serde_json::{Value as Json, json};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;

pub const WORKFLOW: &str = r#"apiVersion: eyot.dev/v1
kind: Workflow
metadata: {name: hello, version: "1"}
spec:
  inputs:
    who: {type: string, default: you}
  outputs:
    text: "${{ tasks.greet.outputs.text }}"
  tasks:
    greet:
      uses: test/greet@1
      with: {who: "${{ inputs.who }}"}
"#;

pub struct Plane {
    pub server: Server,
    pub http: reqwest::Client,
    pub token: Option<String>,
}

pub fn args(dir: &tempfile::TempDir) -> ServeArgs {
    let mut args = ServeArgs::local(dir.path().join("data"));
    args.heartbeat = Millis(200);
    args
}

impl Plane {
    pub async fn start(args: ServeArgs) -> Self {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let data = args.data.clone();
        let dev = args.dev;
        let server = Server::start(args).await.unwrap();
        let mut http = reqwest::Client::builder().no_proxy();
        let mut token = None;
        if !dev {
            let ca = std::fs::read(data.join("ca.pem")).unwrap();
            http = http.tls_certs_only(reqwest::Certificate::from_pem_bundle(&ca).unwrap());
            token = std::fs::read_to_string(data.join(eyot_control::TOKEN_FILE))
                .ok()
                .map(|t| t.trim().to_owned());
        }
        Self {
            server,
            http: http.build().unwrap(),
            token,
        }
    }

    pub fn request(&self, method: Method, path: &str) -> reqwest::RequestBuilder {
        let request = self.http.request(method, format!("{}{path}", self.server.url()));
        match &self.token {
            Some(token) => request.bearer_auth(token),
            None => request,
        }
    }

    pub async fn send(&self, request: reqwest::RequestBuilder) -> (StatusCode, Json) {
        let response = request.send().await.unwrap();
        let status = response.status();
        let text = response.text().await.unwrap();
        (status, serde_json::from_str(&text).unwrap_or(Json::String(text)))
    }

    pub async fn get(&self, path: &str) -> (StatusCode, Json) {
        self.send(self.request(Method::GET, path)).await
    }

    pub async fn post(&self, path: &str, body: &Json) -> (StatusCode, Json) {
        self.send(self.request(Method::POST, path).json(body)).await
    }

    /// Uploads bytes and gives the digest.
    pub async fn upload(&self, bytes: Vec<u8>) -> String {
        let (status, body) = self.send(self.request(Method::POST, "/v1/blobs").body(bytes)).await;
        assert_eq!(status, 200, "{body}");
        body["blob"]["digest"].as_str().unwrap().to_owned()
    }

    /// Registers the component that the test workflow uses.
    pub async fn register(&self) -> String {
        let digest = self.upload(b"\0asm\x0d\0\x01\0 a component of these tests".to_vec()).await;
        let spec = json!({"name": "test/greet", "version": "1.0.0", "digest": digest, "description": {"idempotent": true}});
        let (status, body) = self.post("/v1/components", &spec).await;
        assert_eq!(status, 200, "{body}");
        digest
    }

    pub async fn invite(&self, request: Json) -> JoinToken {
        let (status, body) = self.post("/v1/agents/invite", &request).await;
        assert_eq!(status, 200, "{body}");
        body["token"].as_str().unwrap().parse().unwrap()
    }

    /// The run's events until its end.
    pub async fn follow(&self, run: &str, after: Option<u64>) -> Vec<Json> {
        let mut request = self.request(Method::GET, &format!("/v1/runs/{run}/events"));
        if let Some(after) = after {
            request = request.header("last-event-id", after);
        }
        let body = tokio::time::timeout(Duration::from_secs(60), async {
            request.send().await.unwrap().text().await.unwrap()
        });
        let body = body.await.expect("the stream ends with the run");
        body.lines()
            .filter_map(|line| line.strip_prefix("data: "))
            .map(|data| serde_json::from_str(data).unwrap())
            .collect()
    }

    pub async fn run(&self, body: Json) -> String {
        let (status, view) = self.post("/v1/runs", &body).await;
        assert!(status.is_success(), "{status} {view}");
        view["id"].as_str().unwrap().to_owned()
    }

    /// Asks again and again until `enough`.
    pub async fn until(&self, path: &str, enough: impl Fn(StatusCode, &Json) -> bool) -> Json {
        for _ in 0..1_500 {
            let (status, body) = self.get(path).await;
            if enough(status, &body) {
                return body;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        panic!("{path} never became what it should be: {:?}", self.get(path).await);
    }
}

pub struct Agent {
    pub identity: Arc<Identity>,
    /// What the control plane calls it.
    pub name: String,
    pub addresses: Vec<String>,
    pub position: Position,
    /// What the device takes for the time of day.
    pub clock: Clock,
    /// A dialer closes its links when it is dropped.
    dialers: std::sync::Mutex<Vec<Dialer>>,
}

impl Agent {
    pub async fn join(token: &JoinToken, name: &str) -> Result<Self, eyot_link::Error> {
        let joined = eyot_link::join(token, name, AgentKey::create().unwrap(), Clock::system()).await?;
        Ok(Self {
            identity: joined.identity,
            name: joined.name,
            addresses: token.addresses.clone(),
            position: Position { generation: 7, n: 0 },
            clock: Clock::system(),
            dialers: std::sync::Mutex::default(),
        })
    }

    pub async fn dial(&self) -> Result<Live<ToCloud, ToAgent>, eyot_link::Error> {
        let (_, load) = watch::channel(Load::default());
        let options = DialerOptions {
            addresses: self.addresses.clone(),
            load,
            steady: Clock::system(),
            clock: self.clock.clone(),
        };
        let mut dialer = Dialer::new(Arc::clone(&self.identity), options)?;
        let live = dialer.dial_once().await;
        self.dialers.lock().unwrap().push(dialer);
        live
    }

    pub fn hello(&self) -> ToCloud {
        ToCloud::Hello(Box::new(Hello {
            profile: self.profile(),
            incarnation: 1,
            before: Vec::new(),
            clock: self.clock.now(),
        }))
    }

    fn profile(&self) -> AgentProfile {
        AgentProfile {
            id: self.identity.agent(),
            name: "whatever it says".into(),
            site: None,
            labels: BTreeMap::new(),
            capabilities: [].into(),
            capacity: Capacity {
                cpu_millis: 4_000,
                memory_bytes: 8 << 30,
                disk_bytes: 1 << 40,
                gpus: 0,
            },
            platform: "linux/x86_64".into(),
            version: "0".into(),
            uplink_bytes_per_sec: 0,
            downlink_bytes_per_sec: 0,
            round_trip: Millis(1),
            speed: 1.0,
            load: Load::default(),
            holds: [].into(),
        }
    }

    /// Connects and does everything that it is assigned, until the link ends.
    pub async fn work(mut self) {
        let Live { link, mut events } = self.dial().await.unwrap();
        link.send(&self.hello()).await.unwrap();
        assert!(matches!(next(&mut events).await, Some(ToAgent::Welcome(_))));
        let inventory = Inventory {
            held: vec![],
            last: self.position,
            committed: self.position,
        };
        link.send(&ToCloud::Inventory(inventory)).await.unwrap();
        while let Some(message) = next(&mut events).await {
            if let ToAgent::Assign(assignment) = message {
                let (run, fragment, epoch) = (assignment.run, assignment.fragment, assignment.epoch);
                if link.send(&ToCloud::Accepted { run, fragment, epoch }).await.is_err() {
                    return;
                }
                for message in self.perform(&assignment) {
                    if link.send(&message).await.is_err() {
                        return;
                    }
                }
            }
        }
    }

    fn perform(&mut self, assignment: &Assignment) -> Vec<ToCloud> {
        let at = Clock::system().now();
        let mut items = Vec::new();
        let mut logs = Vec::new();
        for task in &assignment.tasks {
            let path = Path::task(*task);
            let outputs = BTreeMap::from([("text".to_owned(), Value::from("hello"))]);
            let events = [
                Event::Started {
                    path,
                    attempt: 1,
                    epoch: assignment.epoch,
                    at,
                },
                Event::Ended {
                    path,
                    attempt: 1,
                    epoch: assignment.epoch,
                    at,
                    outcome: Outcome::Succeeded(outputs),
                    usage: Usage {
                        wall_micros: 50,
                        ..Usage::default()
                    },
                    retry_at: None,
                },
            ];
            for event in events {
                self.position.n += 1;
                let (position, fragment) = (self.position, assignment.fragment);
                items.push(ReportItem {
                    position,
                    run: assignment.run,
                    fragment,
                    epoch: assignment.epoch,
                    event,
                });
            }
            logs.push(line(assignment.run, path, at));
        }
        vec![ToCloud::Logs(logs), ToCloud::Report(Report { items })]
    }
}

fn line(run: RunId, path: Path, at: Timestamp) -> LogRecord {
    LogRecord {
        run,
        path,
        attempt: 1,
        at,
        level: 3,
        message: "said hello".into(),
    }
}

/// The next message of the control plane; None once the link has ended.
pub async fn next(events: &mut Events<ToAgent>) -> Option<ToAgent> {
    loop {
        match events.next().await {
            Happening::Message(message) => return Some(message),
            Happening::Closed(_) => return None,
            _ => {}
        }
    }
}

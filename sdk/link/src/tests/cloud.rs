//! A control plane for the tests: real server, authority in memory, a clock that can be set.

use super::log;
use crate::link::Live;
use crate::{
    Admission, AgentKey, Authority, Ca, Clock, Credential, Dialer, DialerOptions, Enrolment, Happening, Identity, JoinToken, Options,
    Secret, Serial, Server, Standing, join,
};
use eyot_model::{AgentId, Digest, Load, Millis, Timestamp};
use eyot_wire::{ToAgent, ToCloud, Welcome};
use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::sync::watch;

pub(super) type CloudEnd = Live<ToAgent, ToCloud>;
pub(super) type AgentEnd = Live<ToCloud, ToAgent>;

/// The system's clock, put forward.
#[derive(Clone, Default)]
pub(super) struct SetClock(Arc<AtomicU64>);

impl SetClock {
    pub(super) fn forward(&self, by: Millis) {
        self.0.fetch_add(by.0 * 1_000, Ordering::Relaxed);
    }

    pub(super) fn clock(&self) -> Clock {
        let ahead = self.0.clone();
        let system = Clock::system();
        Clock::new(move || Timestamp(system.now().0 + ahead.load(Ordering::Relaxed)))
    }
}

pub(super) struct Directory {
    tokens: Mutex<BTreeMap<Digest, Invitation>>,
    agents: Mutex<BTreeMap<AgentId, Standing>>,
    life: Mutex<Millis>,
    clock: Clock,
}

struct Invitation {
    expires: Timestamp,
    used_by: Option<AgentId>,
}

impl Directory {
    pub(super) fn set(&self, agent: AgentId, standing: Standing) {
        self.agents.lock().unwrap().insert(agent, standing);
    }

    pub(super) fn set_life(&self, life: Millis) {
        *self.life.lock().unwrap() = life;
    }

    fn admission(&self, name: &str) -> Admission {
        Admission {
            serial: Serial::random().unwrap(),
            not_after: self.clock.now().after(*self.life.lock().unwrap()),
            name: name.to_owned(),
        }
    }
}

impl Authority for Directory {
    fn check(&self, agent: AgentId, _: Serial) -> Standing {
        self.agents.lock().unwrap().get(&agent).copied().unwrap_or(Standing::Unknown)
    }

    fn enrol<'a>(&'a self, enrolment: Enrolment<'a>) -> crate::Future<'a, Result<Admission, String>> {
        Box::pin(async move {
            let mut tokens = self.tokens.lock().unwrap();
            let invitation = tokens.get_mut(&enrolment.secret.digest()).ok_or("the token is not known")?;
            if self.clock.now() > invitation.expires {
                return Err("the token is over its time".into());
            }
            if invitation.used_by.is_some_and(|by| by != enrolment.agent) {
                return Err("the token was used".into());
            }
            invitation.used_by = Some(enrolment.agent);
            self.set(enrolment.agent, Standing::Allowed);
            Ok(self.admission(&format!("the {}", enrolment.name)))
        })
    }

    fn renew(&self, _: AgentId, _: Serial) -> crate::Future<'_, Result<Admission, String>> {
        Box::pin(async { Ok(self.admission("renewed")) })
    }
}

pub(super) struct Cloud {
    pub(super) ca: Arc<Ca>,
    pub(super) directory: Arc<Directory>,
    pub(super) server: Server,
    pub(super) time: SetClock,
}

impl Cloud {
    pub(super) fn start() -> Self {
        Self::start_with(Options::default())
    }

    pub(super) fn start_with(options: Options) -> Self {
        log::start();
        let time = SetClock::default();
        let ca = Arc::new(Ca::create(time.clock().now()).unwrap());
        let directory = Arc::new(Directory {
            tokens: Mutex::default(),
            agents: Mutex::default(),
            life: Mutex::new(Millis::from_secs(3_600)),
            clock: time.clock(),
        });
        let options = Options {
            clock: time.clock(),
            ..options
        };
        let server = Server::bind((Ipv4Addr::LOCALHOST, 0).into(), ca.clone(), directory.clone(), options).unwrap();
        Self {
            ca,
            directory,
            server,
            time,
        }
    }

    pub(super) fn addr(&self) -> SocketAddr {
        self.server.local_addr().unwrap()
    }

    pub(super) fn invite(&self) -> JoinToken {
        let secret = Secret::random().unwrap();
        let invitation = Invitation {
            expires: self.time.clock().now().after(Millis::from_secs(3_600)),
            used_by: None,
        };
        self.directory.tokens.lock().unwrap().insert(secret.digest(), invitation);
        JoinToken {
            addresses: vec![self.addr().to_string()],
            ca: self.ca.digest(),
            secret,
        }
    }

    pub(super) async fn join(&self) -> Arc<Identity> {
        let joined = join(&self.invite(), "device", AgentKey::create().unwrap(), self.time.clock()).await;
        joined.unwrap().identity
    }

    /// An identity that was never enrolled over the network, valid for `life` from now on.
    pub(super) fn identity(&self, life: Millis) -> Arc<Identity> {
        let key = AgentKey::create().unwrap();
        self.directory.set(key.agent(), Standing::Allowed);
        let csr = crate::SigningRequest::read(&key.signing_request().unwrap()).unwrap();
        let now = self.time.clock().now();
        let chain = self.ca.sign(&csr, Serial::random().unwrap(), now, now.after(life)).unwrap();
        Identity::new(key, chain).unwrap()
    }

    pub(super) fn dialer(&self, identity: Arc<Identity>) -> Dialer {
        self.dialer_with(identity, vec![self.addr().to_string()], self.time.clock())
    }

    /// A device that has these addresses, and takes it to be this time.
    pub(super) fn dialer_with(&self, identity: Arc<Identity>, addresses: Vec<String>, clock: Clock) -> Dialer {
        let options = DialerOptions {
            addresses,
            load: watch::channel(Load::default()).1,
            steady: self.time.clock(),
            clock,
        };
        Dialer::new(identity, options).unwrap()
    }

    /// A link, both ends.
    pub(super) async fn link(&self) -> Linked {
        let identity = self.identity(Millis::from_secs(3_600));
        let mut dialer = self.dialer(identity);
        let (agent, cloud) = tokio::join!(dialer.dial(), self.server.accept());
        Linked {
            agent: agent.unwrap(),
            cloud: cloud.unwrap(),
            dialer,
        }
    }
}

pub(super) struct Linked {
    pub(super) agent: AgentEnd,
    pub(super) cloud: CloudEnd,
    pub(super) dialer: Dialer,
}

impl Linked {
    pub(super) fn credential(&self) -> Credential {
        self.dialer.identity().credential()
    }

    /// Makes heart-beats come more often than by default.
    pub(super) async fn welcome(&mut self, heartbeat_every: Millis) {
        let welcome = Welcome {
            agent: self.credential().agent,
            heartbeat_every,
            clock: Timestamp(0),
            uploads: eyot_wire::UploadLimits {
                blob: 1,
                together: 1,
                count: 1,
            },
            store: 1,
        };
        self.cloud.link.send(&ToAgent::Welcome(welcome)).await.unwrap();
        loop {
            if let Happening::Message(ToAgent::Welcome(_)) = self.agent.events.next().await {
                return;
            }
        }
    }
}

/// Nothing here takes long; a test that hangs should say where.
pub(super) async fn soon<T>(what: impl Future<Output = T>) -> T {
    match tokio::time::timeout(Duration::from_secs(30), what).await {
        Ok(done) => done,
        Err(_) => panic!("this should have happened long ago; the log so far:\n{}", log::so_far()),
    }
}

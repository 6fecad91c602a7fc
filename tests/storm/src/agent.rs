//! One agent: the product's own dialer, and behind it nothing but a list of what it was given.

use anyhow::Result;
use eyot_link::{Clock, Dialer, DialerOptions, Events, Happening, Identity, Live};
use eyot_model::{AgentId, AgentProfile, Capacity, Epoch, FragmentId, Load, Millis, Position, RunId};
use eyot_wire::{FragmentStanding, Held, Hello, Inventory, ToAgent, ToCloud};
use parking_lot::Mutex;
use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;
use tokio::sync::watch;

/// What all agents tell.
pub(crate) struct Shared {
    address: SocketAddr,
    told: Mutex<Told>,
    connections: AtomicU64,
}

#[derive(Default)]
struct Told {
    /// How often each agent was reconciled, and when last.
    reconciled: BTreeMap<AgentId, (u32, Instant)>,
    held: BTreeMap<AgentId, usize>,
    lost: Vec<AgentId>,
    failure: Option<String>,
}

impl Shared {
    pub(crate) fn new(address: SocketAddr) -> Self {
        Self {
            address,
            told: Mutex::default(),
            connections: AtomicU64::new(0),
        }
    }

    pub(crate) fn reconciled(&self, times: u32) -> Vec<Instant> {
        let told = self.told.lock();
        told.reconciled.values().filter(|(n, _)| *n >= times).map(|(_, at)| *at).collect()
    }

    /// Fragments that agents hold.
    pub(crate) fn held(&self) -> usize {
        self.told.lock().held.values().sum()
    }

    /// Agents that were told something else than to keep what they hold.
    pub(crate) fn lost(&self) -> Vec<AgentId> {
        self.told.lock().lost.clone()
    }

    pub(crate) fn failed(&self) -> bool {
        self.told.lock().failure.is_some()
    }

    pub(crate) fn failure(&self) -> String {
        self.told.lock().failure.clone().unwrap_or_default()
    }

    pub(crate) fn count_from_now(&self) {
        self.connections.store(0, Ordering::Relaxed);
    }

    /// Links that came up since [`Shared::count_from_now`].
    pub(crate) fn connections(&self) -> u64 {
        self.connections.load(Ordering::Relaxed)
    }
}

struct Agent {
    identity: Arc<Identity>,
    shared: Arc<Shared>,
    held: BTreeSet<(RunId, FragmentId, Epoch)>,
    incarnation: u64,
}

/// Connects, and comes back, for ever.
pub(crate) fn start(identity: Arc<Identity>, shared: Arc<Shared>) -> Result<()> {
    let (_, load) = watch::channel(Load::default());
    let options = DialerOptions {
        addresses: vec![shared.address.to_string()],
        load,
        steady: Clock::system(),
        clock: Clock::system(),
    };
    let mut dialer = Dialer::new(Arc::clone(&identity), options)?;
    let mut agent = Agent {
        incarnation: u64::from(std::process::id()),
        identity,
        shared,
        held: BTreeSet::new(),
    };
    tokio::spawn(async move {
        loop {
            match dialer.dial().await {
                Ok(live) => {
                    agent.shared.connections.fetch_add(1, Ordering::Relaxed);
                    agent.work(live).await;
                }
                Err(error) => {
                    agent.shared.told.lock().failure = Some(format!("{}: {error}", agent.identity.agent()));
                    return;
                }
            }
        }
    });
    Ok(())
}

impl Agent {
    async fn work(&mut self, live: Live<ToCloud, ToAgent>) {
        let Live { link, mut events } = live;
        let hello = Hello {
            profile: profile(self.identity.agent()),
            incarnation: self.incarnation,
            before: Vec::new(),
            clock: Clock::system().now(),
        };
        if link.send(&ToCloud::Hello(Box::new(hello))).await.is_err() {
            return;
        }
        while let Some(message) = next(&mut events).await {
            let answer = match message {
                ToAgent::Welcome(_) => ToCloud::Inventory(self.inventory()),
                ToAgent::Reconciled(standings) => {
                    self.reconciled(&standings);
                    continue;
                }
                ToAgent::Assign(assignment) => {
                    let (run, fragment, epoch) = (assignment.run, assignment.fragment, assignment.epoch);
                    self.held.insert((run, fragment, epoch));
                    self.shared.told.lock().held.insert(self.identity.agent(), self.held.len());
                    ToCloud::Accepted { run, fragment, epoch }
                }
                _ => continue,
            };
            if link.send(&answer).await.is_err() {
                return;
            }
        }
    }

    fn inventory(&self) -> Inventory {
        let held = self.held.iter().map(|(run, fragment, epoch)| Held {
            run: *run,
            fragment: *fragment,
            epoch: *epoch,
            ended: false,
        });
        Inventory {
            held: held.collect(),
            last: Position { generation: 1, n: 0 },
            committed: Position { generation: 1, n: 0 },
        }
    }

    fn reconciled(&self, standings: &[FragmentStanding]) {
        let kept = standings
            .iter()
            .filter(|standing| matches!(standing, FragmentStanding::Keep { .. }))
            .count();
        let mut told = self.shared.told.lock();
        if kept != self.held.len() {
            told.lost.push(self.identity.agent());
        }
        let now = Instant::now();
        told.reconciled
            .entry(self.identity.agent())
            .and_modify(|(times, at)| (*times, *at) = (*times + 1, now))
            .or_insert((1, now));
    }
}

/// The next message; None once the link has ended.
async fn next(events: &mut Events<ToAgent>) -> Option<ToAgent> {
    loop {
        match events.next().await {
            Happening::Message(message) => return Some(message),
            Happening::Closed(_) => return None,
            _ => {}
        }
    }
}

fn profile(id: AgentId) -> AgentProfile {
    AgentProfile {
        id,
        name: String::new(),
        site: None,
        labels: BTreeMap::from([("kind".to_owned(), "storm".to_owned())]),
        capabilities: BTreeSet::new(),
        capacity: Capacity {
            cpu_millis: 4_000,
            memory_bytes: 4 << 30,
            disk_bytes: 64 << 30,
            gpus: 0,
        },
        platform: "linux/x86_64".into(),
        version: env!("CARGO_PKG_VERSION").into(),
        uplink_bytes_per_sec: 0,
        downlink_bytes_per_sec: 0,
        round_trip: Millis(1),
        speed: 1.0,
        load: Load::default(),
        holds: BTreeSet::new(),
    }
}

//! The world: a clock, a queue of what happens next, links that carry messages in order until they break.

use crate::check::check;
use crate::cloud::{Cloud, Effect as CloudEffect};
use crate::device::{Device, Effect};
use crate::random::{Random, hash};
use crate::scenario::Scenario;
use eyot_model::{AgentId, AttemptId, Digest, Inputs, LinkState, Outcome, Position, RunId, Timestamp, Usage};
use eyot_wire::{ToAgent, ToCloud};
use std::collections::BTreeMap;

/// What came of a seed.
#[derive(Clone, Debug)]
pub struct Report {
    pub seed: u64,
    /// The same for the same seed, whatever machine ran it.
    pub state_hash: u64,
    pub steps: u64,
    pub attempts: u64,
    pub result: Result<(), String>,
}

enum Happening {
    ToCloud {
        agent: usize,
        link: u64,
        message: Box<ToCloud>,
    },
    ToAgent {
        agent: usize,
        link: u64,
        message: Box<ToAgent>,
    },
    AttemptEnds {
        agent: usize,
        life: u64,
        id: AttemptId,
        inputs: Inputs,
    },
    SyncEnds {
        agent: usize,
        life: u64,
        position: Position,
    },
    UploadEnds {
        agent: usize,
        life: u64,
        digest: Digest,
    },
    CommitEnds {
        life: u64,
    },
    Connect {
        agent: usize,
    },
    Cut {
        agent: usize,
    },
    Stop {
        agent: usize,
        power: bool,
    },
    Start {
        agent: usize,
    },
    KillCloud,
    StartCloud,
    Submit {
        run: RunId,
        scenario: Box<Scenario>,
    },
    Tick,
}

pub struct World {
    random: Random,
    now: Timestamp,
    queue: BTreeMap<(Timestamp, u64), Happening>,
    scheduled: u64,
    cloud: Cloud,
    devices: Vec<Device>,
    ids: Vec<AgentId>,
    /// Number of the present link of each agent; None while there is none.
    links: Vec<Option<u64>>,
    next_link: u64,
    /// When the last message in each direction arrives, so that order is kept.
    arrivals: BTreeMap<(usize, bool), Timestamp>,
    hash: u64,
    steps: u64,
    scenarios: BTreeMap<RunId, Scenario>,
    /// Tell on standard error what happens.
    pub trace: bool,
}

/// Chaos ends here; after it everything comes back and must come to an end.
const PEACE: u64 = 4_000_000;
/// A world that is not done by then never will be.
const END: u64 = 600_000_000;

impl World {
    /// A world made from a seed.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        let mut random = Random::new(seed);
        let agents = usize::try_from(random.between(1, 4)).unwrap_or(1);
        let ids: Vec<AgentId> = (1..=agents).map(|i| AgentId(i as u128)).collect();
        let mut world = Self {
            now: Timestamp(1),
            queue: BTreeMap::new(),
            scheduled: 0,
            cloud: Cloud::default(),
            devices: (0..agents).map(|i| Device::new(hash(&[seed, i as u64]))).collect(),
            links: vec![None; agents],
            next_link: 0,
            arrivals: BTreeMap::new(),
            hash: seed,
            steps: 0,
            scenarios: BTreeMap::new(),
            trace: false,
            ids,
            random,
        };
        for agent in 0..agents {
            let at = world.random.below(50_000);
            world.at(at, Happening::Connect { agent });
        }
        for n in 0..world.random.between(1, 3) {
            let scenario = Scenario::random(hash(&[seed, 77, n]), &world.ids);
            let run = RunId(u128::from(n) + 1);
            world.scenarios.insert(run, scenario.clone());
            let at = world.random.below(300_000);
            world.at(
                at,
                Happening::Submit {
                    run,
                    scenario: Box::new(scenario),
                },
            );
        }
        world.plan_chaos();
        world
    }

    fn plan_chaos(&mut self) {
        let agents = self.devices.len() as u64;
        for _ in 0..self.random.below(14) {
            let at = self.random.below(PEACE / 3);
            let agent = usize::try_from(self.random.below(agents)).unwrap_or(0);
            let happening = match self.random.below(5) {
                0 | 1 => Happening::Cut { agent },
                2 => Happening::Stop { agent, power: false },
                3 => Happening::Stop { agent, power: true },
                _ => Happening::KillCloud,
            };
            self.at(at, happening);
        }
    }

    fn at(&mut self, micros: u64, happening: Happening) {
        self.scheduled += 1;
        self.queue.insert((Timestamp(micros.max(self.now.0)), self.scheduled), happening);
    }

    fn after(&mut self, low: u64, high: u64, happening: Happening) {
        let delay = self.random.between(low, high);
        self.at(self.now.0 + delay, happening);
    }

    /// Runs to the end and checks.
    #[must_use]
    pub fn run(mut self, seed: u64) -> Report {
        while let Some(((at, _), happening)) = self.queue.pop_first() {
            self.now = at;
            self.steps += 1;
            if self.trace {
                eprintln!("{} {}", self.now.0, describe(&happening));
            }
            self.happens(happening);
            let all_ended = self.cloud.submitted.len() == self.scenarios.len() && self.cloud.ended().len() == self.scenarios.len();
            if (all_ended && at.0 > PEACE) || at.0 > END {
                break;
            }
        }
        for event in self.scenarios.keys().flat_map(|run| self.cloud.events(*run)) {
            self.hash = hash(&[self.hash, event.at().0, event.task().map_or(0, |t| u64::from(t.0))]);
        }
        Report {
            seed,
            state_hash: hash(&[self.hash, self.now.0, self.steps]),
            steps: self.steps,
            attempts: self.devices.iter().map(|d| d.started).sum(),
            result: check(&self.cloud),
        }
    }

    fn happens(&mut self, happening: Happening) {
        match happening {
            Happening::Submit { run, scenario } => {
                if self.cloud.up {
                    self.cloud.submit(run, *scenario, self.now);
                    self.cloud_turn();
                } else {
                    self.after(1_000, 50_000, Happening::Submit { run, scenario });
                }
            }
            Happening::ToCloud { agent, link, message } => {
                if self.links[agent] == Some(link) && self.cloud.up {
                    self.cloud_hears(agent, *message);
                    self.cloud_turn();
                }
            }
            Happening::ToAgent { agent, link, message } => {
                if self.links[agent] == Some(link) && self.devices[agent].up {
                    self.devices[agent].node.handle_message(*message, self.now);
                    self.device_turn(agent);
                }
            }
            Happening::AttemptEnds { agent, life, id, inputs } => {
                if self.devices[agent].life == life && self.devices[agent].up {
                    let outcome = self
                        .scenarios
                        .get(&id.run)
                        .map_or(Outcome::Cancelled, |s| s.outcome(id.path, id.attempt, &inputs));
                    self.devices[agent].node.attempt_ended(&id, outcome, Usage::default(), self.now);
                    self.device_turn(agent);
                }
            }
            Happening::SyncEnds { agent, life, position } => {
                if self.devices[agent].life == life && self.devices[agent].up {
                    let effects = self.devices[agent].synced(position);
                    self.device_effects(agent, effects);
                }
            }
            Happening::UploadEnds { agent, life, digest } => {
                if self.devices[agent].life == life && self.devices[agent].up && self.links[agent].is_some() {
                    self.devices[agent].node.uploaded(digest);
                    self.device_turn(agent);
                }
            }
            Happening::CommitEnds { life } => {
                if self.cloud.life == life {
                    self.cloud.committed();
                    self.cloud_turn();
                }
            }
            Happening::Connect { agent } => self.connect(agent),
            Happening::Cut { agent } => self.cut(agent),
            Happening::Stop { agent, power } => self.stop_device(agent, power),
            Happening::Start { agent } => {
                let effects = self.devices[agent].start(self.now);
                self.device_effects(agent, effects);
                self.after(1_000, 100_000, Happening::Connect { agent });
            }
            Happening::KillCloud => {
                if self.cloud.up {
                    self.cloud.kill();
                    for agent in 0..self.devices.len() {
                        self.cut(agent);
                    }
                    self.after(1_000, 500_000, Happening::StartCloud);
                }
            }
            Happening::StartCloud => {
                self.cloud.start(self.now);
                self.cloud_turn();
            }
            Happening::Tick => {
                for agent in 0..self.devices.len() {
                    if self.devices[agent].up && self.devices[agent].node.poll_timeout().is_some_and(|at| at <= self.now) {
                        self.devices[agent].node.handle_timeout(self.now);
                        self.device_turn(agent);
                    }
                }
                if self.cloud.up && self.cloud.coordinator.poll_timeout().is_some_and(|at| at <= self.now) {
                    self.cloud.coordinator.handle_timeout(self.now);
                    self.cloud_turn();
                }
            }
        }
    }

    fn cloud_hears(&mut self, agent: usize, message: ToCloud) {
        let id = self.ids[agent];
        let coordinator = &mut self.cloud.coordinator;
        match message {
            ToCloud::Inventory(inventory) => coordinator.inventory(id, &inventory, self.now),
            ToCloud::Report(report) => coordinator.reported(id, report, self.now),
            ToCloud::Accepted { run, fragment, epoch } => coordinator.accepted(id, run, fragment, epoch),
            ToCloud::Refused { run, fragment, epoch, why } => coordinator.refused(id, run, fragment, epoch, &why, self.now),
            ToCloud::Saved { run, fragment, state } => coordinator.saved(id, run, fragment, *state),
            ToCloud::OwnRun(told) => coordinator.own_run(id, *told, true, None, self.now),
            ToCloud::Deployed(_)
            | ToCloud::Yielded { .. }
            | ToCloud::Hello(_)
            | ToCloud::Heartbeat(_)
            | ToCloud::Logs(_)
            | ToCloud::Profile(_) => {}
        }
    }

    fn cloud_turn(&mut self) {
        let mut effects = Vec::new();
        let commit = self.cloud.drain(&mut effects, self.now);
        if commit {
            self.cloud.committing = true;
            let life = self.cloud.life;
            self.after(100, 8_000, Happening::CommitEnds { life });
        }
        for CloudEffect::Send { agent, message } in effects {
            let Some(index) = self.ids.iter().position(|id| *id == agent) else {
                continue;
            };
            if let Some(link) = self.links[index] {
                let at = self.arrival(index, false);
                self.at(
                    at,
                    Happening::ToAgent {
                        agent: index,
                        link,
                        message: Box::new(message),
                    },
                );
            }
        }
        if let Some(at) = self.cloud.coordinator.poll_timeout() {
            self.at(at.0, Happening::Tick);
        }
    }

    fn device_turn(&mut self, agent: usize) {
        let effects = self.devices[agent].drain();
        self.device_effects(agent, effects);
    }

    fn device_effects(&mut self, agent: usize, effects: Vec<Effect>) {
        let life = self.devices[agent].life;
        for effect in effects {
            match effect {
                Effect::Send(message) => {
                    if let Some(link) = self.links[agent] {
                        let at = self.arrival(agent, true);
                        self.at(
                            at,
                            Happening::ToCloud {
                                agent,
                                link,
                                message: Box::new(message),
                            },
                        );
                    }
                }
                Effect::Began { id, inputs } => self.after(50, 120_000, Happening::AttemptEnds { agent, life, id, inputs }),
                Effect::Syncing(position) => self.after(100, 12_000, Happening::SyncEnds { agent, life, position }),
                Effect::Uploading(digest) => self.after(100, 50_000, Happening::UploadEnds { agent, life, digest }),
            }
        }
        if let Some(at) = self.devices[agent].node.poll_timeout() {
            self.at(at.0, Happening::Tick);
        }
    }

    fn arrival(&mut self, agent: usize, up: bool) -> u64 {
        let earliest = self.arrivals.get(&(agent, up)).map_or(0, |t| t.0 + 1);
        let at = (self.now.0 + self.random.between(50, 60_000)).max(earliest);
        self.arrivals.insert((agent, up), Timestamp(at));
        at
    }

    fn connect(&mut self, agent: usize) {
        if self.links[agent].is_some() || !self.devices[agent].up {
            return;
        }
        if !self.cloud.up {
            return self.after(10_000, 200_000, Happening::Connect { agent });
        }
        self.next_link += 1;
        self.links[agent] = Some(self.next_link);
        self.cloud.coordinator.link_changed(self.ids[agent], LinkState::Connected, self.now);
        self.devices[agent].node.link_up(self.now);
        self.device_turn(agent);
        self.cloud_turn();
    }

    fn cut(&mut self, agent: usize) {
        if self.links[agent].take().is_none() {
            return;
        }
        self.cloud
            .coordinator
            .link_changed(self.ids[agent], LinkState::Disconnected, self.now);
        if self.devices[agent].up {
            self.devices[agent].node.link_down(self.now);
            self.after(1_000, 900_000, Happening::Connect { agent });
        }
    }

    fn stop_device(&mut self, agent: usize, power: bool) {
        if !self.devices[agent].up {
            return;
        }
        let unsynced = self.devices[agent].node_last().n - self.devices[agent].synced.n;
        let keep = if power { self.random.between(0, unsynced) } else { unsynced };
        self.devices[agent].stop(keep);
        self.cut(agent);
        self.after(1_000, 900_000, Happening::Start { agent });
    }
}

impl Device {
    fn node_last(&self) -> Position {
        self.journal.last().map_or(
            Position {
                generation: self.synced.generation,
                n: 0,
            },
            |(p, _)| *p,
        )
    }
}

fn describe(happening: &Happening) -> String {
    match happening {
        Happening::ToCloud { agent, link, message } => format!("agent {agent} link {link} -> cloud: {message:?}"),
        Happening::ToAgent { agent, link, message } => match &**message {
            ToAgent::Assign(a) => format!(
                "cloud -> agent {agent} link {link}: assign {} {:?} {:?} {:?} facts {:?}",
                a.run, a.fragment, a.epoch, a.tasks, a.facts
            ),
            other => format!("cloud -> agent {agent} link {link}: {other:?}"),
        },
        Happening::AttemptEnds { agent, id, .. } => format!("agent {agent}: attempt ends {id:?}"),
        Happening::SyncEnds { agent, position, .. } => format!("agent {agent}: synced {}", position.n),
        Happening::UploadEnds { agent, .. } => format!("agent {agent}: upload ends"),
        Happening::CommitEnds { life } => format!("cloud life {life}: commit ends"),
        Happening::Connect { agent } => format!("agent {agent}: connects"),
        Happening::Cut { agent } => format!("agent {agent}: link cut"),
        Happening::Stop { agent, power } => format!("agent {agent}: stops, power cut: {power}"),
        Happening::Start { agent } => format!("agent {agent}: starts"),
        Happening::KillCloud => "cloud: killed".into(),
        Happening::StartCloud => "cloud: starts".into(),
        Happening::Submit { run, .. } => format!("submit {run}"),
        Happening::Tick => "tick".into(),
    }
}

//! The control plane: the real coordinator, and the order between its commits and what others see of it.

use crate::blobs::named;
use crate::clocks::Clocks;
use crate::mutant::Mutant;
use crate::outside::Outside;
use crate::random::hash;
use crate::scenario::Scenario;
use crate::store::{Store, Write};
use eyot_coordinator::{Command, Coordinator, Submission};
use eyot_model::{AgentId, Digest, Event, LinkState, Path, Resolution, RunId, RunOutcome, Timestamp};
use eyot_wire::{ReportItem, ToAgent, ToCloud};
use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// What others see, once what it follows from is stored.
#[derive(Debug)]
pub enum Effect {
    Send {
        agent: AgentId,
        message: Box<ToAgent>,
    },
    /// A client hears that its run is accepted, or that its cancel is noted.
    Accepted(RunId),
    CancelNoted(RunId),
    /// Events of the run up to this one are on its stream.
    Streamed {
        run: RunId,
        seq: u64,
    },
    Ended {
        run: RunId,
        outcome: RunOutcome,
    },
}

/// In the order in which the coordinator wanted it.
enum Item {
    Write(Write),
    Effect(Effect),
}

pub struct Cloud {
    pub coordinator: Coordinator,
    pub store: Store,
    /// Bytes that agents have brought here. They are stored before they count.
    pub blobs: BTreeSet<Digest>,
    pub scenarios: BTreeMap<RunId, Scenario>,
    pub up: bool,
    pub life: u64,
    pub clocks: Clocks,
    pub alarms: Vec<(AgentId, String)>,
    /// Links by agent, as far as this side knows.
    pub links: BTreeMap<AgentId, u64>,
    waiting: VecDeque<Item>,
    in_flight: Option<Vec<Item>>,
    plans: u64,
    mutant: Option<Mutant>,
}

impl Cloud {
    #[must_use]
    pub fn new(scenarios: BTreeMap<RunId, Scenario>, mutant: Option<Mutant>) -> Self {
        Self {
            coordinator: Coordinator::new(),
            store: Store::default(),
            blobs: BTreeSet::new(),
            scenarios,
            up: true,
            life: 0,
            clocks: Clocks::default(),
            alarms: Vec::new(),
            links: BTreeMap::new(),
            waiting: VecDeque::new(),
            in_flight: None,
            plans: 0,
            mutant,
        }
    }

    /// A client submits a run, maybe again because no answer came.
    ///
    /// # Panics
    /// When the scenario's workflow does not compile.
    pub fn submit(&mut self, run: RunId, now: Timestamp) {
        let now = self.clocks.now(now);
        let known = self.store.runs.contains_key(&run) || self.coordinator.entry(run).is_some();
        if let Some(scenario) = self.scenarios.get(&run).filter(|_| !known) {
            let submission = Submission {
                run,
                workflow: scenario.workflow.clone(),
                inputs: scenario.inputs.clone(),
                created_at: now,
            };
            self.waiting.push_back(Item::Write(Write::NewRun(Box::new(submission.clone()))));
            if let Err(error) = self.coordinator.submit(submission, now) {
                panic!("the scenario does not compile: {error}");
            }
        }
        self.take(now);
        self.waiting.push_back(Item::Effect(Effect::Accepted(run)));
    }

    /// An operator stops a run.
    pub fn cancel(&mut self, run: RunId, now: Timestamp) {
        let now = self.clocks.now(now);
        let done = self.coordinator.cancel(run, "an operator", now);
        self.take(now);
        if done {
            self.waiting.push_back(Item::Effect(Effect::CancelNoted(run)));
        }
    }

    /// An operator says what became of the attempts whose end nobody knows: he looks whether the effect happened, and if
    /// not, wants it or does not.
    pub fn resolve(&mut self, outside: &Outside) {
        let waiting = |(run, entry): (RunId, &eyot_coordinator::Entry)| entry.run.unknown().map(|path| (run, path)).collect::<Vec<_>>();
        let unknown: Vec<(RunId, Path)> = self.coordinator.entries().flat_map(waiting).collect();
        for (run, path) in unknown {
            let resolution = word_on(run, path, outside);
            if let Resolution::Succeeded(outputs) = &resolution {
                // He brings the bytes that he names.
                self.blobs.extend(named(outputs.values()).iter().map(|blob| blob.digest));
            }
            // An agent that is out of contact is asked again later.
            let _ = self.coordinator.resolve(run, path.task, path.item, resolution, "an operator");
        }
    }

    /// A message of an agent.
    pub fn hears(&mut self, agent: AgentId, message: ToCloud, now: Timestamp) {
        let now = self.clocks.now(now);
        match message {
            ToCloud::Inventory(mut inventory) => {
                if self.mutant == Some(Mutant::NoFence) {
                    for held in &mut inventory.held {
                        if let Some(f) = self.coordinator.entry(held.run).and_then(|e| e.fragments.get(&held.fragment)) {
                            held.epoch = f.epoch;
                        }
                    }
                }
                self.coordinator.inventory(agent, &inventory, now);
            }
            ToCloud::Report(mut report) => {
                let mut from = agent;
                if self.mutant == Some(Mutant::NoFence) {
                    for item in &mut report.items {
                        from = self.unfence(item).unwrap_or(from);
                    }
                }
                if self.mutant == Some(Mutant::NoDeduplication) {
                    self.plans += 1;
                    for item in &mut report.items {
                        give_new_identity(&mut item.event, self.plans);
                    }
                }
                self.coordinator.reported(from, report, now);
            }
            ToCloud::Accepted { run, fragment, epoch } => self.coordinator.accepted(agent, run, fragment, epoch),
            ToCloud::Refused { run, fragment, epoch, why } => self.coordinator.refused(agent, run, fragment, epoch, &why, now),
            ToCloud::Saved { run, fragment, state } => self.coordinator.saved(agent, run, fragment, *state),
            ToCloud::Yielded { run, fragment, epoch, .. } => {
                let needed = self.coordinator.blobs_needed(run, fragment);
                let missing = needed.into_iter().filter(|digest| !self.blobs.contains(digest)).collect();
                self.coordinator.yielded(agent, run, fragment, epoch, &missing, now);
            }
            ToCloud::OwnRun(told) => {
                let ended = self.store.foreign.get(&told.run).filter(|foreign| foreign.outcome.is_some());
                let ended = ended.map(|foreign| foreign.events.len() as u64);
                self.coordinator.own_run(agent, *told, true, ended, now);
            }
            ToCloud::OwnRunGone { run } => self.coordinator.own_run_gone(agent, run, now),
            ToCloud::Deployed(_) | ToCloud::Hello(_) | ToCloud::Heartbeat(_) | ToCloud::Logs(_) | ToCloud::Profile(_) => {}
        }
    }

    /// Shows an item under the present epoch; gives the present owner.
    fn unfence(&self, item: &mut ReportItem) -> Option<AgentId> {
        let fragment = self.coordinator.entry(item.run)?.fragments.get(&item.fragment)?;
        item.epoch = fragment.epoch;
        if let Event::Started { epoch, .. } | Event::Ended { epoch, .. } = &mut item.event {
            *epoch = fragment.epoch;
        }
        fragment.agent
    }

    /// What the link of an agent does, as this side sees it.
    pub fn link_changed(&mut self, agent: AgentId, state: LinkState, link: Option<u64>, now: Timestamp) {
        match link {
            Some(link) => drop(self.links.insert(agent, link)),
            None => drop(self.links.remove(&agent)),
        }
        self.coordinator.link_changed(agent, state, self.clocks.now(now));
        if state == LinkState::Connected {
            self.coordinator.fleet_changed();
        }
    }

    /// Takes the coordinator's commands, in order.
    fn take(&mut self, now: Timestamp) {
        while let Some(command) = self.coordinator.poll_command() {
            match command {
                Command::Commit(change) => {
                    let streamed = if let eyot_coordinator::Change::Event { run, seq, .. } = &change {
                        Some(Effect::Streamed { run: *run, seq: *seq })
                    } else {
                        None
                    };
                    self.waiting.push_back(Item::Write(Write::Change(change)));
                    self.waiting.extend(streamed.map(Item::Effect));
                }
                Command::Send { agent, message } => self.waiting.push_back(Item::Effect(Effect::Send { agent, message })),
                Command::Plan { run } => self.plan(run, now),
                Command::Replan { run, fragment, exclude } => {
                    self.plans += 1;
                    let open: Vec<AgentId> = self.links.keys().filter(|agent| !exclude.contains(agent)).copied().collect();
                    let any = hash(&[self.plans, self.life, u64::from(fragment.0)]) % (open.len() as u64).max(1);
                    let found = open.get(usize::try_from(any).unwrap_or(0)).copied();
                    if found.is_some() {
                        let needed = self.coordinator.blobs_needed(run, fragment);
                        let missing = needed.into_iter().filter(|digest| !self.blobs.contains(digest)).collect();
                        self.coordinator.note_missing(run, fragment, missing);
                    }
                    let found = found.ok_or_else(|| "no other agent is connected".to_owned());
                    self.coordinator.replanned(run, fragment, found, now);
                }
                Command::Alarm { agent, message, .. } => self.alarms.push((agent, message)),
                Command::Ended { run, outcome } => self.waiting.push_back(Item::Effect(Effect::Ended { run, outcome })),
            }
        }
    }

    fn plan(&mut self, run: RunId, now: Timestamp) {
        self.plans += 1;
        let agents: Vec<AgentId> = self.links.keys().copied().collect();
        let plan = self
            .scenarios
            .get(&run)
            .and_then(|s| s.plan(&agents, hash(&[self.plans, self.life])));
        match plan {
            Some(plan) => self.coordinator.planned(run, plan, now),
            None => self.coordinator.unplaceable(run, "no agent is connected".into()),
        }
    }

    /// Takes what the coordinator wants; gives what may be seen at once. True if a commit has to begin.
    pub fn turn(&mut self, now: Timestamp) -> (Vec<Effect>, bool) {
        self.take(self.clocks.now(now));
        let mut seen = Vec::new();
        if self.mutant == Some(Mutant::NoPersistBeforeAct) {
            let (writes, effects): (Vec<Item>, Vec<Item>) = self.waiting.drain(..).partition(|item| matches!(item, Item::Write(_)));
            self.waiting.extend(writes);
            seen.extend(effects.into_iter().filter_map(effect));
        }
        if self.in_flight.is_some() || self.waiting.is_empty() {
            return (seen, false);
        }
        if self.waiting.iter().all(|item| matches!(item, Item::Effect(_))) {
            seen.extend(self.waiting.drain(..).filter_map(effect));
            return (seen, false);
        }
        self.in_flight = Some(self.waiting.drain(..).collect());
        (seen, true)
    }

    /// The transaction that began ended: all of it is in the store, and what follows from it may be seen.
    ///
    /// # Errors
    /// A guard that does not hold.
    pub fn committed(&mut self) -> Result<Vec<Effect>, String> {
        let (mut writes, mut effects) = (Vec::new(), Vec::new());
        for item in self.in_flight.take().unwrap_or_default() {
            match item {
                Item::Write(write) => writes.push(write),
                Item::Effect(effect) => effects.push(effect),
            }
        }
        self.store.commit(writes)?;
        Ok(effects)
    }

    pub fn kill(&mut self) {
        self.up = false;
        self.life += 1;
        self.in_flight = None;
        self.waiting.clear();
        self.links.clear();
        self.coordinator = Coordinator::new();
    }

    /// Comes back with what the store holds.
    ///
    /// # Panics
    /// When a stored workflow does not compile.
    pub fn start(&mut self, now: Timestamp) {
        self.clocks.begin(now);
        let now = self.clocks.now(now);
        self.coordinator = Coordinator::new();
        self.up = true;
        for (agent, through) in &self.store.heard {
            self.coordinator.restore_heard(*agent, *through);
        }
        for stored in self.store.open_foreign() {
            if let Err(error) = self.coordinator.restore_foreign(stored) {
                panic!("a stored run of an agent's own cannot be read: {error}");
            }
        }
        for stored in self.store.open_runs() {
            if let Err(error) = self.coordinator.restore(stored, now) {
                panic!("a stored workflow does not compile: {error}");
            }
        }
    }

    /// When the coordinator wants to be called, in true time.
    #[must_use]
    pub fn due(&self) -> Option<Timestamp> {
        let at = self.coordinator.poll_timeout().filter(|_| self.up)?;
        Some(self.clocks.when(at))
    }

    /// How each ended run ended, by the store.
    #[must_use]
    pub fn ended(&self) -> usize {
        self.store.runs.values().filter(|row| row.outcome.is_some()).count()
    }
}

/// What an operator says of an attempt whose end nobody knows.
pub(crate) fn word_on(run: RunId, path: Path, outside: &Outside) -> Resolution {
    match outside.effect_of(run, path) {
        Some(outputs) => Resolution::Succeeded(outputs.clone()),
        None if hash(&[run.0 as u64, u64::from(path.task.0)]).is_multiple_of(3) => Resolution::Failed,
        None => Resolution::Retry,
    }
}

fn effect(item: Item) -> Option<Effect> {
    match item {
        Item::Effect(effect) => Some(effect),
        Item::Write(_) => None,
    }
}

/// As if the same thing told twice were two things.
fn give_new_identity(event: &mut Event, delivery: u64) {
    if let Event::Started { attempt, .. } | Event::Ended { attempt, .. } = event {
        *attempt += u32::try_from(delivery).unwrap_or(0) * 1_000;
    }
}

//! The world: a clock, a queue of what happens next, machines, links, and the observers outside.

use crate::check::{check, check_own, replay};
use crate::cloud::Cloud;
use crate::device::{Device, Process};
use crate::happening::{Happening, Inside, describe};
use crate::mutant::Mutant;
use crate::outside::Outside;
use crate::own::Schedule;
use crate::random::{Random, hash};
use crate::scenario::Scenario;
use crate::weather::{self, Trouble, Weather};
use eyot_model::{AgentId, Digest, LinkState, Outcome, RunId, RunState, State, TaskIx, Timestamp};
use eyot_wire::{SavedBody, ToCloud};
use std::collections::{BTreeMap, BTreeSet};

/// What came of a world.
#[derive(Clone, Debug)]
pub struct Report {
    pub seed: u64,
    /// The same for the same seed, whatever machine ran it.
    pub state_hash: u64,
    pub steps: u64,
    pub attempts: u64,
    pub result: Result<(), String>,
}

/// What a world begins with.
#[derive(Clone, Debug)]
pub struct Setup {
    pub seed: u64,
    pub machines: usize,
    /// When each run is submitted, in microseconds, and what it is. Runs count from 1.
    pub runs: Vec<(u64, Scenario)>,
    pub weather: Weather,
    /// When the schedule of a machine comes due, in microseconds.
    pub instants: Vec<(u64, usize)>,
    pub mutant: Option<Mutant>,
    /// From then on nothing goes wrong, in microseconds.
    pub peace: u64,
}

/// Chaos ends here; after it everything comes back and must come to an end.
const PEACE: u64 = 4_000_000;
/// A world that is not done so long after peace never will be.
const PATIENCE: u64 = 600_000_000;
/// The true time at the beginning.
const BEGINNING: u64 = 1_800_000_000_000_000;
/// How often an operator looks after what waits for one.
const OPERATOR: u64 = 500_000;
/// Heart-beats missed for this long end a link for the cloud.
const MISSED: u64 = 300_000;

impl Setup {
    /// Everything drawn from a seed.
    #[must_use]
    pub fn random(seed: u64) -> Self {
        let mut r = Random::new(seed);
        let machines = r.between(1, 4);
        let runs = r.between(1, 3);
        let scenarios: Vec<_> = (0..runs)
            .map(|n| (r.below(300_000), Scenario::random(hash(&[seed, 77, n]))))
            .collect();
        let repeatable = scenarios.iter().all(|(_, s)| s.workflow.tasks.iter().all(|t| t.idempotent));
        let mut weather = weather::random(&mut r, machines, runs, PEACE / 3, repeatable);
        // Who takes work away from a machine that is gone, without a policy, answers for what must not be done twice.
        if machines > 1 && repeatable && r.chance(15) {
            weather.push((r.between(100_000, PEACE / 3), Trouble::Lose { machine: 0 }));
        }
        // A schedule on a damaged disk may begin anew, and tell of its instants otherwise than before.
        let damaged = weather.iter().any(|(_, trouble)| matches!(trouble, Trouble::FlipBit { .. }));
        let instants = (0..r.below(4)).filter(|_| !damaged);
        let instants = instants.map(|_| (r.between(10_000, PEACE / 3), usize::try_from(r.below(machines)).unwrap_or(0)));
        let instants = instants.collect();
        Self {
            seed,
            machines: usize::try_from(machines).unwrap_or(1),
            runs: scenarios,
            weather,
            instants,
            mutant: None,
            peace: PEACE,
        }
    }

    /// A world without weather.
    #[must_use]
    pub fn calm(machines: usize) -> Self {
        Self {
            seed: 1,
            machines,
            runs: Vec::new(),
            weather: Weather::new(),
            instants: Vec::new(),
            mutant: None,
            peace: 0,
        }
    }

    /// The same with a run that is submitted after 100 ms.
    #[must_use]
    pub fn with(mut self, scenario: Scenario) -> Self {
        self.runs.push((100_000, scenario));
        self
    }
}

pub struct World {
    pub(crate) random: Random,
    pub now: Timestamp,
    queue: BTreeMap<(Timestamp, u64), Happening>,
    scheduled: u64,
    pub cloud: Cloud,
    pub devices: Vec<Device>,
    pub outside: Outside,
    pub(crate) next_link: u64,
    /// Links that carry nothing any more, whether or not both sides have seen it: what is lost of a stream is lost with
    /// everything behind it.
    pub(crate) broken: BTreeSet<u64>,
    /// When the last message in each direction arrives, so that order is kept.
    pub(crate) arrivals: BTreeMap<(usize, bool), u64>,
    /// What waits for a process that stands still.
    deferred: BTreeMap<usize, Vec<Happening>>,
    /// Until when each machine finds no way to the cloud, in microseconds.
    pub(crate) cut_off_until: BTreeMap<usize, u64>,
    /// What machines start by themselves.
    pub schedules: BTreeMap<usize, Schedule>,
    /// The next tick that is in the queue.
    tick: u64,
    pub(crate) seed: u64,
    hash: u64,
    steps: u64,
    peace: u64,
    /// Tell on standard error what happens.
    pub trace: bool,
}

impl World {
    #[must_use]
    pub fn new(setup: Setup) -> Self {
        let seed = setup.seed;
        let ids = 1..=setup.machines as u128;
        let devices = (0..)
            .zip(ids)
            .map(|(i, id)| Device::new(i, AgentId(id), hash(&[seed, 5, id as u64]), setup.mutant));
        let runs = (1..).map(RunId).zip(&setup.runs);
        let scenarios = runs.clone().map(|(run, (_, scenario))| (run, scenario.clone())).collect();
        let mut world = Self {
            random: Random::new(hash(&[seed, 9])),
            now: Timestamp(BEGINNING),
            queue: BTreeMap::new(),
            scheduled: 0,
            cloud: Cloud::new(scenarios, setup.mutant),
            devices: devices.collect(),
            outside: Outside::default(),
            next_link: 0,
            broken: BTreeSet::new(),
            arrivals: BTreeMap::new(),
            deferred: BTreeMap::new(),
            cut_off_until: BTreeMap::new(),
            schedules: BTreeMap::new(),
            tick: u64::MAX,
            seed,
            hash: seed,
            steps: 0,
            peace: setup.peace,
            trace: false,
        };
        for machine in 0..setup.machines {
            world.at(0, Happening::Start { machine });
        }
        for (run, (at, _)) in runs {
            world.at(*at, Happening::Submit { run });
        }
        world.cloud.clocks.begin(world.now);
        world.at(OPERATOR, Happening::Operator);
        for (at, machine) in setup.instants {
            world.at(at, Happening::Instant { machine });
        }
        for (at, trouble) in setup.weather {
            world.at(at, Happening::Trouble(trouble));
        }
        world
    }

    /// Microseconds since the beginning.
    #[must_use]
    pub fn elapsed(&self) -> u64 {
        self.now.0 - BEGINNING
    }

    /// Something happens so long after the beginning, in microseconds.
    pub fn at(&mut self, micros: u64, happening: Happening) {
        self.scheduled += 1;
        let at = Timestamp((BEGINNING + micros).max(self.now.0));
        self.queue.insert((at, self.scheduled), happening);
    }

    pub(crate) fn after(&mut self, low: u64, high: u64, happening: Happening) {
        let delay = self.random.between(low, high);
        self.at(self.elapsed() + delay, happening);
    }

    /// Something goes wrong now.
    pub fn trouble(&mut self, trouble: Trouble) {
        self.at(self.elapsed(), Happening::Trouble(trouble));
    }

    /// Goes on until something is so; false where it never is.
    pub fn until(&mut self, so: impl Fn(&Self) -> bool) -> bool {
        while !so(self) {
            if !self.step() {
                return false;
            }
        }
        true
    }

    /// Goes on for so long, in microseconds.
    pub fn pass(&mut self, micros: u64) {
        let end = self.elapsed() + micros;
        while self.queue.first_key_value().is_some_and(|((at, _), _)| at.0 <= BEGINNING + end) && self.step() {}
        self.now = Timestamp(self.now.0.max(BEGINNING + end));
    }

    /// The state of a task as the cloud has it; of an ended run, as it was stored.
    #[must_use]
    pub fn state(&self, run: u128, task: &str) -> Option<State> {
        let ix = self.task(run, task)?;
        if let Some(entry) = self.cloud.coordinator.entry(RunId(run)) {
            return Some(entry.run.tasks()[ix.index()].own.state);
        }
        let replayed = replay(RunId(run), &self.cloud.store.runs.get(&RunId(run))?.history()).ok()?;
        Some(replayed.tasks()[ix.index()].own.state)
    }

    /// The state of a task as a machine has it.
    #[must_use]
    pub fn state_at(&self, machine: usize, run: u128, task: &str) -> Option<State> {
        let ix = self.task(run, task)?;
        let held = self.devices[machine].process.as_ref()?.node.run(RunId(run))?;
        Some(held.tasks()[ix.index()].own.state)
    }

    fn task(&self, run: u128, task: &str) -> Option<TaskIx> {
        let tasks = &self.cloud.scenarios.get(&RunId(run))?.workflow.tasks;
        let at = tasks.iter().position(|t| t.name == task)?;
        u32::try_from(at).ok().map(TaskIx)
    }

    /// How a run ended, by the store.
    #[must_use]
    pub fn outcome(&self, run: u128) -> Option<RunState> {
        self.cloud.store.runs.get(&RunId(run))?.outcome.as_ref().map(|o| o.state)
    }

    /// Runs until every run has ended and nothing is left to tell; the invariant has to hold then.
    ///
    /// # Errors
    /// What does not hold.
    pub fn finish(&mut self) -> Result<(), String> {
        while !self.is_over() && self.step() {}
        match self.outside.broken.take() {
            Some(why) => Err(why),
            None => check(&self.cloud, &self.outside, &self.devices).and_then(|()| check_own(self)),
        }
    }

    /// Runs to the end and checks.
    #[must_use]
    pub fn run(mut self) -> Report {
        let result = self.finish();
        for row in self.cloud.store.runs.values() {
            for event in &row.events {
                self.hash = hash(&[self.hash, event.at().0, event.task().map_or(0, |t| u64::from(t.0))]);
            }
        }
        Report {
            seed: self.seed,
            state_hash: hash(&[self.hash, self.now.0, self.steps]),
            steps: self.steps,
            attempts: self.devices.iter().map(|d| d.started).sum(),
            result,
        }
    }

    fn is_over(&self) -> bool {
        if self.outside.broken.is_some() || self.elapsed() > self.peace + PATIENCE {
            return true;
        }
        let quiet = || {
            let told = |p: &Process| !p.node.has_unreported() && p.node.own_runs().all(|(_, own)| own.is_told() && own.ended_at.is_some());
            let settled = |d: &Device| d.lost || d.process.as_ref().is_some_and(told);
            let fired = |(machine, s): (&usize, &Schedule)| s.is_done() || self.devices[*machine].lost;
            self.cloud.up && self.devices.iter().all(settled) && self.schedules.iter().all(fired)
        };
        self.elapsed() > self.peace && self.cloud.ended() == self.cloud.scenarios.len() && quiet()
    }

    /// The next thing happens; false where nothing ever will.
    fn step(&mut self) -> bool {
        if self.outside.broken.is_some() || self.elapsed() > self.peace + PATIENCE {
            return false;
        }
        let Some(((at, _), happening)) = self.queue.pop_first() else {
            return false;
        };
        self.now = at;
        self.steps += 1;
        if self.trace {
            eprintln!("{} {}", self.elapsed(), describe(&happening));
        }
        self.happens(happening);
        if self.trace {
            let positions = |d: &Device| d.positions().map(|(appended, synced)| format!("{}/{}", synced.n, appended.n));
            let told: Vec<String> = self.devices.iter().map(|d| positions(d).unwrap_or_default()).collect();
            eprintln!("      durable of appended: {}", told.join(", "));
        }
        true
    }

    fn happens(&mut self, happening: Happening) {
        match happening {
            Happening::Submit { run } => self.submit(run),
            Happening::Cancel { run } => self.cancel(run),
            Happening::ToCloud {
                machine,
                link,
                late,
                life,
                message,
            } => {
                let agent = self.devices[machine].id;
                let present = self.cloud.links.get(&agent) == Some(&link);
                // What a link greeted with is out of date once there is another one: the control plane looks for that.
                let open = present || (late && !matches!(*message, ToCloud::Inventory(_)));
                if open && self.cloud.up && self.cloud.life == life {
                    self.cloud.hears(agent, *message, self.now);
                    self.cloud_turn();
                }
            }
            Happening::ToAgent {
                machine,
                link,
                ref message,
            } => {
                let here = self.devices[machine].process.as_ref().is_some_and(|p| p.link == Some(link));
                let open = here && !self.broken.contains(&link);
                if self.devices[machine].frozen && open {
                    self.defer(machine, happening);
                } else if open {
                    let message = (**message).clone();
                    let effects = self.devices[machine].turn(self.now, |node, now| node.handle_message(message, now));
                    self.device_effects(machine, effects);
                }
            }
            Happening::Process { machine, life, what } => {
                if self.devices[machine].life != life || !self.devices[machine].is_up() {
                    return;
                }
                if self.devices[machine].frozen {
                    return self.defer(machine, Happening::Process { machine, life, what });
                }
                self.inside(machine, what);
            }
            Happening::CommitEnds { life } => {
                if self.cloud.life == life {
                    match self.cloud.committed() {
                        Ok(effects) => effects.into_iter().for_each(|effect| self.cloud_effect(effect)),
                        Err(why) => self.outside.breaks(format!("a commit was refused: {why}")),
                    }
                    self.cloud_turn();
                }
            }
            Happening::Connect { machine } => self.connect(machine),
            Happening::CloudMisses { agent, link } => {
                if self.cloud.links.get(&agent) == Some(&link) {
                    self.cloud.link_changed(agent, LinkState::Disconnected, None, self.now);
                    self.cloud_turn();
                }
            }
            Happening::MachineMisses { machine, link } => {
                if self.devices[machine].frozen {
                    return self.defer(machine, Happening::MachineMisses { machine, link });
                }
                self.machine_misses(machine, link);
            }
            Happening::Start { machine } => self.start(machine),
            Happening::Thaw { machine, life } => self.thaw(machine, life),
            Happening::Room { machine } => self.devices[machine].disk.set_capacity(None),
            Happening::StartCloud => {
                self.cloud.start(self.now);
                self.check_acknowledged();
                self.cloud_turn();
            }
            Happening::Trouble(trouble) => self.goes_wrong(trouble),
            Happening::Operator => self.operator(),
            Happening::Drain { machine, on } => {
                let agent = self.devices[machine].id;
                if self.cloud.up {
                    if on {
                        self.cloud.coordinator.move_all(agent);
                    } else {
                        self.cloud.coordinator.call_off_moves(agent);
                    }
                    self.cloud_turn();
                }
            }
            Happening::Instant { machine } => self.instant(machine),
            Happening::FireDue { machine } => self.fire_due(machine),
            Happening::Tick => self.tick(),
        }
    }

    fn inside(&mut self, machine: usize, what: Inside) {
        match what {
            Inside::Equip(id) => self.equip(machine, &id),
            Inside::Effect(id) => {
                let outcome = self.outcome_of(machine, &id);
                if let Some(Outcome::Succeeded(outputs)) = outcome {
                    self.outside.effect(id, outputs);
                }
            }
            Inside::AttemptEnds(id) => self.attempt_ends(machine, &id),
            Inside::BlobsSynced(id, outcome) => {
                self.devices[machine].blobs.sync();
                self.write_down_end(machine, &id, *outcome);
            }
            Inside::Saves(id) => self.saves(machine, id),
            Inside::StateSynced(id, blob) => {
                self.devices[machine].blobs.sync();
                self.write_down_state(machine, id, SavedBody::Blob(blob));
            }
            Inside::StateUploaded(link, message) => self.state_uploaded(machine, link, *message),
            Inside::Kills(id, power) => {
                if self.devices[machine].process.as_ref().is_some_and(|p| p.running.contains_key(&id)) {
                    let lasts = self.random.between(1_000, 100_000);
                    self.stop(machine, power, lasts);
                }
            }
            Inside::SyncEnds => {
                let fold = self.random.chance(8);
                let effects = self.devices[machine].sync(self.now, fold);
                self.tell_kept(machine);
                self.device_effects(machine, effects);
            }
            Inside::UploadEnds(digest) => self.upload_ends(machine, digest),
            Inside::Beat => self.beat(machine),
            Inside::BeatAnswered { link, sent_at } => {
                if self.devices[machine].process.as_ref().is_some_and(|p| p.link == Some(link)) {
                    let effects = self.devices[machine].turn(self.now, |node, now| node.acknowledged(sent_at, now));
                    self.device_effects(machine, effects);
                }
            }
            Inside::Retry => {
                let effects = self.devices[machine].turn(self.now, |_, _| {});
                self.device_effects(machine, effects);
            }
        }
    }

    pub(crate) fn submit(&mut self, run: RunId) {
        if self.outside.submitted.contains(&run) {
            return;
        }
        if self.cloud.up {
            self.cloud.submit(run, self.now);
            self.cloud_turn();
        }
        self.after(20_000, 100_000, Happening::Submit { run });
    }

    fn cancel(&mut self, run: RunId) {
        let over = self.cloud.store.runs.get(&run).is_some_and(|row| row.outcome.is_some());
        if over || self.outside.cancelled.contains(&run) {
            return;
        }
        if self.cloud.up && self.outside.submitted.contains(&run) {
            self.cloud.cancel(run, self.now);
            self.cloud_turn();
        }
        self.after(20_000, 100_000, Happening::Cancel { run });
    }

    fn operator(&mut self) {
        if self.cloud.up {
            let now = self.cloud.clocks.now(self.now);
            for lost in self.devices.iter().filter(|d| d.lost) {
                self.cloud.coordinator.expel(lost.id, "an operator removed it", now);
            }
            self.cloud.resolve(&self.outside);
            self.cloud_turn();
        }
        (0..self.devices.len()).for_each(|machine| self.resolve_own(machine));
        self.at(self.elapsed() + OPERATOR, Happening::Operator);
    }

    fn defer(&mut self, machine: usize, happening: Happening) {
        self.deferred.entry(machine).or_default().push(happening);
    }

    fn thaw(&mut self, machine: usize, life: u64) {
        // What an earlier life put off went with it.
        if self.devices[machine].life != life {
            return;
        }
        self.devices[machine].frozen = false;
        self.at(self.elapsed(), Happening::Tick);
        for happening in self.deferred.remove(&machine).unwrap_or_default() {
            self.at(self.elapsed(), happening);
        }
    }

    fn tick(&mut self) {
        self.tick = u64::MAX;
        for machine in 0..self.devices.len() {
            let device = &self.devices[machine];
            if !device.frozen && device.due().is_some_and(|at| at <= self.now) {
                let effects = self.devices[machine].turn(self.now, |node, now| node.handle_timeout(now));
                self.device_effects(machine, effects);
            }
        }
        if self.cloud.due().is_some_and(|at| at <= self.now) {
            self.cloud.coordinator.handle_timeout(self.cloud.clocks.now(self.now));
            self.cloud_turn();
        }
        self.plan_tick();
    }

    /// Puts the earliest time-out of all into the queue.
    pub(crate) fn plan_tick(&mut self) {
        let devices = self.devices.iter().filter(|d| !d.frozen).filter_map(Device::due);
        if let Some(at) = devices.chain(self.cloud.due()).min() {
            // A time-out that handling did not settle comes again, later.
            let at = at.0.max(self.now.0 + 1_000);
            if at < self.tick {
                self.tick = at;
                self.at(at - BEGINNING, Happening::Tick);
            }
        }
    }

    /// The messages of a link that are on their way to the cloud, in order; they do not arrive any more.
    pub(crate) fn take_in_flight(&mut self, of: usize, on: u64) -> Vec<Happening> {
        let keys: Vec<(Timestamp, u64)> = self
            .queue
            .iter()
            .filter(|(_, h)| matches!(h, Happening::ToCloud { machine, link, .. } if *machine == of && *link == on))
            .map(|(key, _)| *key)
            .collect();
        keys.into_iter().filter_map(|key| self.queue.remove(&key)).collect()
    }

    pub(crate) fn drop_deferred(&mut self, machine: usize) {
        self.deferred.remove(&machine);
    }

    pub(crate) fn missed_after(&self) -> u64 {
        MISSED
    }

    /// A blob that the cloud has.
    pub(crate) fn cloud_has(&self, digest: &Digest) -> bool {
        self.cloud.blobs.contains(digest)
    }
}

//! Runs that machines coordinate themselves: a schedule fires on each, whatever its link does, and every instant is one run
//! that the control plane hears of.

use crate::blobs::named;
use crate::cloud::word_on;
use crate::happening::Happening;
use crate::outside::digest_of;
use crate::random::hash;
use crate::scenario::Scenario;
use crate::world::World;
use eyot_model::{Digest, Event, Expr, Inputs, Millis, Path, Resolution, RunId, Template, Timestamp, Trigger, TriggerSource, Value};
use eyot_node::{Fired, Happening as Firing, TriggerKey};
use eyot_wire::{Deployment, OwnRun as Told};
use std::collections::BTreeMap;
use std::sync::Arc;

const TRIGGER: &str = "nightly";

/// What the schedule of a machine starts.
#[derive(Clone, Debug)]
pub struct Schedule {
    pub scenario: Scenario,
    /// Instants that have come.
    due: Vec<Timestamp>,
    /// Runs that were started.
    pub runs: BTreeMap<RunId, Timestamp>,
}

impl Schedule {
    /// A workflow whose outputs are those of one of its tasks, if that has any: the control plane gets their bytes before it
    /// hears of the end.
    #[must_use]
    pub fn random(seed: u64) -> Self {
        let mut scenario = Scenario::random(seed);
        let mut workflow = (*scenario.workflow).clone();
        workflow.name = "own".into();
        let any = hash(&[seed, 12]) % (workflow.tasks.len() as u64).max(1);
        let source = format!("has(tasks.t{any}.outputs) ? tasks.t{any}.outputs : 0");
        workflow.outputs = BTreeMap::from([("all".to_owned(), Template::Expr(Expr { source }))]);
        let inputs = scenario.inputs.iter();
        workflow.triggers = vec![Trigger {
            name: TRIGGER.into(),
            source: TriggerSource::Schedule {
                cron: "0 3 * * *".into(),
                time_zone: "UTC".into(),
                catch_up: Millis(3_600_000),
            },
            filter: None,
            inputs: inputs
                .map(|(name, value)| (name.clone(), Template::Literal(value.clone())))
                .collect(),
        }];
        scenario.workflow = Arc::new(workflow);
        Self {
            scenario,
            due: Vec::new(),
            runs: BTreeMap::new(),
        }
    }

    fn deployment(&self) -> Deployment {
        Deployment {
            revision: 1,
            workflow: Arc::clone(&self.scenario.workflow),
            text: String::new(),
        }
    }

    /// Every instant that has come has started a run.
    #[must_use]
    pub fn is_done(&self) -> bool {
        self.runs.len() == self.due.len()
    }
}

/// The observers' memory of machines' own runs: what was told of them, and what a crash may not take.
#[derive(Debug, Default)]
pub struct OwnTold {
    /// What each event said that left its machine, by its number.
    said: BTreeMap<(usize, RunId, u64), Digest>,
    /// The events of each run that were durable when its machine stopped last.
    kept: BTreeMap<(usize, RunId), Vec<Digest>>,
    /// How many events of each run the cloud said to have.
    pub acknowledged: BTreeMap<RunId, u64>,
}

impl OwnTold {
    pub fn forgive(&mut self, machine: usize) {
        self.said.retain(|(of, ..), _| *of != machine);
        self.kept.retain(|(of, _), _| *of != machine);
    }

    pub(crate) fn acknowledged(&mut self, run: RunId, through: u64) {
        let known = self.acknowledged.entry(run).or_default();
        *known = (*known).max(through);
    }

    /// What is wrong with an event that leaves a machine.
    fn leaves(&mut self, machine: usize, run: RunId, number: u64, event: &Event) -> Option<String> {
        let digest = digest_of(event);
        let taken_back = *self.said.entry((machine, run, number)).or_insert(digest) != digest;
        taken_back.then(|| format!("agent {machine} took back event {number} of its run {run}: it says {event:?} now"))
    }
}

impl World {
    /// A machine tells of a run of its own.
    pub(crate) fn own_run_leaves(&mut self, machine: usize, told: &Told) {
        let device = &self.devices[machine];
        let synced = device.positions().map(|(_, synced)| synced).unwrap_or_default();
        let own = device.process.as_ref().and_then(|process| process.node.own_run(told.run));
        let durable = own.filter(|own| own.is_durable(synced)).map(|own| own.durable(synced) as u64);
        let last = told.first + told.events.len() as u64 - 1;
        if durable.is_none_or(|durable| durable < last) {
            let run = told.run;
            self.outside.breaks(format!(
                "agent {machine} told of event {last} of its run {run} where {durable:?} are durable"
            ));
        }
        for (number, event) in (told.first..).zip(&told.events) {
            if let Some(why) = self.outside.own.leaves(machine, told.run, number, event) {
                self.outside.breaks(why);
            }
            let Event::RunEnded { outcome, .. } = event else { continue };
            if let Some(blob) = named(outcome.outputs.values()).iter().find(|blob| !self.cloud_has(&blob.digest)) {
                let (run, digest) = (told.run, blob.digest);
                self.outside.breaks(format!(
                    "agent {machine} told of the end of its run {run} before output {digest} was in the cloud"
                ));
            }
        }
    }

    /// A machine is about to stop: what of its own runs is durable has to be there afterwards; without a power cut
    /// whatever was written has.
    pub(crate) fn note_own(&mut self, machine: usize, power: bool) {
        let device = &self.devices[machine];
        let (Some(process), Some((appended, synced))) = (&device.process, device.positions()) else {
            return;
        };
        let through = if power { synced } else { appended };
        // What only a kill had left may be lost to this.
        self.outside.own.kept.retain(|(of, _), _| *of != machine);
        for (run, own) in process.node.own_runs().filter(|(_, own)| own.is_durable(through)) {
            let events = own.events.iter().take(own.durable(through));
            let events = events.map(|(_, event)| digest_of(event)).collect();
            self.outside.own.kept.insert((machine, run), events);
        }
    }

    pub(crate) fn check_own_kept(&mut self, machine: usize) {
        let Some(process) = &self.devices[machine].process else { return };
        let kept = self.outside.own.kept.iter().filter(|((of, _), _)| *of == machine);
        for ((_, run), events) in kept {
            let now: Vec<Digest> = match process.node.own_run(*run) {
                Some(own) => own.events.iter().map(|(_, event)| digest_of(event)).collect(),
                None => {
                    let why = format!("agent {machine} had run {run} of its own on its disk, and does not know it any more");
                    return self.outside.breaks(why);
                }
            };
            if !now.starts_with(events) {
                let (had, has) = (events.len(), now.len());
                let why = format!("agent {machine} had {had} events of its run {run} on its disk; it has {has}, or others");
                return self.outside.breaks(why);
            }
        }
    }

    /// An instant of a machine's schedule comes.
    pub(crate) fn instant(&mut self, machine: usize) {
        let now = self.now;
        let schedule = self
            .schedules
            .entry(machine)
            .or_insert_with(|| Schedule::random(hash(&[self.seed, 88, machine as u64])));
        // A schedule has whole instants, and no two at once.
        let at = (now.0 / 1_000 + schedule.due.len() as u64) * 1_000;
        schedule.due.push(Timestamp(at));
        self.fire_due(machine);
    }

    /// The machine's listener tells of every instant that has come, as it does of those that it missed.
    pub(crate) fn fire_due(&mut self, machine: usize) {
        let Some(schedule) = self.schedules.get(&machine).cloned() else {
            return;
        };
        if self.devices[machine].lost || !self.devices[machine].is_up() {
            return;
        }
        if self.devices[machine].frozen {
            return self.after(50_000, 100_000, Happening::FireDue { machine });
        }
        let key = TriggerKey {
            namespace: schedule.scenario.workflow.namespace.clone(),
            workflow: schedule.scenario.workflow.name.clone(),
            trigger: TRIGGER.into(),
        };
        let agent = self.devices[machine].id;
        let mut fired = Vec::new();
        let effects = self.devices[machine].turn(self.now, |node, now| {
            node.deploy(schedule.deployment(), now);
            let event = Value::Map(Inputs::new());
            let fire = |at: &Timestamp| (*at, node.fire(agent, &key, &Firing::Instant(*at), &event, now));
            fired.extend(schedule.due.iter().map(fire));
        });
        for (at, outcome) in fired {
            match outcome {
                Ok(Fired::Run(run)) => self.started(machine, run, at),
                Ok(Fired::Known | Fired::Filtered) => {}
                Err(why) => self
                    .outside
                    .breaks(format!("agent {machine} does not start a run of its own: {why}")),
            }
        }
        self.carry_out(machine, effects);
    }

    fn started(&mut self, machine: usize, run: RunId, at: Timestamp) {
        let Some(schedule) = self.schedules.get_mut(&machine) else { return };
        if schedule.runs.insert(run, at).is_some_and(|before| before != at) {
            self.outside.breaks(format!("agent {machine} started run {run} for two instants"));
        }
    }

    /// An operator at the machine says what became of attempts of its own runs whose end nobody knows.
    pub(crate) fn resolve_own(&mut self, machine: usize) {
        let device = &self.devices[machine];
        let Some(process) = device.process.as_ref().filter(|_| !device.frozen) else {
            return;
        };
        let open = process.node.own_runs().filter_map(|(run, _)| Some((run, process.node.run(run)?)));
        let unknown: Vec<(RunId, Path)> = open.flat_map(|(run, held)| held.unknown().map(move |path| (run, path))).collect();
        for (run, path) in unknown {
            let resolution = word_on(run, path, &self.outside);
            let device = &mut self.devices[machine];
            if let Resolution::Succeeded(outputs) = &resolution {
                named(outputs.values()).iter().for_each(|blob| device.blobs.write(blob.digest));
                device.blobs.sync();
            }
            let effects = device.turn(self.now, |node, now| {
                // What does not wait any more has gone on.
                let _ = node.resolve(run, path.task, path.item, resolution, "an operator", now);
            });
            self.carry_out(machine, effects);
        }
    }

    /// What the run does, whoever coordinates it.
    pub(crate) fn scenario_of(&self, run: RunId) -> Option<&Scenario> {
        let own = || self.schedules.values().find(|schedule| schedule.runs.contains_key(&run));
        self.cloud.scenarios.get(&run).or_else(|| Some(&own()?.scenario))
    }
}

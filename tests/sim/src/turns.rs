//! What the cloud and the machines want done, done: messages, syncs, attempts, uploads.

use crate::blobs::named;
use crate::cloud::Effect as CloudEffect;
use crate::device::Effect;
use crate::happening::{Happening, Inside};
use crate::task::Nature;
use crate::world::World;
use eyot_model::{AttemptId, Digest, Outcome};
use eyot_wire::ToCloud;

/// Between two heart-beats.
const BEAT: u64 = 100_000;

impl World {
    pub(crate) fn cloud_turn(&mut self) {
        if !self.cloud.up {
            return;
        }
        let (effects, commit) = self.cloud.turn(self.now);
        if commit {
            let life = self.cloud.life;
            self.after(100, 8_000, Happening::CommitEnds { life });
        }
        effects.into_iter().for_each(|effect| self.cloud_effect(effect));
        self.plan_tick();
    }

    pub(crate) fn cloud_effect(&mut self, effect: CloudEffect) {
        match effect {
            CloudEffect::Send { agent, message } => {
                self.outside.cloud_sends(agent, &message);
                let Some(link) = self.cloud.links.get(&agent).copied() else {
                    return;
                };
                let with = |d: &crate::device::Device| d.process.as_ref().is_some_and(|p| p.link == Some(link));
                let Some(machine) = self.devices.iter().position(with) else {
                    return;
                };
                let at = self.arrival(machine, false);
                self.at(at, Happening::ToAgent { machine, link, message });
            }
            CloudEffect::Accepted(run) => drop(self.outside.submitted.insert(run)),
            CloudEffect::CancelNoted(run) => drop(self.outside.cancelled.insert(run)),
            CloudEffect::Streamed { run, seq } => drop(self.outside.streamed.insert(run, seq)),
            CloudEffect::Ended { run, outcome } => drop(self.outside.finished.insert(run, outcome)),
        }
    }

    /// The cloud is back: what it said before is still so.
    pub(crate) fn check_acknowledged(&mut self) {
        let store = &self.cloud.store;
        for (agent, said) in &self.outside.acknowledged {
            let known = store.heard.get(agent).copied().unwrap_or_default();
            if known.generation == said.generation && known.n < said.n || (known.generation == 0 && said.n > 0) {
                let why = format!(
                    "the cloud acknowledged record {} of agent {agent}, and has stored {}",
                    said.n, known.n
                );
                return self.outside.breaks(why);
            }
        }
        for run in &self.outside.submitted {
            if !store.runs.contains_key(run) {
                let why = format!("the cloud accepted run {run} and does not know it");
                return self.outside.breaks(why);
            }
        }
        for (run, seq) in &self.outside.streamed {
            let stored = store.events_of(*run);
            if stored < *seq {
                let why = format!("event {seq} of run {run} was on its stream, and {stored} are stored");
                return self.outside.breaks(why);
            }
        }
        for (run, through) in &self.outside.own.acknowledged {
            let stored = store.events_of(*run);
            if stored < *through {
                let why = format!("the cloud acknowledged event {through} of an agent's own run {run}, and {stored} are stored");
                return self.outside.breaks(why);
            }
        }
        for (run, outcome) in &self.outside.finished {
            let stored = store.outcome_of(*run);
            if stored != Some(outcome) {
                let why = format!("run {run} was told to be {}, and the store says {stored:?}", outcome.state);
                return self.outside.breaks(why);
            }
        }
    }

    /// Does what a machine wants done, after something was said to its node directly.
    pub fn carry_out(&mut self, machine: usize, effects: Vec<Effect>) {
        self.device_effects(machine, effects);
    }

    pub(crate) fn device_effects(&mut self, machine: usize, effects: Vec<Effect>) {
        for effect in effects {
            match effect {
                Effect::Send(message) => self.device_sends(machine, message),
                Effect::Began(id) => self.process(machine, 0, 0, Inside::Equip(id)),
                Effect::Stopped(id) => {
                    if let Some(running) = self.devices[machine].process.as_mut().and_then(|p| p.running.get_mut(&id)) {
                        running.stop = true;
                        self.process(machine, 50, 5_000, Inside::AttemptEnds(id));
                    }
                }
                Effect::Sync { urgent: true } => self.process(machine, 100, 12_000, Inside::SyncEnds),
                Effect::Sync { urgent: false } => self.process(machine, 25_000, 40_000, Inside::SyncEnds),
                Effect::Upload(blob) => self.process(machine, 100, 50_000, Inside::UploadEnds(blob.digest)),
                Effect::Stuck => self.process(machine, 50_000, 200_000, Inside::Retry),
            }
        }
        self.send_states(machine);
        self.plan_tick();
    }

    pub(crate) fn process(&mut self, machine: usize, low: u64, high: u64, what: Inside) {
        let life = self.devices[machine].life;
        self.after(low, high, Happening::Process { machine, life, what });
    }

    pub(crate) fn device_sends(&mut self, machine: usize, message: ToCloud) {
        let Some(link) = self.devices[machine].process.as_ref().and_then(|p| p.link) else {
            return;
        };
        match &message {
            ToCloud::Report(report) => self.outside.report_leaves(machine, report),
            ToCloud::Accepted { run, fragment, epoch } => self.outside.acceptance_leaves(machine, *run, *fragment, *epoch),
            ToCloud::OwnRun(told) => self.own_run_leaves(machine, told),
            ToCloud::Saved { state, .. } => self.outside.state_leaves(machine, state),
            _ => {}
        }
        // A link ends with the process at its other end: what is sent to one that is gone reaches no later one.
        if self.broken.contains(&link) || !self.cloud.up {
            return;
        }
        let at = self.arrival(machine, true);
        let life = self.cloud.life;
        self.at(
            at,
            Happening::ToCloud {
                machine,
                link,
                late: false,
                life,
                message: Box::new(message),
            },
        );
    }

    /// Order within a link and a direction is kept.
    pub(crate) fn arrival(&mut self, machine: usize, up: bool) -> u64 {
        let earliest = self.arrivals.get(&(machine, up)).map_or(0, |t| t + 1);
        let at = (self.elapsed() + self.random.between(50, 60_000)).max(earliest);
        self.arrivals.insert((machine, up), at);
        at
    }

    /// A heart-beat goes out, and the next one is due soon, as long as there is a link.
    pub(crate) fn beat(&mut self, machine: usize) {
        let device = &self.devices[machine];
        let Some(link) = device.process.as_ref().and_then(|p| p.link) else {
            return;
        };
        let sent_at = device.clock(self.now);
        if self.cloud.up && self.cloud.links.get(&device.id) == Some(&link) && !self.broken.contains(&link) {
            self.process(machine, 200, 60_000, Inside::BeatAnswered { link, sent_at });
        }
        self.process(machine, BEAT, BEAT, Inside::Beat);
    }

    /// An attempt gets what it needs and runs, or waits for it.
    pub(crate) fn equip(&mut self, machine: usize, id: &AttemptId) {
        let device = &self.devices[machine];
        let Some(running) = device.process.as_ref().and_then(|p| p.running.get(id)).cloned() else {
            return;
        };
        let missing: Vec<Digest> = named(running.inputs.values())
            .into_iter()
            .map(|blob| blob.digest)
            .filter(|digest| !device.blobs.holds(digest))
            .collect();
        if !missing.is_empty() && !running.stop {
            let linked = device.process.as_ref().is_some_and(|p| p.link.is_some()) && self.cloud.up;
            if linked && missing.iter().all(|digest| self.cloud_has(digest)) {
                missing.into_iter().for_each(|digest| self.devices[machine].blobs.write(digest));
                return self.process(machine, 100, 20_000, Inside::Equip(*id));
            }
            return self.process(machine, 30_000, 60_000, Inside::Equip(*id));
        }
        let resumed = self.take_up(machine, id);
        let Some(scenario) = self.scenario_of(id.run) else {
            return;
        };
        let habit = scenario.habit(id.path.task);
        let seed = scenario.seed;
        let idempotent = scenario.workflow.task(id.path.task).idempotent;
        let does = matches!(habit.outcome(seed, id, &running.inputs, running.stamp), Outcome::Succeeded(_));
        let takes = self.random.between(habit.takes.0, habit.takes.1) >> u32::from(resumed);
        if habit.saves {
            for part in 1..3 {
                self.process(machine, takes * part / 3, takes * part / 3, Inside::Saves(*id));
            }
        }
        match habit.nature(seed, id.path) {
            Nature::Kills { power } => self.process(machine, takes, takes, Inside::Kills(*id, power)),
            Nature::Succeeds | Nature::SucceedsAfter(_) | Nature::Fails => {
                if !idempotent && does {
                    let at = self.random.below(takes);
                    self.process(machine, at, at, Inside::Effect(*id));
                }
                self.process(machine, takes, takes, Inside::AttemptEnds(*id));
            }
        }
    }

    /// What an attempt came to is made durable and written down.
    pub(crate) fn attempt_ends(&mut self, machine: usize, id: &AttemptId) {
        let Some(outcome) = self.outcome_of(machine, id) else { return };
        let blobs = match &outcome {
            Outcome::Succeeded(outputs) => named(outputs.values()),
            _ => Vec::new(),
        };
        if blobs.is_empty() {
            return self.write_down_end(machine, id, outcome);
        }
        for blob in blobs {
            self.devices[machine].blobs.write(blob.digest);
        }
        self.process(machine, 100, 5_000, Inside::BlobsSynced(*id, Box::new(outcome)));
    }

    /// What an attempt that runs comes to.
    pub(crate) fn outcome_of(&self, machine: usize, id: &AttemptId) -> Option<Outcome> {
        let running = self.devices[machine].process.as_ref()?.running.get(id)?;
        Some(match self.scenario_of(id.run) {
            Some(scenario) if !running.stop => scenario
                .habit(id.path.task)
                .outcome(scenario.seed, id, &running.inputs, running.stamp),
            _ => Outcome::Cancelled,
        })
    }

    pub(crate) fn write_down_end(&mut self, machine: usize, id: &AttemptId, outcome: Outcome) {
        let ran = self.devices[machine].process.as_mut().and_then(|p| p.running.remove(id)).is_some();
        if ran {
            let effects = self.devices[machine].attempt_ended(id, outcome, self.now);
            self.device_effects(machine, effects);
        }
    }

    pub(crate) fn upload_ends(&mut self, machine: usize, digest: Digest) {
        let linked = self.devices[machine].process.as_ref().is_some_and(|p| p.link.is_some());
        if !linked || !self.cloud.up {
            return;
        }
        let held = self.devices[machine].blobs.holds(&digest);
        if held {
            self.cloud.blobs.insert(digest);
        }
        // What another agent had brought there is there all the same.
        let there = held || self.cloud_has(&digest);
        let effects = self.devices[machine].turn(
            self.now,
            |node, _| if there { node.uploaded(digest) } else { node.blob_lost(digest) },
        );
        self.device_effects(machine, effects);
    }
}

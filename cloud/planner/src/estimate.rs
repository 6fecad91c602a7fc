//! Predictions of a real run: durations from history, transfers from link speeds, arrivals of components and blobs.

use crate::fleet::{AgentIx, Fleet, mean_of_greater};
use crate::graph::Node;
use crate::history::History;
use crate::needs::Classes;
use crate::reads::Reads;
use crate::schedule::{Cost, Eligible, Standing, Work};
use eyot_model::{Digest, Workflow};
use std::collections::BTreeMap;

/// Duration of an attempt about which nothing is known, on the reference device.
pub(crate) const DEFAULT_MS: f64 = 1_000.0;
/// What starting an attempt takes at least: no prediction is shorter.
const LEAST_MS: f64 = 0.05;
/// Compiling a component, per byte, on the reference device.
const COMPILE_MS_PER_BYTE: f64 = 1.6e-3;

/// A component as it concerns this fleet.
#[derive(Debug)]
struct Component {
    /// On the reference device.
    ms: f64,
    /// Where it ran before.
    measured: Vec<(AgentIx, f64)>,
    /// Mean over the fleet, as a multiple of what speeds alone say.
    correction: f64,
    size: u64,
    holders: Vec<AgentIx>,
}

#[derive(Debug)]
pub(crate) struct Estimate<'a> {
    fleet: &'a Fleet<'a>,
    classes: &'a Classes,
    reads: &'a Reads,
    components: Vec<Component>,
    component_of: Vec<u32>,
    blob_holders: Vec<Vec<AgentIx>>,
    mean_round_trips: f64,
    mean_ms_per_byte: f64,
}

impl<'a> Estimate<'a> {
    pub(crate) fn new(
        workflow: &Workflow,
        fleet: &'a Fleet<'a>,
        classes: &'a Classes,
        reads: &'a Reads,
        history: &History,
        standing: &[Standing],
    ) -> Self {
        let mut components = Vec::new();
        let mut known: BTreeMap<Option<Digest>, u32> = BTreeMap::new();
        let mut component_of = vec![0; workflow.tasks.len()];
        for (n, task) in workflow.tasks.iter().enumerate() {
            if standing[n] == Standing::Open {
                component_of[n] = *known.entry(task.uses.digest).or_insert_with(|| {
                    components.push(Component::new(task.uses.digest, task.uses.size, fleet, history));
                    u32::try_from(components.len() - 1).unwrap_or(u32::MAX)
                });
            }
        }
        // Means over where work can go; the last entries are the cloud's.
        let usable: Vec<usize> = (0..fleet.len()).filter(|&a| fleet.usable(a)).collect();
        let of = |figures: &[f64]| usable.iter().map(|&a| figures[a]).collect::<Vec<f64>>();
        let round_trips = of(&fleet.round_trip);
        #[allow(clippy::cast_precision_loss)] // a count of agents
        let count = usable.len().max(1) as f64;
        let several = usable.len() > 1;
        Self {
            mean_round_trips: if several {
                2.0 * round_trips.iter().sum::<f64>() / count
            } else {
                0.0
            },
            mean_ms_per_byte: if several {
                mean_of_greater(&of(&fleet.up), &of(&fleet.down))
            } else {
                0.0
            },
            blob_holders: reads.blobs.iter().map(|blob| holders(fleet, blob.digest)).collect(),
            fleet,
            classes,
            reads,
            components,
            component_of,
        }
    }

    fn component(&self, task: Node) -> &Component {
        &self.components[self.component_of[task as usize] as usize]
    }
}

impl Component {
    fn new(digest: Option<Digest>, size: u64, fleet: &Fleet<'_>, history: &History) -> Self {
        let ms = digest.and_then(|d| history.reference_ms(d)).unwrap_or(DEFAULT_MS).max(LEAST_MS);
        let measured: Vec<(AgentIx, f64)> = digest
            .into_iter()
            .flat_map(|d| history.agents_ms(d))
            .filter_map(|(id, ms)| Some((fleet.find(id)?, ms.max(LEAST_MS))))
            .collect();
        let by_speed: f64 = fleet.inverse_speed.iter().map(|s| s * ms).sum();
        let change: f64 = measured.iter().map(|&(a, own)| own - ms * fleet.inverse_speed[a as usize]).sum();
        Self {
            ms,
            correction: if by_speed > 0.0 { (by_speed + change) / by_speed } else { 1.0 },
            measured,
            size,
            holders: digest.map(|d| holders(fleet, d)).unwrap_or_default(),
        }
    }
}

fn holders(fleet: &Fleet<'_>, digest: Digest) -> Vec<AgentIx> {
    (0..fleet.cloud()).filter(|&a| fleet.profile(a).holds.contains(&digest)).collect()
}

impl Cost for Estimate<'_> {
    fn eligible(&self, task: Node) -> &[Eligible] {
        &self.classes.of(task).eligible
    }

    fn work(&self, task: Node) -> Work {
        self.reads.work[task as usize]
    }

    fn durations(&self, task: Node, on: &mut [f64]) {
        let component = self.component(task);
        for (ms, inverse) in on.iter_mut().zip(&self.fleet.inverse_speed) {
            *ms = (component.ms * inverse).max(LEAST_MS);
        }
        for &(agent, ms) in &component.measured {
            on[agent as usize] = ms;
        }
    }

    /// Components and blobs are asked for as soon as the fragment is there, so that what is fetched does not wait for
    /// the tasks before.
    fn arrivals(&self, task: Node, on: &mut [f64]) {
        #[allow(clippy::cast_precision_loss)] // sizes in an estimate
        let (component, bytes) = (self.component(task), self.component(task).size as f64);
        let fleet = self.fleet;
        for (a, ms) in on.iter_mut().enumerate() {
            *ms = fleet.round_trip[a] + bytes * (fleet.down[a] + COMPILE_MS_PER_BYTE * fleet.inverse_speed[a]);
        }
        if component.size == 0 {
            on.fill(0.0); // not known, so nothing to tell agents apart by
        }
        for &agent in &component.holders {
            on[agent as usize] = 0.0;
        }
        for &blob in self.reads.blobs_of.get(task) {
            let holders = &self.blob_holders[blob as usize];
            #[allow(clippy::cast_precision_loss)] // sizes in an estimate
            let bytes = self.reads.blobs[blob as usize].size as f64;
            let mut held = holders.iter().peekable();
            for (agent, ms) in (0..).zip(on.iter_mut()) {
                if held.next_if_eq(&&agent).is_none() {
                    *ms += fleet.round_trip[agent as usize] + bytes * fleet.down[agent as usize];
                }
            }
        }
    }

    #[inline]
    fn transfer(&self, from: AgentIx, to: AgentIx, bytes: f64) -> f64 {
        self.fleet.transfer(from, to, bytes)
    }

    fn mean_duration(&self, task: Node) -> f64 {
        let (component, class, work) = (self.component(task), self.classes.of(task), self.work(task));
        let one = component.ms * component.correction * class.mean_inverse_speed;
        let at_once = class.mean_lanes.min(f64::from(work.most_at_once)).max(1.0);
        (one * (f64::from(work.items) / at_once).ceil()).max(LEAST_MS)
    }

    fn mean_transfer(&self, bytes: f64) -> f64 {
        self.mean_round_trips + bytes * self.mean_ms_per_byte
    }

    fn tie(&self, agent: AgentIx) -> u32 {
        self.fleet.shuffled_rank[agent as usize]
    }
}

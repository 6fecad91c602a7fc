//! What earlier attempts took: the ground of every prediction.

use eyot_model::{AgentId, Digest};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Most components that are remembered; those not seen for longest go first.
pub const MAX_COMPONENTS: usize = 4_096;
/// Most pairs of component and agent that are remembered.
pub const MAX_PAIRS: usize = 65_536;

/// Weight of the newest figure once there are some: about the last ten count.
const NEWEST: f64 = 0.2;
/// Longest time that is believed, in milliseconds: a year.
const LONGEST_MS: f64 = 3.2e10;
/// Largest output that is believed, in bytes: 1 PB.
const LARGEST_BYTES: f64 = 1e15;

/// A mean that follows what changes: the plain mean of the first figures, then exponentially weighted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Mean {
    value: f64,
    count: u32,
}

impl Mean {
    fn add(&mut self, figure: f64) {
        self.count = self.count.saturating_add(1);
        let weight = (1.0 / f64::from(self.count)).max(NEWEST);
        self.value += weight * (figure - self.value);
    }

    /// None before the first figure. A stored figure that is no number counts as none, and none is beyond belief.
    #[must_use]
    pub fn get(&self) -> Option<f64> {
        (self.count > 0 && self.value.is_finite() && self.value >= 0.0).then_some(self.value.min(LARGEST_BYTES))
    }

    /// How many figures went in.
    #[must_use]
    pub fn count(&self) -> u32 {
        self.count
    }
}

/// What one successful attempt took.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Observation {
    pub component: Digest,
    pub agent: AgentId,
    /// The agent's speed as in its profile, by which the duration is made comparable between agents.
    pub speed: f64,
    /// From start to end of the attempt.
    pub wall_micros: u64,
    /// All outputs, the blobs that they name included.
    pub output_bytes: u64,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
struct Component {
    /// Milliseconds on the reference device.
    duration: Mean,
    output_bytes: Mean,
    /// Items of a `forEach` over this component.
    items: Mean,
    /// Milliseconds on each agent, and when last seen.
    agents: BTreeMap<AgentId, (Mean, u64)>,
    seen: u64,
}

/// Durations, output sizes and item counts of earlier attempts by component, and durations by agent too. Bounded, so
/// that it can be stored whole and handed to each planning. Serialisable; it is never sent to agents.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct History {
    /// Counts the records: the age of what is remembered.
    records: u64,
    components: BTreeMap<Digest, Component>,
}

impl History {
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes in what a successful attempt took. Failed attempts say nothing about how long the work takes: leave them out.
    pub fn record(&mut self, seen: &Observation) {
        #[allow(clippy::cast_precision_loss)] // a mean of measurements
        let (ms, bytes) = (
            (seen.wall_micros as f64 / 1_000.0).min(LONGEST_MS),
            (seen.output_bytes as f64).min(LARGEST_BYTES),
        );
        let now = self.tick();
        let component = self.components.entry(seen.component).or_default();
        component.seen = now;
        component.duration.add(ms * crate::fleet::sane_speed(seen.speed));
        component.output_bytes.add(bytes);
        let pairs_before = component.agents.len();
        let (mean, at) = component.agents.entry(seen.agent).or_default();
        mean.add(ms);
        *at = now;
        let grown = component.agents.len() > pairs_before;
        self.trim_components(seen.component);
        if grown {
            self.trim_pairs();
        }
    }

    /// Takes in how many items a `forEach` over `component` had.
    pub fn record_items(&mut self, component: Digest, count: u32) {
        let now = self.tick();
        let entry = self.components.entry(component).or_default();
        entry.seen = now;
        entry.items.add(f64::from(count));
        self.trim_components(component);
    }

    /// Forgets an agent that was removed for good.
    pub fn forget_agent(&mut self, agent: AgentId) {
        for component in self.components.values_mut() {
            component.agents.remove(&agent);
        }
    }

    /// Mean duration of one attempt on the reference device, in milliseconds.
    #[must_use]
    pub fn reference_ms(&self, component: Digest) -> Option<f64> {
        self.components.get(&component)?.duration.get()
    }

    /// Mean duration of one attempt on `agent`, in milliseconds.
    #[must_use]
    pub fn agent_ms(&self, component: Digest, agent: AgentId) -> Option<f64> {
        self.components.get(&component)?.agents.get(&agent)?.0.get()
    }

    pub(crate) fn agents_ms(&self, component: Digest) -> impl Iterator<Item = (AgentId, f64)> {
        let agents = self.components.get(&component).into_iter().flat_map(|c| &c.agents);
        agents.filter_map(|(agent, (mean, _))| Some((*agent, mean.get()?)))
    }

    /// Mean size of the outputs of one attempt, in bytes.
    #[must_use]
    pub fn output_bytes(&self, component: Digest) -> Option<f64> {
        self.components.get(&component)?.output_bytes.get()
    }

    /// Mean number of items of a `forEach` over `component`.
    #[must_use]
    pub fn items(&self, component: Digest) -> Option<f64> {
        self.components.get(&component)?.items.get()
    }

    /// Mean duration over all components on the reference device, in milliseconds: what an attempt takes about which
    /// nothing else is known, such as one that another run has queued on an agent.
    #[must_use]
    pub fn typical_ms(&self) -> Option<f64> {
        let (mut sum, mut count) = (0.0, 0.0);
        for component in self.components.values() {
            if let Some(ms) = component.duration.get() {
                let weight = f64::from(component.duration.count.min(100));
                sum += ms * weight;
                count += weight;
            }
        }
        (count > 0.0).then(|| sum / count)
    }

    /// Whether nothing is remembered.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.components.is_empty()
    }

    fn tick(&mut self) -> u64 {
        self.records = self.records.saturating_add(1);
        self.records
    }

    /// Back within bounds, an eighth at a time so that it is done seldom. `keep` was just recorded.
    fn trim_components(&mut self, keep: Digest) {
        if self.components.len() <= MAX_COMPONENTS {
            return;
        }
        let mut ages: Vec<_> = self.components.iter().map(|(d, c)| (c.seen, *d)).collect();
        ages.sort_unstable();
        for (_, digest) in ages.into_iter().take(MAX_COMPONENTS / 8).filter(|(_, d)| *d != keep) {
            self.components.remove(&digest);
        }
    }

    fn trim_pairs(&mut self) {
        if self.components.values().map(|c| c.agents.len()).sum::<usize>() <= MAX_PAIRS {
            return;
        }
        let mut ages: Vec<_> = self
            .components
            .iter()
            .flat_map(|(digest, c)| c.agents.iter().map(|(agent, (_, at))| (*at, *digest, *agent)))
            .collect();
        ages.sort_unstable();
        for (_, digest, agent) in ages.into_iter().take(MAX_PAIRS / 8) {
            if let Some(component) = self.components.get_mut(&digest) {
                component.agents.remove(&agent);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn digest(n: u32) -> Digest {
        let mut bytes = [0; 32];
        bytes[..4].copy_from_slice(&n.to_le_bytes());
        Digest(bytes)
    }

    fn seen(component: u32, agent: u128, ms: u64) -> Observation {
        Observation {
            component: digest(component),
            agent: AgentId(agent),
            speed: 2.0,
            wall_micros: ms * 1_000,
            output_bytes: 10 * ms,
        }
    }

    #[test]
    fn the_first_figures_count_alike_and_then_the_newest_more() {
        let mut history = History::new();
        for ms in [100, 200, 300] {
            history.record(&seen(1, 1, ms));
        }
        assert_eq!(history.agent_ms(digest(1), AgentId(1)), Some(200.0));
        assert_eq!(history.reference_ms(digest(1)), Some(400.0));
        assert_eq!(history.output_bytes(digest(1)), Some(2_000.0));
        for _ in 0..40 {
            history.record(&seen(1, 1, 1_000));
        }
        assert!(history.agent_ms(digest(1), AgentId(1)).is_some_and(|ms| ms > 990.0));
    }

    #[test]
    fn an_agent_never_seen_has_no_figure_of_its_own() {
        let mut history = History::new();
        history.record(&seen(1, 1, 100));
        assert_eq!(history.agent_ms(digest(1), AgentId(2)), None);
        assert_eq!(history.reference_ms(digest(2)), None);
        assert_eq!(history.typical_ms(), Some(200.0));
        history.record_items(digest(1), 7);
        assert_eq!(history.items(digest(1)), Some(7.0));
        history.forget_agent(AgentId(1));
        assert_eq!(history.agent_ms(digest(1), AgentId(1)), None);
    }

    #[test]
    fn it_is_bounded_and_forgets_the_oldest() {
        let mut history = History::new();
        for n in 0..u32::try_from(MAX_COMPONENTS).unwrap() + 100 {
            history.record(&seen(n, 1, 5));
        }
        assert!(history.components.len() <= MAX_COMPONENTS);
        assert_eq!(history.reference_ms(digest(0)), None);
        assert!(history.reference_ms(digest(4_000)).is_some());
    }

    #[test]
    fn wild_figures_are_capped_and_it_reads_back() {
        let mut history = History::new();
        history.record(&Observation {
            speed: f64::NAN,
            wall_micros: u64::MAX,
            output_bytes: u64::MAX,
            ..seen(1, 1, 1)
        });
        assert!(history.reference_ms(digest(1)).is_some_and(|ms| ms <= LONGEST_MS));
        let bytes = postcard::to_stdvec(&history).unwrap();
        assert_eq!(postcard::from_bytes::<History>(&bytes).unwrap(), history);
        let json = serde_json::to_string(&history).unwrap();
        assert_eq!(serde_json::from_str::<History>(&json).unwrap(), history);
    }
}

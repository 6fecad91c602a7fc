//! The fleet as the scheduler works with it: flat, and with every figure from the wire brought within bounds.

use eyot_model::{AgentId, AgentProfile, LinkState};

/// An agent as it stands at the moment of planning.
#[derive(Clone, Copy, Debug)]
pub struct Candidate<'a> {
    pub profile: &'a AgentProfile,
    /// Takes no new work.
    pub draining: bool,
    pub link: LinkState,
}

/// Cores beyond this count are not used in a plan.
const MAX_LANES: u32 = 256;
/// A link that was never measured is taken for 10 Mbit/s.
const DEFAULT_BYTES_PER_MS: f64 = 1_250.0;
const MAX_ROUND_TRIP_MS: u64 = 60_000;
/// Longest time that the work an agent already has may keep it busy, in the eyes of a plan: a day.
const MAX_BACKLOG_MS: f64 = 86_400_000.0;

/// Speeds come from the wire: what is no positive number is taken for the reference device.
pub(crate) fn sane_speed(speed: f64) -> f64 {
    if speed.is_finite() && speed > 0.0 {
        speed.clamp(0.01, 1_000.0)
    } else {
        1.0
    }
}

/// Index of an agent in [`Fleet`].
pub(crate) type AgentIx = u32;

/// Figures of all agents by [`AgentIx`].
#[derive(Debug, Default)]
pub(crate) struct Fleet<'a> {
    pub(crate) candidates: Vec<Candidate<'a>>,
    /// One core each.
    pub(crate) lanes: Vec<u32>,
    pub(crate) inverse_speed: Vec<f64>,
    /// Milliseconds per byte towards the cloud. One more entry at the end: the cloud itself, as the place of data.
    pub(crate) up: Vec<f64>,
    /// Milliseconds per byte from the cloud. One more entry at the end, as above.
    pub(crate) down: Vec<f64>,
    /// Milliseconds. One more entry at the end: the cloud itself.
    pub(crate) round_trip: Vec<f64>,
    /// Agents in an order that the seed alone decides; the last ties are broken by it.
    pub(crate) shuffled_rank: Vec<u32>,
}

impl<'a> Fleet<'a> {
    /// The first of two candidates with the same id counts.
    pub(crate) fn new(candidates: &'a [Candidate<'a>], seed: u64) -> Self {
        let mut fleet = Self::default();
        let mut sorted: Vec<&Candidate<'a>> = candidates.iter().collect();
        sorted.sort_by_key(|c| c.profile.id);
        sorted.dedup_by_key(|c| c.profile.id);
        for candidate in sorted {
            let profile = candidate.profile;
            fleet.lanes.push((profile.capacity.cpu_millis / 1_000).clamp(1, MAX_LANES));
            fleet.inverse_speed.push(1.0 / sane_speed(profile.speed));
            fleet.up.push(ms_per_byte(profile.uplink_bytes_per_sec));
            fleet.down.push(ms_per_byte(profile.downlink_bytes_per_sec));
            #[allow(clippy::cast_precision_loss)] // capped before
            fleet.round_trip.push(profile.round_trip.0.min(MAX_ROUND_TRIP_MS) as f64);
            fleet.candidates.push(*candidate);
        }
        fleet.up.push(0.0);
        fleet.down.push(0.0);
        fleet.round_trip.push(0.0);
        let mut order: Vec<u32> = (0..u32::try_from(fleet.candidates.len()).unwrap_or(u32::MAX)).collect();
        order.sort_by_key(|&a| (mix(seed, fleet.id(a)), a));
        fleet.shuffled_rank = vec![0; order.len()];
        for (rank, agent) in (0..).zip(order) {
            fleet.shuffled_rank[agent as usize] = rank;
        }
        fleet
    }

    pub(crate) fn len(&self) -> usize {
        self.candidates.len()
    }

    /// Whether it takes new work now.
    pub(crate) fn usable(&self, agent: usize) -> bool {
        let candidate = &self.candidates[agent];
        candidate.link == LinkState::Connected && !candidate.draining && candidate.profile.load.disk.takes_work()
    }

    /// The place of data that lies in the cloud.
    pub(crate) fn cloud(&self) -> AgentIx {
        u32::try_from(self.len()).unwrap_or(u32::MAX)
    }

    pub(crate) fn profile(&self, agent: AgentIx) -> &'a AgentProfile {
        self.candidates[agent as usize].profile
    }

    pub(crate) fn id(&self, agent: AgentIx) -> AgentId {
        self.profile(agent).id
    }

    pub(crate) fn find(&self, id: AgentId) -> Option<AgentIx> {
        let found = self.candidates.binary_search_by_key(&id, |c| c.profile.id).ok()?;
        u32::try_from(found).ok()
    }

    /// Milliseconds from place to place by way of the cloud; nothing within one agent.
    pub(crate) fn transfer(&self, from: AgentIx, to: AgentIx, bytes: f64) -> f64 {
        if from == to {
            return 0.0;
        }
        let (from, to) = (from as usize, to as usize);
        self.round_trip[from] + self.round_trip[to] + bytes * self.up[from].max(self.down[to])
    }

    /// When each core is free of the work that the agent already has, in milliseconds from now, ascending. `typical_ms` is
    /// what an attempt about which nothing is known takes on the reference device.
    pub(crate) fn backlog(&self, agent: AgentIx, typical_ms: f64) -> Vec<f64> {
        let a = agent as usize;
        let load = self.candidates[a].profile.load;
        let lanes = self.lanes[a];
        let one = typical_ms * self.inverse_speed[a];
        let queued = f64::from(load.queued) / f64::from(lanes) * one;
        let busy = load.cpu_millis_used.div_ceil(1_000).min(lanes);
        // What runs is half done, on average.
        let free_at = |running: bool| (queued + if running { one / 2.0 } else { 0.0 }).min(MAX_BACKLOG_MS);
        (0..lanes).map(|lane| free_at(lane >= lanes - busy)).collect()
    }
}

fn ms_per_byte(bytes_per_sec: u64) -> f64 {
    if bytes_per_sec == 0 {
        return 1.0 / DEFAULT_BYTES_PER_MS;
    }
    #[allow(clippy::cast_precision_loss)] // a measured rate
    let rate = bytes_per_sec as f64;
    1_000.0 / rate
}

/// A well-spread number from seed and agent (the finaliser of SplitMix64).
fn mix(seed: u64, agent: AgentId) -> u64 {
    #[allow(clippy::cast_possible_truncation)] // both halves are used
    let (low, high) = (agent.0 as u64, (agent.0 >> 64) as u64);
    let mut z = seed ^ low.rotate_left(17) ^ high;
    for _ in 0..2 {
        z = z.wrapping_add(0x9e37_79b9_7f4a_7c15);
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^= z >> 31;
    }
    z
}

/// The mean of the greater one over all pairs of `a` and `b`.
pub(crate) fn mean_of_greater(a: &[f64], b: &[f64]) -> f64 {
    if a.is_empty() || b.is_empty() {
        return 0.0;
    }
    let mut sorted = b.to_vec();
    sorted.sort_by(f64::total_cmp);
    // sums[i]: of sorted[i..]
    let mut sums = vec![0.0; sorted.len() + 1];
    for i in (0..sorted.len()).rev() {
        sums[i] = sums[i + 1] + sorted[i];
    }
    let total: f64 = a
        .iter()
        .map(|&x| {
            let below = sorted.partition_point(|&y| y <= x);
            #[allow(clippy::cast_precision_loss)] // counts of agents
            let own = x * below as f64;
            own + sums[below]
        })
        .sum();
    #[allow(clippy::cast_precision_loss)] // counts of agents
    let pairs = (a.len() * b.len()) as f64;
    total / pairs
}

#[cfg(test)]
mod tests {
    use super::*;
    use eyot_model::{Capacity, Load, Millis};

    fn profile() -> AgentProfile {
        AgentProfile {
            id: AgentId(1),
            name: "camera".into(),
            site: None,
            labels: [].into(),
            capabilities: [].into(),
            capacity: Capacity {
                cpu_millis: 4_000,
                ..Capacity::default()
            },
            platform: "linux/x86_64".into(),
            version: "0.1.0".into(),
            uplink_bytes_per_sec: 1_000_000,
            downlink_bytes_per_sec: 2_000_000,
            round_trip: Millis(10),
            speed: 2.0,
            load: Load {
                queued: 8,
                cpu_millis_used: 1_500,
                ..Load::default()
            },
            holds: [].into(),
        }
    }

    #[test]
    fn figures_from_the_wire_are_brought_within_bounds() {
        for (speed, sane) in [
            (f64::NAN, 1.0),
            (f64::INFINITY, 1.0),
            (-3.0, 1.0),
            (0.0, 1.0),
            (1e-9, 0.01),
            (1e9, 1e3),
            (2.5, 2.5),
        ] {
            assert!((sane_speed(speed) - sane).abs() < 1e-12, "{speed}");
        }
        let mut wild = profile();
        wild.capacity.cpu_millis = u32::MAX;
        wild.round_trip = Millis(u64::MAX);
        wild.load.queued = u32::MAX;
        wild.load.cpu_millis_used = u32::MAX;
        let all = [Candidate {
            profile: &wild,
            draining: false,
            link: LinkState::Connected,
        }];
        let fleet = Fleet::new(&all, 0);
        assert_eq!(fleet.lanes, [MAX_LANES]);
        assert!(fleet.backlog(0, 1e10).iter().all(|ms| *ms <= MAX_BACKLOG_MS));
        assert!(fleet.transfer(0, fleet.cloud(), 1e9).is_finite());
    }

    #[test]
    fn the_load_of_an_agent_occupies_its_cores() {
        let profile = profile();
        let all = [Candidate {
            profile: &profile,
            draining: false,
            link: LinkState::Connected,
        }];
        let fleet = Fleet::new(&all, 0);
        // Two of four cores are in the middle of something; 8 queued attempts of 500 ms wait for four cores.
        assert_eq!(fleet.backlog(0, 1_000.0), [1_000.0, 1_000.0, 1_250.0, 1_250.0]);
    }

    #[test]
    fn data_goes_by_way_of_the_cloud_at_the_rate_of_the_slower_half() {
        let (a, mut b) = (profile(), profile());
        b.id = AgentId(2);
        b.downlink_bytes_per_sec = 500_000;
        let all = [
            Candidate {
                profile: &a,
                draining: false,
                link: LinkState::Connected,
            },
            Candidate {
                profile: &b,
                draining: false,
                link: LinkState::Connected,
            },
        ];
        let fleet = Fleet::new(&all, 0);
        assert!((fleet.transfer(0, 0, 1e9)).abs() < 1e-9);
        assert!((fleet.transfer(0, 1, 1e6) - 2_020.0).abs() < 1e-6);
        assert!((fleet.transfer(1, 0, 1e6) - 1_020.0).abs() < 1e-6);
        assert!((fleet.transfer(fleet.cloud(), 0, 1e6) - 510.0).abs() < 1e-6);
    }

    #[test]
    fn the_mean_of_the_greater_is_that_of_all_pairs() {
        let (a, b) = ([1.0, 5.0, 2.0], [3.0, 0.5]);
        let direct: f64 = a.iter().flat_map(|x| b.iter().map(move |y| f64::max(*x, *y))).sum::<f64>() / 6.0;
        assert!((mean_of_greater(&a, &b) - direct).abs() < 1e-12);
    }
}

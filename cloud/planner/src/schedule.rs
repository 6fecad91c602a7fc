//! Heterogeneous earliest finish time: tasks in order of their upward rank, each where it would end first, inserted
//! between what is already placed where it fits (Topcuoglu, Hariri, Wu: "Performance-effective and low-complexity task
//! scheduling for heterogeneous computing", IEEE TPDS 13(3), 2002).
//!
//! What differs from the paper: an agent has several lanes; a `forEach` takes several at once; agents that a task
//! prefers win unless they cost too much; and the next best agents are kept, for the explanation.

use crate::fleet::AgentIx;
use crate::graph::{Graph, Lists, Node, reversed};
use crate::lanes::Lanes;

/// A preferred agent wins as long as the task ends at most this many times later than on the best one.
pub(crate) const PREFERENCE: f64 = 1.25;
/// Alternatives kept for each task.
pub(crate) const ALTERNATIVES: usize = 3;

/// An agent that may run a task.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Eligible {
    pub(crate) agent: AgentIx,
    /// Lanes that one attempt takes there.
    pub(crate) width: u32,
    /// One bit for each of the task's preferences that the agent meets.
    pub(crate) preference: u8,
}

/// How often a task's component runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Work {
    /// 1 for a plain task.
    pub(crate) items: u32,
    pub(crate) most_at_once: u32,
}

/// An edge of the graph and the bytes that pass along it.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Edge {
    pub(crate) task: Node,
    pub(crate) bytes: f64,
}

/// Predictions, in milliseconds, finite and never negative.
pub(crate) trait Cost {
    /// By agent, ascending; never empty for a task that is to be placed.
    fn eligible(&self, task: Node) -> &[Eligible];
    fn work(&self, task: Node) -> Work;
    /// Fills in how long one attempt takes on each agent.
    fn durations(&self, task: Node, on: &mut [f64]);
    /// Fills in when the component, and inputs that lie in the cloud, can be on each agent.
    fn arrivals(&self, task: Node, on: &mut [f64]);
    fn transfer(&self, from: AgentIx, to: AgentIx, bytes: f64) -> f64;
    fn mean_duration(&self, task: Node) -> f64;
    fn mean_transfer(&self, bytes: f64) -> f64;
    /// Where agents end up in the last tie.
    fn tie(&self, agent: AgentIx) -> u32;
}

/// What a task would mean on one agent.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Prospect {
    pub(crate) agent: AgentIx,
    /// When its data is there.
    pub(crate) data: f64,
    /// When its component and the run's inputs are there.
    pub(crate) arrival: f64,
    pub(crate) start: f64,
    pub(crate) finish: f64,
    /// One attempt.
    pub(crate) duration: f64,
    pub(crate) preference: u8,
    lanes: u32,
}

/// Where a task was placed.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Placed {
    pub(crate) chosen: Prospect,
    /// Finish on the agent that ends first, which is another one where a preference decided.
    pub(crate) first_finish: f64,
    /// Best first; the first `others_len`.
    others: [Prospect; ALTERNATIVES],
    others_len: u8,
}

impl Placed {
    pub(crate) fn others(&self) -> &[Prospect] {
        &self.others[..self.others_len as usize]
    }
}

/// What is placed before scheduling begins: data of tasks that ended earlier lies there from the start.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Standing {
    /// To be placed.
    Open,
    /// Ended, or somebody else's; its outputs lie there.
    Settled(AgentIx),
    /// Never runs.
    Pruned,
}

/// Upward ranks: the longest way from each open task to an end, by mean times. The tasks are returned greatest first.
pub(crate) fn by_rank<C: Cost>(cost: &C, graph: &Graph, edges: &Lists<Edge>, standing: &[Standing]) -> Vec<(Node, f64)> {
    let count = u32::try_from(standing.len()).unwrap_or(u32::MAX);
    let after: Lists<Edge> = reversed(edges, count, |node, edge| (edge.task, Edge { task: node, ..edge }));
    let mut ranks = vec![0.0; standing.len()];
    let mut ordered = Vec::with_capacity(standing.len());
    for (place, &node) in graph.order.iter().enumerate().rev() {
        if standing[node as usize] != Standing::Open {
            continue;
        }
        let tail = after
            .get(node)
            .iter()
            .filter(|edge| standing[edge.task as usize] == Standing::Open)
            .map(|edge| cost.mean_transfer(edge.bytes) + ranks[edge.task as usize])
            .fold(0.0, f64::max);
        let rank = cost.mean_duration(node) + tail;
        ranks[node as usize] = rank;
        // Rounded, so that noise in the last digits never decides an order.
        ordered.push(((rank * 1e3).round(), place, node));
    }
    ordered.sort_unstable_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)));
    ordered.into_iter().map(|(_, _, node)| (node, ranks[node as usize])).collect()
}

/// Places all open tasks. `lanes` are those of each agent with what already occupies them.
pub(crate) fn schedule<C: Cost>(
    cost: &C,
    graph: &Graph,
    edges: &Lists<Edge>,
    standing: &[Standing],
    mut lanes: Vec<Lanes>,
) -> Vec<Option<Placed>> {
    let order = by_rank(cost, graph, edges, standing);
    let mut placed: Vec<Option<Placed>> = vec![None; standing.len()];
    let mut search = Search {
        cost,
        durations: vec![0.0; lanes.len()],
        arrivals: vec![0.0; lanes.len()],
        sources: Vec::new(),
    };
    for (node, _) in order {
        search.sources.clear();
        for edge in edges.get(node) {
            let (place, finish) = match (&placed[edge.task as usize], standing[edge.task as usize]) {
                (Some(before), _) => (before.chosen.agent, before.chosen.finish),
                (None, Standing::Settled(place)) => (place, 0.0),
                (None, _) => continue,
            };
            search.sources.push(Source {
                place,
                finish,
                bytes: edge.bytes,
            });
        }
        let best = search.best(node, &lanes);
        if let Some(best) = best {
            let Prospect {
                agent,
                start,
                finish,
                lanes: taken,
                ..
            } = best.chosen;
            lanes[agent as usize].take(start, finish - start, taken);
        }
        placed[node as usize] = best;
    }
    placed
}

/// Where a task before lies, and from when on.
#[derive(Clone, Copy)]
struct Source {
    place: AgentIx,
    finish: f64,
    bytes: f64,
}

struct Search<'c, C> {
    cost: &'c C,
    durations: Vec<f64>,
    arrivals: Vec<f64>,
    sources: Vec<Source>,
}

impl<C: Cost> Search<'_, C> {
    fn best(&mut self, node: Node, lanes: &[Lanes]) -> Option<Placed> {
        self.cost.durations(node, &mut self.durations);
        self.cost.arrivals(node, &mut self.arrivals);
        let work = self.cost.work(node);
        let mut top = Top::default();
        for eligible in self.cost.eligible(node) {
            let option = self.on(eligible, work, &lanes[eligible.agent as usize]);
            top.offer(option, self.cost);
        }
        top.decide()
    }

    #[inline]
    fn on(&self, eligible: &Eligible, work: Work, lanes: &Lanes) -> Prospect {
        let agent = eligible.agent;
        let data = self
            .sources
            .iter()
            .map(|s| s.finish + self.cost.transfer(s.place, agent, s.bytes))
            .fold(0.0, f64::max);
        let arrival = self.arrivals[agent as usize];
        let duration = self.durations[agent as usize];
        let ready = data.max(arrival);
        let (start, finish, taken) = if work.items == 1 {
            let start = lanes.earliest(ready, duration, eligible.width);
            (start, start + duration, eligible.width)
        } else {
            spread(work, ready, duration, eligible.width, lanes)
        };
        Prospect {
            agent,
            data,
            arrival,
            start,
            finish,
            duration,
            preference: eligible.preference,
            lanes: taken,
        }
    }
}

/// Items side by side: on as many lanes as end them first, since waiting for all lanes may cost more than it brings.
fn spread(work: Work, ready: f64, duration: f64, width: u32, lanes: &Lanes) -> (f64, f64, u32) {
    let most = (lanes.count() / width.max(1)).min(work.most_at_once).min(work.items).max(1);
    let mut best: Option<(f64, f64, u32)> = None;
    let mut at_once = most;
    loop {
        let taken = at_once * width;
        let all = duration * f64::from(work.items.div_ceil(at_once));
        let start = lanes.earliest(ready, all, taken);
        if best.is_none_or(|(_, finish, _)| start + all < finish) {
            best = Some((start, start + all, taken));
        }
        if at_once == 1 {
            break;
        }
        at_once /= 2;
    }
    best.unwrap_or((ready, ready, width))
}

const KEPT: usize = ALTERNATIVES + 1;
/// Preferences are counted from 0 to 2.
const LEVELS: usize = 3;

/// The best options so far: by finish, and for each number of preferences met.
#[derive(Default)]
struct Top {
    kept: [Prospect; KEPT],
    len: usize,
    levels: [Option<Prospect>; LEVELS],
}

impl Top {
    #[inline]
    fn offer<C: Cost>(&mut self, option: Prospect, cost: &C) {
        let better = |other: &Prospect| {
            // Ends earlier; else moves less; else as the seed says.
            option
                .finish
                .total_cmp(&other.finish)
                .then_with(|| option.data.max(option.arrival).total_cmp(&other.data.max(other.arrival)))
                .then_with(|| cost.tie(option.agent).cmp(&cost.tie(other.agent)))
                .is_lt()
        };
        let met = option.preference.count_ones() as usize;
        let level = &mut self.levels[met.min(LEVELS - 1)];
        if level.as_ref().is_none_or(better) {
            *level = Some(option);
        }
        if self.len == KEPT && !better(&self.kept[KEPT - 1]) {
            return;
        }
        let mut at = self.len.min(KEPT - 1);
        while at > 0 && better(&self.kept[at - 1]) {
            self.kept[at] = self.kept[at - 1];
            at -= 1;
        }
        self.kept[at] = option;
        self.len = (self.len + 1).min(KEPT);
    }

    fn decide(self) -> Option<Placed> {
        let kept = &self.kept[..self.len];
        let first = kept.first()?;
        let affordable = |option: &&Prospect| option.finish <= first.finish * PREFERENCE;
        let chosen = *self.levels.iter().rev().flatten().find(affordable).unwrap_or(first);
        let mut others = [Prospect::default(); ALTERNATIVES];
        let mut others_len = 0;
        for option in kept.iter().filter(|o| o.agent != chosen.agent).take(ALTERNATIVES) {
            others[usize::from(others_len)] = *option;
            others_len += 1;
        }
        Some(Placed {
            chosen,
            first_finish: first.finish,
            others,
            others_len,
        })
    }
}

#[cfg(test)]
#[path = "schedule_tests.rs"]
mod tests;

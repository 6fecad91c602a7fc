//! One agent for all that is left of a fragment that changes hands.
//!
//! The question is smaller than that of a plan: nothing is cut and nothing is spread, so the agents that can take every
//! open task are compared by one figure each, a bound on when the rest would end there.

use crate::error::Error;
use crate::fleet::{AgentIx, Fleet};
use crate::graph::Lists;
use crate::lanes::Lanes;
use crate::schedule::{Cost, Edge, Standing};
use crate::{Prepared, Request};
use eyot_model::{AgentId, TaskIx};
use std::collections::BTreeSet;

/// The agent that takes all tasks that are not settled, and should end them first; none of `exclude`.
///
/// # Errors
/// As [`crate::plan`], and [`Error::Apart`] when each task has an agent and all of them together have none.
pub fn place_whole(request: &Request<'_>, exclude: &BTreeSet<AgentId>) -> Result<AgentId, Error> {
    let prepared = Prepared::new(request)?;
    let fleet = &prepared.fleet;
    if fleet.len() == 0 {
        return Err(Error::NoAgents);
    }
    prepared.estimated(request, |estimate, edges, lanes| {
        let open: Vec<u32> = (0..)
            .zip(&prepared.standing)
            .filter(|(_, standing)| **standing == Standing::Open)
            .map(|(node, _)| node)
            .collect();
        let mut can = vec![0usize; fleet.len()];
        for &node in &open {
            for eligible in estimate.eligible(node) {
                can[eligible.agent as usize] += 1;
            }
        }
        let all = (0..)
            .zip(&can)
            .filter(|(agent, n)| **n == open.len() && !exclude.contains(&fleet.id(*agent)))
            .map(|(agent, _)| agent);
        let rest = Rest {
            estimate,
            open: &open,
            edges,
            standing: &prepared.standing,
        };
        let ends = rest.ends(fleet, lanes);
        let better = |a: &AgentIx, b: &AgentIx| {
            ends[*a as usize]
                .total_cmp(&ends[*b as usize])
                .then_with(|| estimate.tie(*a).cmp(&estimate.tie(*b)))
        };
        let found = all.min_by(better).map(|agent| fleet.id(agent));
        found.ok_or_else(|| Error::Apart {
            tasks: open.iter().map(|node| request.workflow.task(TaskIx(*node)).name.clone()).collect(),
            excluded: exclude.len(),
        })
    })
}

struct Rest<'a, C> {
    estimate: &'a C,
    open: &'a [u32],
    edges: &'a Lists<Edge>,
    standing: &'a [Standing],
}

impl<C: Cost> Rest<'_, C> {
    /// For each agent: when a core is free and what the rest needs is there, and then all its work over all its cores.
    fn ends(&self, fleet: &Fleet<'_>, lanes: &[Lanes]) -> Vec<f64> {
        let count = fleet.len();
        let (mut durations, mut arrivals) = (vec![0.0; count], vec![0.0; count]);
        let (mut work, mut begin) = (vec![0.0; count], vec![0.0f64; count]);
        for &node in self.open {
            self.estimate.durations(node, &mut durations);
            self.estimate.arrivals(node, &mut arrivals);
            let items = f64::from(self.estimate.work(node).items);
            for (agent, lanes) in (0..).zip(lanes) {
                let a = agent as usize;
                work[a] += durations[a] * items / f64::from(lanes.count());
                begin[a] = begin[a].max(arrivals[a]);
                for edge in self.edges.get(node) {
                    if let Standing::Settled(place) = self.standing[edge.task as usize] {
                        begin[a] = begin[a].max(self.estimate.transfer(place, agent, edge.bytes));
                    }
                }
            }
        }
        lanes
            .iter()
            .zip(begin.iter().zip(&work))
            .map(|(lanes, (begin, work))| lanes.earliest(*begin, 0.0, 1) + work)
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tests::{agent, expr, workflow};
    use crate::{Candidate, History};
    use eyot_model::{AgentProfile, Inputs, LinkState, Load, Workflow};
    use std::collections::BTreeMap;

    fn place(workflow: &Workflow, fleet: &[AgentProfile], settled: &[u32], exclude: &[u128]) -> Result<AgentId, Error> {
        let candidates: Vec<Candidate<'_>> = fleet
            .iter()
            .map(|profile| Candidate {
                profile,
                draining: false,
                link: LinkState::Connected,
            })
            .collect();
        let request = Request {
            workflow,
            inputs: &Inputs::new(),
            fleet: &candidates,
            history: &History::new(),
            settled: &settled.iter().map(|n| TaskIx(*n)).collect(),
            outputs_at: &BTreeMap::new(),
            seed: 1,
        };
        place_whole(&request, &exclude.iter().map(|n| AgentId(*n)).collect())
    }

    #[test]
    fn the_rest_goes_to_the_one_agent_that_can_take_all_of_it_and_ends_it_first() {
        let mut w = workflow(3);
        w.tasks[1].placement.require = Some(expr("agent.labels.camera == 'front'"));
        let mut fleet = vec![agent(1, "a"), agent(2, "b"), agent(3, "c")];
        for camera in [0, 2] {
            fleet[camera].labels.insert("camera".into(), "front".into());
        }
        fleet[1].speed = 9.0;
        fleet[2].speed = 2.0;
        assert_eq!(place(&w, &fleet, &[], &[]), Ok(AgentId(3)), "the fastest has no camera");
        assert_eq!(place(&w, &fleet, &[1], &[]), Ok(AgentId(2)), "what needs one has ended");
        assert_eq!(place(&w, &fleet, &[], &[3]), Ok(AgentId(1)));
        fleet[2].load = Load {
            queued: 1_000,
            ..Load::default()
        };
        assert_eq!(place(&w, &fleet, &[], &[]), Ok(AgentId(1)), "it is busy for long");
    }

    #[test]
    fn where_nobody_can_take_all_of_it_the_tasks_are_named() {
        let mut w = workflow(2);
        for (task, label) in [(0, "left"), (1, "right")] {
            w.tasks[task].placement.require = Some(expr(&format!("agent.labels.side == '{label}'")));
        }
        let mut fleet = vec![agent(1, "a"), agent(2, "b")];
        for (n, label) in [(0, "left"), (1, "right")] {
            fleet[n].labels.insert("side".into(), label.into());
        }
        let error = place(&w, &fleet, &[], &[]).unwrap_err();
        assert_eq!(error.to_string(), "no single agent can take all that is left of it: `t0`, `t1`");
        let error = place(&w, &fleet, &[0], &[2]).unwrap_err();
        assert_eq!(
            error.to_string(),
            "no single agent can take all that is left of it: `t1` (1 agent is not asked)"
        );
        assert!(matches!(place(&w, &fleet[..1], &[0], &[]), Err(Error::Unplaceable(_))));
        assert_eq!(place(&w, &[], &[], &[]), Err(Error::NoAgents));
    }
}

//! Cuts a placed graph into fragments: one for each agent.

use crate::fleet::{AgentIx, Fleet};
use crate::graph::{Lists, Node};
use crate::millis;
use crate::schedule::{Cost, Edge, Placed, Standing};
use eyot_model::{Fragment, FragmentId, TaskIx, Transfer};

/// Fragments by the time at which they start. Their ids count in this order.
pub(crate) fn cut<C: Cost>(
    fleet: &Fleet<'_>,
    cost: &C,
    placed: &[Option<Placed>],
    edges: &Lists<Edge>,
    standing: &[Standing],
) -> Vec<Fragment> {
    let mut by_agent: Vec<Vec<(Node, &Placed)>> = vec![Vec::new(); fleet.len()];
    for (node, placed) in (0..).zip(placed) {
        if let Some(placed) = placed {
            by_agent[placed.chosen.agent as usize].push((node, placed));
        }
    }
    let mut fragments: Vec<(f64, Fragment)> = Vec::new();
    for (agent, mut tasks) in (0..).zip(by_agent) {
        tasks.sort_by(|a, b| a.1.chosen.start.total_cmp(&b.1.chosen.start).then(a.0.cmp(&b.0)));
        let Some((_, first)) = tasks.first() else { continue };
        let start = first.chosen.start;
        let finish = tasks.iter().map(|(_, p)| p.chosen.finish).fold(start, f64::max);
        let arriving = |&(to, _): &(Node, &Placed)| {
            edges
                .get(to)
                .iter()
                .filter_map(move |edge| transfer(cost, placed, standing, edge, to, agent))
        };
        let fragment = Fragment {
            id: FragmentId(0),
            agent: fleet.id(agent),
            transfers: tasks.iter().flat_map(arriving).collect(),
            tasks: tasks.iter().map(|(n, _)| TaskIx(*n)).collect(),
            start: millis(start),
            finish: millis(finish),
        };
        fragments.push((start, fragment));
    }
    fragments.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.agent.cmp(&b.1.agent)));
    (0..)
        .zip(fragments)
        .map(|(n, (_, fragment))| Fragment {
            id: FragmentId(n),
            ..fragment
        })
        .collect()
}

/// What comes along one edge, if it comes from elsewhere.
fn transfer<C: Cost>(
    cost: &C,
    placed: &[Option<Placed>],
    standing: &[Standing],
    edge: &Edge,
    to: Node,
    agent: AgentIx,
) -> Option<Transfer> {
    let from = match (&placed[edge.task as usize], standing[edge.task as usize]) {
        (Some(before), _) => before.chosen.agent,
        (None, Standing::Settled(place)) => place,
        (None, Standing::Open | Standing::Pruned) => return None,
    };
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // an estimate, never negative
    (from != agent).then(|| Transfer {
        from: TaskIx(edge.task),
        to: TaskIx(to),
        bytes: edge.bytes.round() as u64,
        time: millis(cost.transfer(from, agent, edge.bytes)),
    })
}

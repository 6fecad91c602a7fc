//! Plans a run: which agent runs which task, when each should end, what never runs, and why.
//!
//! [`plan`] is a pure function from a [`Request`] (workflow, inputs, fleet, [`History`], seed) to an
//! [`eyot_model::Plan`]; the same request gives the same plan. It prunes tasks that the inputs alone decide, leaves out
//! agents that do not meet a task's hard needs, places the rest by heterogeneous earliest finish time over predicted
//! durations, transfers and load, and cuts the graph into one fragment for each agent. Every choice has its reason and
//! the next best agents, every agent left out has a refusal, in words for people.
//!
//! It does not start anything, count epochs, or keep time: times in a plan are predictions from the moment of planning.
//! It knows no clock, randomness, disk or network.

#![cfg_attr(test, allow(clippy::unwrap_used))]

mod cut;
mod error;
mod estimate;
mod explain;
mod fleet;
mod graph;
mod history;
mod lanes;
mod needs;
mod prune;
mod reads;
mod schedule;
#[cfg(test)]
mod tests;
mod whole;

pub use error::{Error, ExpressionError, Unplaceable};
pub use fleet::Candidate;
pub use history::{History, MAX_COMPONENTS, MAX_PAIRS, Mean, Observation};
pub use whole::place_whole;

use crate::estimate::Estimate;
use crate::explain::Explain;
use crate::fleet::Fleet;
use crate::graph::{Graph, Lists};
use crate::lanes::Lanes;
use crate::needs::Classes;
use crate::reads::Reads;
use crate::schedule::{Edge, Placed, Standing};
use eyot_expr::{Program, Scope};
use eyot_model::{AgentId, Choice, Expr, Inputs, Millis, Plan, Pruned, Task, TaskIx, Value, Workflow};
use std::collections::{BTreeMap, BTreeSet};

/// All that a plan depends on.
#[derive(Clone, Copy, Debug)]
pub struct Request<'a> {
    pub workflow: &'a Workflow,
    /// Defaults of inputs that are not given are filled in.
    pub inputs: &'a Inputs,
    pub fleet: &'a [Candidate<'a>],
    pub history: &'a History,
    /// When the rest of a run is planned anew: tasks that ended or keep their owner. They are neither placed nor pruned,
    /// and count as ended at the start of the plan.
    pub settled: &'a BTreeSet<TaskIx>,
    /// Where outputs of settled tasks lie; those not named here, or whose agent is not in the fleet, lie in the cloud.
    pub outputs_at: &'a BTreeMap<TaskIx, AgentId>,
    /// Decides between agents that are alike in everything else.
    pub seed: u64,
}

/// Plans a run, or what is left of it.
///
/// # Errors
/// When a task fits no agent, an expression cannot be evaluated, or the workflow is not well-formed.
pub fn plan(request: &Request<'_>) -> Result<Plan, Error> {
    let workflow = request.workflow;
    let prepared = Prepared::new(request)?;
    let (fleet, standing) = (&prepared.fleet, &prepared.standing);
    if !standing.contains(&Standing::Open) {
        return Ok(Plan {
            pruned: prepared.pruned,
            ..Plan::default()
        });
    }
    if fleet.len() == 0 {
        return Err(Error::NoAgents);
    }
    let classes = prepared.classes(workflow)?;
    let mut plan = prepared.estimated_with(request, &classes, |estimate, edges, lanes| {
        let placed = schedule::schedule(estimate, &prepared.graph, edges, standing, lanes.to_vec());
        let fragments = cut::cut(fleet, estimate, &placed, edges, standing);
        let explain = Explain {
            workflow,
            fleet,
            cost: estimate,
            placed: &placed,
            standing,
        };
        let choices: Vec<Choice> = (0..)
            .zip(&placed)
            .filter_map(|(node, placed)| placed.as_ref().map(|p| (node, p)))
            .map(|(node, placed): (u32, &Placed)| explain.choice(node, placed, edges.get(node), &classes.of(node).refusals))
            .collect();
        Ok(Plan {
            fragments,
            makespan: choices.iter().map(|c| c.finish).max().unwrap_or_default(),
            choices,
            pruned: Vec::new(),
        })
    })?;
    plan.pruned = prepared.pruned;
    Ok(plan)
}

/// What every question about a request begins with.
struct Prepared<'a> {
    graph: Graph,
    inputs: Value,
    pruned: Vec<Pruned>,
    fleet: Fleet<'a>,
    standing: Vec<Standing>,
    /// How many attempts of the run each agent runs side by side.
    lanes: Vec<u32>,
}

impl<'a> Prepared<'a> {
    fn new(request: &Request<'a>) -> Result<Self, Error> {
        let workflow = request.workflow;
        let graph = Graph::new(workflow)?;
        let inputs = with_defaults(workflow, request.inputs);
        let mut scope = Scope::new();
        scope.bind_ref("inputs", &inputs);
        let pruned = prune::prune(workflow, &graph, &scope, request.settled)?;
        let fleet = Fleet::new(request.fleet, request.seed);
        let standing = standing(request, &fleet, &pruned);
        let lanes = match workflow.max_parallel {
            Some(most) => fleet.lanes.iter().map(|lanes| (*lanes).min(most.max(1))).collect(),
            None => fleet.lanes.clone(),
        };
        Ok(Self {
            graph,
            inputs,
            pruned,
            fleet,
            standing,
            lanes,
        })
    }

    /// Which agents can run each open task.
    fn classes(&self, workflow: &Workflow) -> Result<Classes, Error> {
        let classes = Classes::new(workflow, &self.fleet, &self.lanes, &self.inputs, &self.standing)?;
        check_placeable(workflow, &classes, &self.standing)?;
        Ok(classes)
    }

    /// Looks at the predictions, the edges with what passes along them, and the cores with what occupies them now.
    fn estimated<T>(
        &self,
        request: &Request<'_>,
        look: impl FnOnce(&Estimate<'_>, &Lists<Edge>, &[Lanes]) -> Result<T, Error>,
    ) -> Result<T, Error> {
        let classes = self.classes(request.workflow)?;
        self.estimated_with(request, &classes, look)
    }

    fn estimated_with<T>(
        &self,
        request: &Request<'_>,
        classes: &Classes,
        look: impl FnOnce(&Estimate<'_>, &Lists<Edge>, &[Lanes]) -> Result<T, Error>,
    ) -> Result<T, Error> {
        let workflow = request.workflow;
        let mut scope = Scope::new();
        scope.bind_ref("inputs", &self.inputs);
        let reads = Reads::new(workflow, &self.inputs, &scope, request.history, &self.standing)?;
        let estimate = Estimate::new(workflow, &self.fleet, classes, &reads, request.history, &self.standing);
        let typical = request.history.typical_ms().unwrap_or(estimate::DEFAULT_MS);
        let free = (0..).zip(&self.lanes).map(|(agent, &count)| {
            let mut backlog = self.fleet.backlog(agent, typical);
            backlog.truncate(count as usize); // ascending: those free first
            Lanes::new(backlog)
        });
        look(&estimate, &reads.edges, &free.collect::<Vec<_>>())
    }
}

fn with_defaults(workflow: &Workflow, given: &Inputs) -> Value {
    let mut inputs = given.clone();
    for (name, declared) in &workflow.inputs {
        if let (false, Some(default)) = (inputs.contains_key(name), &declared.default) {
            inputs.insert(name.clone(), default.clone());
        }
    }
    Value::Map(inputs)
}

fn standing(request: &Request<'_>, fleet: &Fleet<'_>, pruned: &[Pruned]) -> Vec<Standing> {
    let mut standing = vec![Standing::Open; request.workflow.tasks.len()];
    for task in request.settled.iter().filter(|t| t.index() < request.workflow.tasks.len()) {
        let place = request.outputs_at.get(task).and_then(|agent| fleet.find(*agent));
        standing[task.index()] = Standing::Settled(place.unwrap_or(fleet.cloud()));
    }
    for task in pruned {
        standing[task.task.index()] = Standing::Pruned;
    }
    standing
}

fn check_placeable(workflow: &Workflow, classes: &Classes, standing: &[Standing]) -> Result<(), Error> {
    if classes.classes.iter().all(|c| !c.eligible.is_empty()) {
        return Ok(());
    }
    let open = (0..)
        .zip(standing)
        .filter(|(_, s)| **s == Standing::Open)
        .map(|(node, _): (u32, _)| node);
    let nowhere = open.filter(|&node| classes.of(node).eligible.is_empty()).map(|node| Unplaceable {
        task: TaskIx(node),
        name: workflow.tasks[node as usize].name.clone(),
        refusals: classes.of(node).refusals.clone(),
    });
    Err(Error::Unplaceable(nowhere.collect()))
}

fn parsed(expr: &Expr, task: &Task, field: &'static str) -> Result<Program, Error> {
    Program::parse(&expr.source).map_err(|error| Error::Expression {
        task: task.name.clone(),
        field,
        source: Box::new(error.into()),
    })
}

/// Predicted times are rounded alike, so that what is in order stays in order.
fn millis(ms: f64) -> Millis {
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // saturates, and is never negative
    Millis(ms.round() as u64)
}

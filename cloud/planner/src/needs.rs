//! Hard needs: which agents can run a task at all, and in words why the others cannot. Tasks with the same needs are one
//! class, and are looked at once.

use crate::error::Error;
use crate::fleet::{AgentIx, Candidate, Fleet};
use crate::graph::Node;
use crate::parsed;
use crate::schedule::{Eligible, Standing};
use eyot_expr::{EvaluateError, Program, Scope};
use eyot_model::{AgentProfile, DiskState, Grant, LinkState, Refusal, Resources, Task, Value, Want, Workflow};
use eyot_spec::needs::{absent, describe, lacks, unmet};
use std::collections::BTreeMap;

/// Bit of [`Eligible::preference`]: `placement.prefer` holds.
pub(crate) const BY_EXPRESSION: u8 = 1;
/// Bit of [`Eligible::preference`]: a GPU is preferred, and it has one.
pub(crate) const BY_GPU: u8 = 2;

/// Agents named in one refusal.
const NAMED: usize = 3;
/// Reasons told apart for one task.
const REASONS: usize = 6;

/// Tasks with the same hard needs and preferences.
#[derive(Debug)]
pub(crate) struct Class {
    pub(crate) eligible: Vec<Eligible>,
    /// Most frequent reason first.
    pub(crate) refusals: Vec<Refusal>,
    /// Over the eligible agents.
    pub(crate) mean_inverse_speed: f64,
    pub(crate) mean_lanes: f64,
}

#[derive(Debug)]
pub(crate) struct Classes {
    pub(crate) classes: Vec<Class>,
    of: Vec<u32>,
}

impl Classes {
    pub(crate) fn of(&self, node: Node) -> &Class {
        &self.classes[self.of[node as usize] as usize]
    }

    /// Classes of all open tasks. `lanes` is how many attempts of the run each agent runs side by side.
    ///
    /// # Errors
    /// When an expression cannot be parsed, or fails for another reason than a label that an agent does not have.
    pub(crate) fn new(workflow: &Workflow, fleet: &Fleet<'_>, lanes: &[u32], inputs: &Value, standing: &[Standing]) -> Result<Self, Error> {
        let described: Vec<Value> = fleet.candidates.iter().map(|c| describe(c.profile)).collect();
        let scopes: Vec<Scope<'_>> = described
            .iter()
            .map(|agent| {
                let mut scope = Scope::new();
                scope.bind_ref("agent", agent).bind_ref("inputs", inputs);
                scope
            })
            .collect();
        let mut known: BTreeMap<_, u32> = BTreeMap::new();
        let mut this = Self {
            classes: Vec::new(),
            of: vec![0; workflow.tasks.len()],
        };
        for (n, task) in workflow.tasks.iter().enumerate() {
            if standing[n] != Standing::Open {
                continue;
            }
            let key = (
                task.placement.require.as_ref(),
                task.placement.prefer.as_ref(),
                task.resources.cpu_millis,
                task.resources.memory_bytes,
                task.resources.gpu as u8,
                task.grants.contains(&Grant::Inference),
            );
            this.of[n] = match known.get(&key) {
                Some(class) => *class,
                None => {
                    let class = u32::try_from(this.classes.len()).unwrap_or(u32::MAX);
                    this.classes.push(Class::new(task, fleet, lanes, &scopes)?);
                    known.insert(key, class);
                    class
                }
            };
        }
        Ok(this)
    }
}

impl Class {
    fn new(task: &Task, fleet: &Fleet<'_>, lanes: &[u32], scopes: &[Scope<'_>]) -> Result<Self, Error> {
        let require = task
            .placement
            .require
            .as_ref()
            .map(|e| parsed(e, task, "placement.where"))
            .transpose()?;
        let prefer = task
            .placement
            .prefer
            .as_ref()
            .map(|e| parsed(e, task, "placement.prefer"))
            .transpose()?;
        let mut eligible = Vec::new();
        let mut refused: BTreeMap<String, (Vec<AgentIx>, u32)> = BTreeMap::new();
        for (agent, (candidate, scope)) in (0..).zip(fleet.candidates.iter().zip(scopes)) {
            let unmet = match unavailable(candidate).or_else(|| lacks(task, candidate.profile)) {
                Some(reason) => Some(reason),
                None => match &require {
                    Some(program) => unmet(program, candidate.profile, scope).map_err(|e| expression(task, "placement.where", e))?,
                    None => None,
                },
            };
            if let Some(reason) = unmet {
                let (agents, count) = refused.entry(reason).or_default();
                *count += 1;
                if agents.len() < NAMED {
                    agents.push(agent);
                }
                continue;
            }
            let mut preference = 0;
            if let Some(program) = &prefer
                && preferred(program, scope).map_err(|e| expression(task, "placement.prefer", e))?
            {
                preference |= BY_EXPRESSION;
            }
            if task.resources.gpu == Want::Preferred && candidate.profile.capacity.gpus > 0 {
                preference |= BY_GPU;
            }
            let width = width(
                &task.resources,
                candidate.profile,
                fleet.lanes[agent as usize],
                lanes[agent as usize],
            );
            eligible.push(Eligible { agent, width, preference });
        }
        let mean = |figure: &dyn Fn(&Eligible) -> f64| {
            #[allow(clippy::cast_precision_loss)] // a count of agents
            let count = eligible.len().max(1) as f64;
            eligible.iter().map(figure).sum::<f64>() / count
        };
        Ok(Self {
            mean_inverse_speed: mean(&|e| fleet.inverse_speed[e.agent as usize]),
            mean_lanes: mean(&|e| f64::from((lanes[e.agent as usize] / e.width).max(1))),
            refusals: grouped(refused, fleet),
            eligible,
        })
    }
}

fn grouped(refused: BTreeMap<String, (Vec<AgentIx>, u32)>, fleet: &Fleet<'_>) -> Vec<Refusal> {
    let mut refusals: Vec<Refusal> = refused
        .into_iter()
        .map(|(reason, (agents, count))| Refusal {
            reason,
            agents: agents.into_iter().map(|a| fleet.id(a)).collect(),
            count,
        })
        .collect();
    refusals.sort_by(|a, b| b.count.cmp(&a.count).then_with(|| a.reason.cmp(&b.reason)));
    if refusals.len() > REASONS {
        let rest = refusals.split_off(REASONS - 1);
        refusals.push(Refusal {
            reason: format!("{} other reasons, such as: {}", rest.len(), rest[0].reason),
            agents: rest.iter().flat_map(|r| &r.agents).take(NAMED).copied().collect(),
            count: rest.iter().map(|r| r.count).sum(),
        });
    }
    refusals
}

fn unavailable(candidate: &Candidate<'_>) -> Option<String> {
    match candidate.link {
        LinkState::Connected if candidate.draining => Some("is draining and takes no new work".to_owned()),
        LinkState::Connected => match candidate.profile.load.disk {
            DiskState::Normal => None,
            DiskState::High => Some("its disk is nearly full, it takes no new work".to_owned()),
            DiskState::Critical | DiskState::Full => Some("its disk is full, it starts nothing".to_owned()),
        },
        LinkState::Suspect => Some("misses heart-beats".to_owned()),
        LinkState::Disconnected => Some("is not connected".to_owned()),
    }
}

/// Lanes of `lanes` that one attempt takes, by whichever of CPU and memory it takes the greater share of. `all` is what
/// the agent has, `lanes` what the run may use of it.
fn width(needs: &Resources, profile: &AgentProfile, all: u32, lanes: u32) -> u32 {
    let memory = u128::from(needs.memory_bytes) * u128::from(all);
    let by_memory = u32::try_from(memory.div_ceil(u128::from(profile.capacity.memory_bytes.max(1)))).unwrap_or(all);
    let of_all = needs.cpu_millis.div_ceil(1_000).max(by_memory).clamp(1, all);
    (of_all * lanes).div_ceil(all).clamp(1, lanes)
}

/// A label alone is a preference too: for agents that have it, unless it says no.
fn preferred(program: &Program, scope: &Scope<'_>) -> Result<bool, EvaluateError> {
    match program.evaluate(scope) {
        Ok(Value::String(text)) => Ok(!matches!(text.as_str(), "" | "false" | "no" | "0")),
        Ok(_) => program.evaluate_bool(scope),
        Err(error) => match absent(&error) {
            Some(_) => Ok(false),
            None => Err(error),
        },
    }
}

fn expression(task: &Task, field: &'static str, error: EvaluateError) -> Error {
    Error::Expression {
        task: task.name.clone(),
        field,
        source: Box::new(error.into()),
    }
}

#[cfg(test)]
#[path = "needs_tests.rs"]
mod tests;

//! Workflows, fleets and a plain simulator for the tests of the planner.
#![allow(dead_code)] // each test uses its part

pub(crate) mod layered;
pub(crate) mod simulate;

use eyot_model::{AgentId, Inputs, LinkState, Plan, TaskIx, Workflow};
use eyot_planner::{Candidate, Error, History, Request};
use std::collections::{BTreeMap, BTreeSet};

pub(crate) fn candidates(fleet: &[eyot_model::AgentProfile]) -> Vec<Candidate<'_>> {
    fleet
        .iter()
        .map(|profile| Candidate {
            profile,
            draining: false,
            link: LinkState::Connected,
        })
        .collect()
}

/// All that a plan is made from, owned.
#[derive(Clone)]
pub(crate) struct Case {
    pub(crate) workflow: Workflow,
    pub(crate) inputs: Inputs,
    pub(crate) fleet: Vec<eyot_model::AgentProfile>,
    pub(crate) history: History,
    pub(crate) settled: BTreeSet<TaskIx>,
    pub(crate) outputs_at: BTreeMap<TaskIx, AgentId>,
    pub(crate) seed: u64,
}

impl Case {
    pub(crate) fn new(workflow: Workflow, fleet: Vec<eyot_model::AgentProfile>) -> Self {
        Self {
            workflow,
            fleet,
            inputs: Inputs::new(),
            history: History::new(),
            settled: BTreeSet::new(),
            outputs_at: BTreeMap::new(),
            seed: 7,
        }
    }

    pub(crate) fn plan(&self) -> Result<Plan, Error> {
        eyot_planner::plan(&Request {
            workflow: &self.workflow,
            inputs: &self.inputs,
            fleet: &candidates(&self.fleet),
            history: &self.history,
            settled: &self.settled,
            outputs_at: &self.outputs_at,
            seed: self.seed,
        })
    }
}

//! The result of planning a run: who runs what, when it should end, and why.

use crate::{AgentId, FragmentId, Millis, TaskIx};
use serde::{Deserialize, Serialize};

/// An immutable plan. Times are predictions, counted from the start of the run.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Plan {
    pub fragments: Vec<Fragment>,
    /// Tasks that never run, as the inputs alone decide.
    pub pruned: Vec<Pruned>,
    /// One for each task that is not pruned, by task.
    pub choices: Vec<Choice>,
    pub makespan: Millis,
}

/// The part of a run that one agent owns.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Fragment {
    pub id: FragmentId,
    pub agent: AgentId,
    /// In order of planned start.
    pub tasks: Vec<TaskIx>,
    pub start: Millis,
    pub finish: Millis,
    /// What reaches this fragment from others over the network.
    pub transfers: Vec<Transfer>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Transfer {
    pub from: TaskIx,
    pub to: TaskIx,
    pub bytes: u64,
    pub time: Millis,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Pruned {
    pub task: TaskIx,
    pub reason: String,
}

/// Where a task was placed and why.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Choice {
    pub task: TaskIx,
    pub agent: AgentId,
    pub start: Millis,
    pub finish: Millis,
    /// Predicted time of all its work on that agent.
    pub duration: Millis,
    pub reason: String,
    /// The next best agents and what they would have meant, best first, three at most.
    pub alternatives: Vec<Alternative>,
    /// Why agents were not considered, grouped by reason.
    pub refusals: Vec<Refusal>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Alternative {
    pub agent: AgentId,
    pub finish: Millis,
    pub reason: String,
}

/// One reason, and some of the agents that it ruled out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Refusal {
    pub reason: String,
    /// Three at most.
    pub agents: Vec<AgentId>,
    /// How many in all.
    pub count: u32,
}

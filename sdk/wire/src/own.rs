//! Runs that an agent coordinates itself, and the workflows that are deployed to it.

use eyot_model::{Event, Inputs, Origin, RunId, Timestamp, Workflow};
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// A run as the agent that coordinates it took it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Submission {
    pub run: RunId,
    pub workflow: Arc<Workflow>,
    pub inputs: Arc<Inputs>,
    pub created_at: Timestamp,
    pub origin: Origin,
}

/// Told by the agent: a run of its own, or what happened in it since. Told again until it is acknowledged; what is known
/// already changes nothing.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct OwnRun {
    pub run: RunId,
    /// With the first part.
    pub submission: Option<Box<Submission>>,
    /// Number of the first of `events`; they count from 1 in the run.
    pub first: u64,
    pub events: Vec<Event>,
}

/// A workflow for an agent to own: it fires there, link or no link.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Deployment {
    /// Grows with each change to what is deployed under this name on this agent.
    pub revision: u64,
    /// Component digests are fixed.
    pub workflow: Arc<Workflow>,
    pub text: String,
}

/// What became of a deployment on the agent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Deployed {
    pub namespace: String,
    pub name: String,
    pub revision: u64,
    /// Why the agent does not take it.
    pub refused: Option<String>,
}

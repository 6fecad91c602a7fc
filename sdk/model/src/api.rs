//! What travels over the HTTP API as JSON, shared by the control plane and its clients.

use crate::{
    AgentId, BlobRef, Capacity, Digest, Epoch, Failure, FragmentId, Inputs, LinkState, Load, Millis, Outputs, Plan, Resolution, RunId,
    RunState, State, Timestamp, Usage,
};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use utoipa::ToSchema;

/// The body of every answer that is not a success.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Problem {
    /// Stable code, such as `workflow.invalid` or `run.not-found`.
    pub code: String,
    pub message: String,
    /// What is wrong in a workflow text, in order of place.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub diagnostics: Vec<Diagnostic>,
}

/// One thing that is wrong, and where.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Diagnostic {
    /// Counts from 1.
    pub line: u32,
    /// Counts from 1, in characters.
    pub column: u32,
    pub severity: Severity,
    /// Stable code, such as `unknown-field`.
    pub code: String,
    pub message: String,
    /// What to write instead, or what to do.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub help: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    Error,
    Warning,
}

/// A workflow text with what it needs to be understood away from the author's machine.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct WorkflowSource {
    /// YAML or JSON.
    pub text: String,
    /// Digests of components that the text names by file path, uploaded beforehand.
    #[serde(default)]
    #[schema(value_type = BTreeMap<String, String>)]
    pub files: BTreeMap<String, Digest>,
}

/// Which workflow: a stored one by name, or a text.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub enum WorkflowChoice {
    /// `name`, `name@version`, or either with `namespace/` before it.
    Ref(String),
    Source(WorkflowSource),
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RunRequest {
    pub workflow: WorkflowChoice,
    #[serde(default)]
    #[schema(value_type = Object)]
    pub inputs: Inputs,
    /// The same key again gives the run that the first request made.
    #[serde(default)]
    pub idempotency_key: Option<String>,
}

/// How far the draining of an agent is: it is empty once there is no fragment left.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct DrainView {
    /// Name of the agent.
    pub agent: String,
    /// What it still has of unfinished runs.
    pub fragments: Vec<MovingView>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct MovingView {
    pub run: RunId,
    pub fragment: FragmentId,
    /// Name of the agent that takes it, once the fragment was asked to yield.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to: Option<String>,
    /// Why it does not move.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stays: Option<String>,
}

/// What an operator found out about an attempt whose end nobody knew.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ResolveRequest {
    /// Name of the task.
    pub task: String,
    /// The item, where the task is a `forEach`.
    #[serde(default)]
    pub item: Option<u32>,
    pub resolution: ResolutionView,
    /// What the task gave, where it succeeded.
    #[serde(default)]
    #[schema(value_type = Object)]
    pub outputs: Outputs,
    /// Who says so, for the run's history.
    #[serde(default)]
    pub by: Option<String>,
}

/// What is wrong with a request to resolve.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadResolution {
    #[error("only a task that succeeded has outputs")]
    Outputs,
    #[error("`by` has at most {BY_LIMIT} bytes of text")]
    By,
}

/// Longest name of whoever resolves, in bytes.
const BY_LIMIT: usize = 128;

impl ResolveRequest {
    /// What was found out, and who says so.
    ///
    /// # Errors
    /// When it is malformed.
    pub fn word(&self) -> Result<(Resolution, String), BadResolution> {
        let by = self.by.as_deref().filter(|by| !by.is_empty()).unwrap_or("an API client");
        if by.len() > BY_LIMIT || by.chars().any(char::is_control) {
            return Err(BadResolution::By);
        }
        let resolution = match self.resolution {
            ResolutionView::Succeeded => Resolution::Succeeded(self.outputs.clone()),
            _ if !self.outputs.is_empty() => return Err(BadResolution::Outputs),
            ResolutionView::Failed => Resolution::Failed,
            ResolutionView::Retry => Resolution::Retry,
        };
        Ok((resolution, by.to_owned()))
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum ResolutionView {
    /// Its effect happened.
    Succeeded,
    /// It did not happen, and is not wanted any more.
    Failed,
    /// Try again.
    Retry,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct WorkflowView {
    pub namespace: String,
    pub name: String,
    pub version: String,
    pub digest: Digest,
    pub tasks: u32,
    pub stored_at: Timestamp,
    /// Only where one workflow was asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
    /// The answer to storing it: why a trigger of it cannot fire as things are.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
}

/// The answer to a validation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Validation {
    pub valid: bool,
    pub diagnostics: Vec<Diagnostic>,
}

/// A component in the registry.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ComponentView {
    /// `eyot/image`
    pub name: String,
    pub version: String,
    pub digest: Digest,
    /// Bytes.
    pub size: u64,
    pub pushed_at: Timestamp,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct RunView {
    pub id: RunId,
    pub namespace: String,
    pub workflow: String,
    pub version: String,
    pub state: RunState,
    pub created_at: Timestamp,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended_at: Option<Timestamp>,
    /// Task instances by state; items of a `forEach` count, the `forEach` task itself does not.
    pub counts: BTreeMap<State, u32>,
    /// Why the run is where it is, where that needs a word: `no agent meets the needs of task x: …`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub waiting_for: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failure: Option<Failure>,
    /// The agent that coordinates the run; the control plane does where it is not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub coordinator: Option<String>,
}

/// One run, whole.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct RunDetail {
    #[serde(flatten)]
    pub run: RunView,
    #[schema(value_type = Object)]
    pub inputs: Inputs,
    #[schema(value_type = Object)]
    pub outputs: Outputs,
    pub tasks: Vec<TaskView>,
    pub fragments: Vec<FragmentView>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub plan: Option<Plan>,
}

/// A task instance: a task, or one item of a `forEach`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct TaskView {
    pub task: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub item: Option<u32>,
    pub state: State,
    pub attempts: u32,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agent: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub started_at: Option<Timestamp>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended_at: Option<Timestamp>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub usage: Option<Usage>,
    /// Why it failed, or the last failure of an attempt while it retries.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failure: Option<Failure>,
    /// Why it was skipped, or what it waits for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Object)]
    pub outputs: Option<Outputs>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct FragmentView {
    pub id: FragmentId,
    /// None while nobody has it: it was taken from its agent, and another one is looked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agent: Option<AgentId>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agent_name: Option<String>,
    pub epoch: Epoch,
    pub link: LinkState,
    /// Since when its agent is out of contact.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub away_since: Option<Timestamp>,
    /// When another agent is looked for, by the workflow's `onDisconnect`. None while its agent is out of contact: it
    /// waits for that, or for an operator.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reassign_at: Option<Timestamp>,
    pub tasks: Vec<String>,
    /// Who had it before, oldest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub superseded: Vec<SupersededView>,
}

/// Which fragments of a run are to be taken from their agents: those of `agent`, the one `fragment`, or, where neither is
/// given, those whose agent is out of contact.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ReassignRequest {
    /// Id or name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agent: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fragment: Option<u32>,
}

/// What was taken from its agent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Reassigned {
    pub fragments: Vec<FragmentId>,
}

/// An assignment that is over: nothing commits under it any more.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct SupersededView {
    pub epoch: Epoch,
    pub agent_name: String,
    pub reason: String,
    pub at: Timestamp,
    /// Results that came under it afterwards. They are no part of the run.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub results: Vec<LateResultView>,
}

/// A result that came too late.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct LateResultView {
    pub task: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub item: Option<u32>,
    pub attempt: u32,
    /// What it would have meant.
    pub state: State,
    pub at: Timestamp,
}

/// One message on a run's event stream. The stream begins with the events so far and ends after the run's end.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct RunEvent {
    /// Counts from 1 in the run; give it as `Last-Event-ID` to go on after it.
    pub seq: u64,
    pub at: Timestamp,
    /// `started`, `ended`, `retrying`, `failed`, `skipped`, `upstream-failed`, `expanded`, `cancelled`,
    /// `cancel-requested`, `run-ended`, `assigned`, `superseded`, `late`
    pub kind: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub task: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub item: Option<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attempt: Option<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub state: Option<State>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run_state: Option<RunState>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agent: Option<String>,
    /// Number of items, for `expanded`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub count: Option<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failure: Option<Failure>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
}

/// A line that a task wrote.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct LogLine {
    pub at: Timestamp,
    pub task: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub item: Option<u32>,
    pub attempt: u32,
    /// `error`, `warn`, `info`, `debug`, `trace`
    pub level: String,
    pub message: String,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct AgentView {
    pub id: AgentId,
    pub name: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub site: Option<String>,
    pub labels: BTreeMap<String, String>,
    pub capabilities: Vec<String>,
    pub platform: String,
    pub version: String,
    pub capacity: Capacity,
    pub load: Load,
    pub link: LinkState,
    /// Takes no new work.
    pub draining: bool,
    pub revoked: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_seen: Option<Timestamp>,
    pub joined_at: Timestamp,
    pub certificate_expires_at: Timestamp,
    /// By how much its clock is ahead of the control plane's, in milliseconds, as its last heart-beat said. None until
    /// it has connected since the control plane's start.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub clock_skew_millis: Option<i64>,
    /// Fragments that it owns now.
    pub fragments: u32,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct InviteRequest {
    /// Name of the agent to be; None lets the device choose its host name.
    #[serde(default)]
    pub name: Option<String>,
    /// At most an hour, which is also the default.
    #[serde(default)]
    pub valid_for: Option<Millis>,
}

/// A stored workflow for an agent to own.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct DeployRequest {
    /// `name`, `name@version`, or either with `namespace/` before it.
    pub workflow: String,
}

/// A workflow on an agent that is to own it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct DeploymentView {
    pub namespace: String,
    pub name: String,
    pub version: String,
    /// `on its way`, `deployed`, `ending` or `refused`
    pub state: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refused: Option<String>,
}

/// Whether an agent may coordinate runs of a namespace.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct GrantRequest {
    pub namespace: String,
    pub on: bool,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Invitation {
    /// Secret, shown once. It names the control plane's address and pins its CA.
    pub token: String,
    /// What to run on the device; the token goes in by standard input.
    pub command: String,
    pub expires_at: Timestamp,
}

/// The answer to an upload.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Uploaded {
    pub blob: BlobRef,
}

/// A plan with the names of what it speaks about.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct PlanView {
    pub workflow: String,
    pub version: String,
    /// Name of each task, by index.
    pub tasks: Vec<String>,
    #[schema(value_type = BTreeMap<String, String>)]
    pub agents: BTreeMap<AgentId, String>,
    pub plan: Plan,
    /// Tasks that no agent can run, and why; the plan is empty then.
    pub unplaceable: Vec<Unplaceable>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Unplaceable {
    pub task: String,
    pub refusals: Vec<crate::Refusal>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Page<T> {
    pub items: Vec<T>,
    /// Give it as `after` to get the next page; none on the last one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
}

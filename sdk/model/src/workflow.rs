//! A workflow as it is stored and sent: validated, references resolved, component digests fixed.
//!
//! The YAML that people write is read by `eyot-spec`, which makes these types.

use crate::{Digest, Millis, TaskIx, Trigger, Value, depth};
use serde::{Deserialize, Deserializer, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// One version of a workflow.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Workflow {
    pub namespace: String,
    pub name: String,
    pub version: String,
    pub inputs: BTreeMap<String, InputDecl>,
    /// In order of declaration. `TaskIx` counts in this list. The graph of `needs` has no cycle.
    pub tasks: Vec<Task>,
    pub outputs: BTreeMap<String, Template>,
    pub on_disconnect: OnDisconnect,
    pub on_failure: OnFailure,
    /// Most attempts of this run that run at the same time on one agent.
    pub max_parallel: Option<u32>,
    /// From submission to the end of the run.
    pub deadline: Option<Millis>,
    pub retention: Retention,
    /// What starts runs of it on the agent that it is deployed to.
    pub triggers: Vec<Trigger>,
}

impl Workflow {
    /// A workflow of these tasks with what the language gives to one that says nothing else.
    #[must_use]
    pub fn new(namespace: impl Into<String>, name: impl Into<String>, version: impl Into<String>, tasks: Vec<Task>) -> Self {
        Self {
            namespace: namespace.into(),
            name: name.into(),
            version: version.into(),
            inputs: BTreeMap::new(),
            tasks,
            outputs: BTreeMap::new(),
            on_disconnect: OnDisconnect::default(),
            on_failure: OnFailure::default(),
            max_parallel: None,
            deadline: None,
            retention: Retention::default(),
            triggers: Vec::new(),
        }
    }

    /// # Panics
    /// Never for an index that came from this workflow.
    #[must_use]
    pub fn task(&self, ix: TaskIx) -> &Task {
        &self.tasks[ix.index()]
    }

    /// Whether an attempt of `task` that ended so that nobody knows how, and is not tried again, leaves its instance waiting
    /// for an operator: unless a task after it takes care of failures. Everybody who applies events comes to the same.
    #[must_use]
    pub fn waits_for_operator(&self, task: TaskIx, failure: &crate::Failure) -> bool {
        failure.kind == crate::FailureKind::OutcomeUnknown
            && !self
                .tasks
                .iter()
                .any(|t| t.trigger_rule.accepts_failure() && t.needs.contains(&task))
    }

    #[must_use]
    pub fn find(&self, name: &str) -> Option<TaskIx> {
        self.tasks
            .iter()
            .position(|t| t.name == name)
            .map(|i| TaskIx(u32::try_from(i).unwrap_or(u32::MAX)))
    }
}

/// A declared input of a workflow.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct InputDecl {
    pub value_type: ValueType,
    pub default: Option<Value>,
    pub description: Option<String>,
}

/// The types that inputs are declared with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ValueType {
    String,
    Integer,
    Number,
    Boolean,
    Blob,
    List,
    Object,
    Any,
}

impl ValueType {
    #[must_use]
    pub fn admits(self, value: &Value) -> bool {
        match self {
            Self::String => matches!(value, Value::String(_)),
            Self::Integer => matches!(value, Value::Int(_)),
            Self::Number => matches!(value, Value::Int(_) | Value::Float(_)),
            Self::Boolean => matches!(value, Value::Bool(_)),
            Self::Blob => matches!(value, Value::Blob(_) | Value::Bytes(_)),
            Self::List => matches!(value, Value::List(_)),
            Self::Object => matches!(value, Value::Map(_)),
            Self::Any => true,
        }
    }

    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::String => "string",
            Self::Integer => "integer",
            Self::Number => "number",
            Self::Boolean => "boolean",
            Self::Blob => "blob",
            Self::List => "list",
            Self::Object => "object",
            Self::Any => "any",
        }
    }
}

/// A node of the graph.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Task {
    pub name: String,
    pub uses: ComponentRef,
    /// All tasks that must end before this one is decided: those under `needs` and those that its expressions name.
    pub needs: BTreeSet<TaskIx>,
    pub when: Option<Expr>,
    pub with: BTreeMap<String, Template>,
    pub for_each: Option<ForEach>,
    pub retry: RetryPolicy,
    /// Wall time of one attempt.
    pub timeout: Option<Millis>,
    /// CPU time of one attempt.
    pub cpu_limit: Option<Millis>,
    /// Longest wait for admission.
    pub queue_timeout: Option<Millis>,
    pub trigger_rule: TriggerRule,
    pub resources: Resources,
    pub placement: Placement,
    /// Capabilities beyond the default ones.
    pub grants: BTreeSet<Grant>,
    /// Whether running it twice is harmless. Defaults to true, and to false once a grant has outside effects.
    pub idempotent: bool,
}

impl Task {
    /// A task that runs `uses` with what the language gives to one that says nothing else.
    #[must_use]
    pub fn new(name: impl Into<String>, uses: ComponentRef) -> Self {
        Self {
            name: name.into(),
            uses,
            needs: BTreeSet::new(),
            when: None,
            with: BTreeMap::new(),
            for_each: None,
            retry: RetryPolicy::default(),
            timeout: None,
            cpu_limit: None,
            queue_timeout: None,
            trigger_rule: TriggerRule::default(),
            resources: Resources::default(),
            placement: Placement::default(),
            grants: BTreeSet::new(),
            idempotent: true,
        }
    }
}

/// The component that runs a task: as the author named it, and what the name meant when the version was stored.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct ComponentRef {
    /// `eyot/image@1`, `./path.wasm`, or `name@b3:…`.
    pub name: String,
    /// None only before the version is stored.
    pub digest: Option<Digest>,
    /// Length of the component in bytes, 0 where it is not known.
    pub size: u64,
}

/// A CEL expression, as source text. It was parsed once when the workflow was validated.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Expr {
    pub source: String,
}

/// A value with `${{ }}` holes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Template {
    Literal(Value),
    /// The whole text is one hole: the value keeps its type.
    Expr(Expr),
    /// Text around holes: the result is a string.
    Text(Vec<TextPart>),
    List(#[serde(deserialize_with = "bounded")] Vec<Template>),
    Map(#[serde(deserialize_with = "bounded")] BTreeMap<String, Template>),
}

fn bounded<'de, D: Deserializer<'de>, T: Deserialize<'de>>(d: D) -> Result<T, D::Error> {
    let _level = depth::Guard::enter::<D::Error>()?;
    T::deserialize(d)
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum TextPart {
    Text(String),
    Expr(Expr),
}

/// Runs the task once for each item of a list that is known when the tasks before it have ended.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ForEach {
    pub items: Template,
    /// Name of the item in expressions; `index` is bound too.
    pub name: String,
    pub max_parallel: Option<u32>,
    pub item_failure: ItemFailure,
}

/// What a failed item means for its `forEach` task.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ItemFailure {
    /// The other items go on, then the task fails.
    #[default]
    Fail,
    /// The item's output is null and the task succeeds, unless every item failed.
    Continue,
}

/// When and how often a failed attempt is tried again.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RetryPolicy {
    /// Attempts in all, the first one counted.
    pub max_attempts: u32,
    pub initial_interval: Millis,
    pub factor: f64,
    pub max_interval: Millis,
    pub jitter: Jitter,
    /// Bound names: `error.kind`, `error.code`, `error.message`, `error.retryable`, `attempt`.
    pub when: Option<Expr>,
}

impl Default for RetryPolicy {
    /// Three attempts, 10 s and then twice as long each time, at most 5 min, with full jitter.
    fn default() -> Self {
        Self {
            max_attempts: 3,
            initial_interval: Millis::from_secs(10),
            factor: 2.0,
            max_interval: Millis::from_secs(300),
            jitter: Jitter::Full,
            when: None,
        }
    }
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Jitter {
    None,
    /// Uniform between nothing and the interval.
    #[default]
    Full,
}

/// When a task runs, by the states of the tasks before it. Airflow's names and meanings.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TriggerRule {
    AllSuccess,
    AllFailed,
    AllDone,
    AllSkipped,
    OneSuccess,
    OneFailed,
    OneDone,
    NoneFailed,
    NoneSkipped,
    #[default]
    NoneFailedMinOneSuccess,
    Always,
}

impl TriggerRule {
    /// Whether a task with this rule may run because a task before it failed: whoever writes it has thought of failures.
    #[must_use]
    pub fn accepts_failure(self) -> bool {
        match self {
            Self::AllFailed | Self::AllDone | Self::OneFailed | Self::OneDone | Self::NoneSkipped => true,
            Self::AllSuccess | Self::AllSkipped | Self::OneSuccess | Self::NoneFailed | Self::NoneFailedMinOneSuccess | Self::Always => {
                false
            }
        }
    }
}

/// What one attempt takes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Resources {
    /// Thousandths of a core.
    pub cpu_millis: u32,
    /// Limit of the component's memory, in bytes.
    pub memory_bytes: u64,
    pub gpu: Want,
}

impl Default for Resources {
    fn default() -> Self {
        Self {
            cpu_millis: 1_000,
            memory_bytes: 256 << 20,
            gpu: Want::None,
        }
    }
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Want {
    #[default]
    None,
    Preferred,
    Required,
}

/// Where a task may run and where it had better run. Expressions over `agent` and `inputs`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Placement {
    pub require: Option<Expr>,
    pub prefer: Option<Expr>,
}

/// A capability that a workflow gives to a task. What is not granted is not there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Grant {
    /// Run models on the agent (`eyot:task/inference`).
    Inference,
    /// A private folder for the time of the attempt.
    Scratch,
    /// Clocks at full precision; otherwise they tick in whole milliseconds.
    PreciseClock,
}

/// What happens to a fragment while its agent is out of contact.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct OnDisconnect {
    /// The agent pauses its work on the fragment after this long.
    pub pause_after: Option<Millis>,
    /// The cloud gives the unfinished rest to another agent after this long. None: it waits.
    pub reassign_after: Option<Millis>,
    /// A late agent may get the whole fragment back under a new epoch.
    pub accept_late: bool,
}

impl OnDisconnect {
    /// How much faster than the control plane's clock an agent's may run, or slower: hundredths. Quartz stays within 0.01;
    /// the rest is for clocks that are slewed.
    pub const DRIFT_PERCENT: u64 = 1;
    /// What stopping a running attempt takes at most, in which the agent still works after its pause is due.
    pub const MARGIN: Millis = Millis(1_000);

    /// `reassignAfter` has to be longer than this for an agent that pauses after `pause` to have stopped in any case.
    #[must_use]
    pub fn least_reassign(pause: Millis) -> Millis {
        let drift = pause.0.saturating_mul(Self::DRIFT_PERCENT).div_ceil(100);
        Millis(pause.0.saturating_add(drift).saturating_add(Self::MARGIN.0))
    }
}

/// What the failure of a task means for the run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OnFailure {
    /// Cancel what has not ended; the run fails.
    Terminate,
    /// Whatever does not depend on it goes on; then the run fails.
    #[default]
    Finish,
    /// As `Finish`, but the run succeeds.
    Ignore,
}

/// How long ended runs are kept. None: the control plane's setting.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Retention {
    pub succeeded: Option<Millis>,
    pub failed: Option<Millis>,
}

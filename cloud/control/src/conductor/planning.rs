//! Asking the planner, with what was learnt of durations.

use crate::fleet::Snapshot;
use crate::store::Change;
use eyot_model::{AgentId, Event, Inputs, Outcome, Plan, Refusal, RunId, TaskIx, Value, Workflow};
use eyot_planner::{Candidate, History, Observation, Request};
use parking_lot::RwLock;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Name of the document that the history is stored as.
pub(crate) const DOCUMENT: &str = "history";

/// The planner and its memory.
#[derive(Default)]
pub(crate) struct Planning {
    history: RwLock<Arc<History>>,
    /// The history changed since it was stored.
    changed: AtomicBool,
    /// The speed of each agent, by which durations are made comparable.
    speeds: RwLock<HashMap<AgentId, f64>>,
}

/// Why a run has no plan.
#[derive(Clone, Debug)]
pub(crate) struct Unplaced {
    /// For people.
    pub(crate) why: String,
    /// Each task that no agent can run, with the reasons.
    pub(crate) unplaceable: Vec<(String, Vec<Refusal>)>,
    /// Whether a change of the fleet can help.
    pub(crate) waits: bool,
}

impl Planning {
    /// With the history as it was stored. One that cannot be read is begun anew: it only makes plans better.
    pub(crate) fn new(stored: Option<Vec<u8>>) -> Self {
        let history = stored.and_then(|bytes| {
            postcard::from_bytes(&bytes)
                .inspect_err(|error| tracing::warn!(%error, "what was learnt of durations cannot be read; it is learnt anew"))
                .ok()
        });
        Self {
            history: RwLock::new(Arc::new(history.unwrap_or_default())),
            ..Self::default()
        }
    }

    /// A plan for a run of which nothing has begun.
    pub(crate) fn plan(&self, run: RunId, workflow: &Workflow, inputs: &Inputs, fleet: &[Snapshot]) -> Result<Plan, Unplaced> {
        let history = Arc::clone(&self.history.read());
        let candidates = candidates(fleet);
        let request = Request {
            workflow,
            inputs,
            fleet: &candidates,
            history: &history,
            settled: &BTreeSet::new(),
            outputs_at: &BTreeMap::new(),
            // The low half of a run's id is random.
            #[allow(clippy::cast_possible_truncation)]
            seed: run.0 as u64,
        };
        let began = std::time::Instant::now();
        let plan = eyot_planner::plan(&request);
        metrics::histogram!("eyot_plan_seconds").record(began.elapsed().as_secs_f64());
        plan.map_err(unplaced)
    }

    /// The agent that takes all of a run that is not `settled`, and none of `exclude`; or why none does.
    pub(super) fn place(
        &self,
        run: RunId,
        (workflow, inputs): (&Workflow, &Inputs),
        fleet: &[Snapshot],
        (settled, outputs_at): (&BTreeSet<TaskIx>, &BTreeMap<TaskIx, AgentId>),
        exclude: &BTreeSet<AgentId>,
    ) -> Result<AgentId, String> {
        let history = Arc::clone(&self.history.read());
        let candidates = candidates(fleet);
        let request = Request {
            workflow,
            inputs,
            fleet: &candidates,
            history: &history,
            settled,
            outputs_at,
            // The low half of a run's id is random.
            #[allow(clippy::cast_possible_truncation)]
            seed: run.0 as u64,
        };
        eyot_planner::place_whole(&request, exclude).map_err(|error| crate::chain(&error))
    }

    /// Learns from an event of an agent.
    pub(super) fn learn(&self, workflow: &Workflow, event: &Event, agent: AgentId) {
        let component = |task: TaskIx| workflow.tasks.get(task.index()).and_then(|task| task.uses.digest);
        match event {
            Event::Ended {
                path,
                outcome: Outcome::Succeeded(outputs),
                usage,
                ..
            } => {
                let Some(component) = component(path.task) else { return };
                let observation = Observation {
                    component,
                    agent,
                    speed: self.speeds.read().get(&agent).copied().unwrap_or(1.0),
                    wall_micros: usage.wall_micros,
                    output_bytes: outputs.values().map(bytes).fold(0, u64::saturating_add),
                };
                self.change(|history| history.record(&observation));
            }
            Event::Expanded { task, count, .. } => {
                if let Some(component) = component(*task) {
                    self.change(|history| history.record_items(component, *count));
                }
            }
            _ => {}
        }
    }

    fn change(&self, change: impl FnOnce(&mut History)) {
        change(Arc::make_mut(&mut self.history.write()));
        self.changed.store(true, Ordering::Relaxed);
    }

    pub(crate) fn set_speed(&self, agent: AgentId, speed: f64) {
        self.speeds.write().insert(agent, speed);
    }

    pub(super) fn forget(&self, agent: AgentId) {
        self.speeds.write().remove(&agent);
        self.change(|history| history.forget_agent(agent));
    }

    /// What was learnt since this was asked last, to be stored.
    pub(super) fn learnt(&self) -> Option<Change> {
        if !self.changed.swap(false, Ordering::Relaxed) {
            return None;
        }
        let history = Arc::clone(&self.history.read());
        match postcard::to_stdvec(&*history) {
            Ok(value) => Some(Change::PutDocument { name: DOCUMENT, value }),
            Err(error) => {
                tracing::error!(%error, "what was learnt of durations cannot be stored");
                None
            }
        }
    }
}

fn candidates(fleet: &[Snapshot]) -> Vec<Candidate<'_>> {
    fleet
        .iter()
        .map(|agent| Candidate {
            profile: &agent.profile,
            draining: agent.draining,
            link: agent.link,
        })
        .collect()
}

/// Bytes of a value, those of the blobs that it names included.
fn bytes(value: &Value) -> u64 {
    let mut total = value.size_hint() as u64;
    value.for_each_blob(&mut |blob| total = total.saturating_add(blob.size));
    total
}

fn unplaced(error: eyot_planner::Error) -> Unplaced {
    let why = crate::chain(&error);
    let (unplaceable, waits) = match error {
        eyot_planner::Error::Unplaceable(tasks) => (tasks.into_iter().map(|task| (task.name, task.refusals)).collect(), true),
        eyot_planner::Error::NoAgents | eyot_planner::Error::Apart { .. } => (Vec::new(), true),
        _ => (Vec::new(), false),
    };
    Unplaced { why, unplaceable, waits }
}

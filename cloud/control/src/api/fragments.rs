//! The fragments of a run as the API shows them: who has each, since when that agent is out of contact and what follows
//! from it, and who had it before.

use crate::fleet::Fleet;
use crate::store::Entry;
use eyot_model::api::{FragmentView, LateResultView, SupersededView};
use eyot_model::{AgentId, Epoch, Event, FailureKind, FragmentId, LinkState, Outcome, State, TaskIx, Workflow};
use std::collections::{BTreeMap, HashMap};

/// Late results of one assignment that are shown.
const MOST_RESULTS: usize = 1_000;

#[derive(Default)]
pub(super) struct Fragments(BTreeMap<FragmentId, Fragment>);

#[derive(Default)]
struct Fragment {
    epoch: Epoch,
    agent: Option<AgentId>,
    tasks: Vec<TaskIx>,
    superseded: Vec<SupersededView>,
}

impl Fragments {
    /// Takes what an entry of the run's history says of its fragments.
    pub(super) fn note(&mut self, entry: &Entry, workflow: &Workflow, fleet: &Fleet) {
        match entry {
            Entry::Event { .. } => {}
            Entry::Assigned {
                fragment,
                epoch,
                agent,
                tasks,
                ..
            } => {
                let known = self.0.entry(*fragment).or_default();
                (known.epoch, known.agent) = (*epoch, Some(*agent));
                known.tasks.clone_from(tasks);
            }
            Entry::Superseded {
                fragment,
                epoch,
                agent,
                reason,
                at,
            } => {
                let known = self.0.entry(*fragment).or_default();
                (known.epoch, known.agent) = (Epoch(epoch.0 + 1), None);
                known.superseded.push(SupersededView {
                    epoch: *epoch,
                    agent_name: fleet.name(*agent),
                    reason: reason.clone(),
                    at: *at,
                    results: Vec::new(),
                });
            }
            Entry::Late {
                fragment,
                epoch,
                event,
                at,
                ..
            } => {
                let known = self.0.get_mut(fragment).into_iter().flat_map(|f| &mut f.superseded);
                let over = known.into_iter().find(|over| over.epoch == *epoch);
                if let (
                    Some(over),
                    Event::Ended {
                        path, attempt, outcome, ..
                    },
                ) = (over, event)
                    && over.results.len() < MOST_RESULTS
                {
                    over.results.push(LateResultView {
                        task: name(workflow, path.task),
                        item: path.item,
                        attempt: *attempt,
                        state: meant(outcome),
                        at: *at,
                    });
                }
            }
        }
    }

    /// The agent that each task belongs to.
    pub(super) fn owners(&self) -> HashMap<TaskIx, AgentId> {
        let of = |f: &Fragment| {
            f.agent
                .map(|agent| f.tasks.iter().map(move |task| (*task, agent)).collect::<Vec<_>>())
        };
        self.0.values().filter_map(of).flatten().collect()
    }

    /// `open` says whether a task has not ended.
    pub(super) fn views(self, workflow: &Workflow, fleet: &Fleet, open: impl Fn(TaskIx) -> bool) -> Vec<FragmentView> {
        let view = |(id, fragment): (FragmentId, Fragment)| {
            let unfinished = fragment.tasks.iter().any(|task| open(*task));
            let away_since = fragment.agent.filter(|_| unfinished).and_then(|agent| fleet.away_since(agent));
            FragmentView {
                id,
                agent: fragment.agent,
                agent_name: fragment.agent.map(|agent| fleet.name(agent)),
                epoch: fragment.epoch,
                link: fragment.agent.map_or(LinkState::Disconnected, |agent| fleet.link(agent)),
                away_since,
                reassign_at: away_since
                    .zip(workflow.on_disconnect.reassign_after)
                    .map(|(since, grace)| since.after(grace)),
                tasks: fragment.tasks.iter().map(|task| name(workflow, *task)).collect(),
                superseded: fragment.superseded,
            }
        };
        self.0.into_iter().map(view).collect()
    }
}

/// The agent whose return a run waits for, where it waits for no more than that.
pub(super) fn contact(fragments: &[FragmentView]) -> Option<String> {
    let away = fragments.iter().find(|f| f.away_since.is_some() && f.reassign_at.is_none())?;
    let agent = away.agent_name.as_deref().unwrap_or("nobody");
    Some(format!("agent `{agent}`, which is out of contact and has fragment {}", away.id.0))
}

fn name(workflow: &Workflow, task: TaskIx) -> String {
    workflow
        .tasks
        .get(task.index())
        .map_or_else(|| format!("task {}", task.0), |task| task.name.clone())
}

fn meant(outcome: &Outcome) -> State {
    match outcome {
        Outcome::Succeeded(_) => State::Succeeded,
        Outcome::Cancelled => State::Cancelled,
        Outcome::Failed(failure) if failure.kind == FailureKind::Timeout => State::TimedOut,
        Outcome::Failed(_) => State::Failed,
    }
}

//! The loop around the coordinator: one task that owns it, feeds it, and hands on what it wants done.
//!
//! The loop never waits for the disk. What has to be stored, and what may only happen once it is stored, go as one
//! [`Step`] to the [`carrier`], which commits as many steps at once as there are and then does the rest in order.

mod carrier;
mod foreign;
mod live;
mod owners;
mod planning;
mod restore;
mod steps;
#[cfg(test)]
mod tests;

pub(crate) use foreign::ended_events;
pub(crate) use planning::{DOCUMENT, Planning, Unplaced};

use crate::access::Access;
use crate::board::Board;
use crate::clock;
use crate::disk::Disk;
use crate::fleet::Fleet;
use crate::store::{Change, RunRecord, Store};
use carrier::{Effect, Step};
use eyot_coordinator::{Coordinator, Moving, Nothing, Submission, Unresolvable, Which};
use eyot_model::{AgentId, Epoch, FragmentId, LinkState, Millis, Plan, Resolution, RunId, TaskIx};
use eyot_wire::{Inventory, OwnRun, Refusal, Report, SavedState};
use live::Live;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// Inputs that wait for the loop before those who give more have to wait.
const QUEUE: usize = 4_096;
/// Inputs handled before their commands are handed on.
const BATCH: usize = 256;
/// Runs of more tasks are planned beside the loop.
const INLINE_PLAN: usize = 200;
/// Changes of the fleet within this time lead to one planning.
const SETTLE: Duration = Duration::from_millis(20);
/// How often what was learnt of durations is stored.
const LEARNT_EVERY: Duration = Duration::from_secs(30);

/// What happens to the control plane's runs from outside.
pub(crate) enum Input {
    Submit(Box<Submit>),
    Cancel {
        run: RunId,
        by: String,
        answer: oneshot::Sender<bool>,
    },
    /// An operator says what became of an attempt.
    Resolve {
        run: RunId,
        task: TaskIx,
        item: Option<u32>,
        resolution: Resolution,
        by: String,
        answer: oneshot::Sender<Result<(), Unresolvable>>,
    },
    /// An agent's link: connected, suspect, gone.
    Link {
        agent: AgentId,
        state: LinkState,
    },
    Inventory {
        agent: AgentId,
        /// The number of the link over which it came.
        link: u64,
        inventory: Inventory,
    },
    Accepted {
        agent: AgentId,
        run: RunId,
        fragment: FragmentId,
        epoch: Epoch,
    },
    Refused {
        agent: AgentId,
        run: RunId,
        fragment: FragmentId,
        epoch: Epoch,
        why: Refusal,
    },
    Report {
        agent: AgentId,
        report: Report,
    },
    /// What a task instance saved for itself.
    Saved {
        agent: AgentId,
        run: RunId,
        fragment: FragmentId,
        state: Box<SavedState>,
    },
    /// An agent has a fragment at rest that it was asked to yield.
    Yielded {
        agent: AgentId,
        run: RunId,
        fragment: FragmentId,
        epoch: Epoch,
    },
    /// An agent is to be empty, or may keep what it has. Answered with how far that is.
    Move {
        agent: AgentId,
        on: bool,
        answer: oneshot::Sender<Vec<Moving>>,
    },
    /// An agent tells of a run of its own. `granted`: it may; `ended`: the store has that many events of it and its end.
    OwnRun {
        agent: AgentId,
        told: Box<OwnRun>,
        granted: bool,
        ended: Option<u64>,
    },
    /// An agent does not have a run of its own any more.
    OwnRunGone {
        agent: AgentId,
        run: RunId,
    },
    /// A plan that was made beside the loop.
    Planned {
        run: RunId,
        outcome: Result<Plan, Unplaced>,
    },
    /// Who can take work changed.
    FleetChanged,
    /// Fragments are to be taken from their agents.
    Reassign {
        run: RunId,
        which: Which,
        answer: oneshot::Sender<Result<Vec<FragmentId>, Nothing>>,
    },
    /// An agent commits nothing any more under what it was given: revoked, removed, or a copy of its disk was seen.
    Expel {
        agent: AgentId,
        why: &'static str,
    },
    /// An operator lets an agent begin anew.
    StartOver {
        agent: AgentId,
        answer: oneshot::Sender<()>,
    },
    /// An agent was removed for good.
    Forget(AgentId),
    Stop,
}

impl Input {
    /// The agent whose word this is.
    fn said_by(&self) -> Option<AgentId> {
        match self {
            Self::OwnRun { agent, .. }
            | Self::OwnRunGone { agent, .. }
            | Self::Inventory { agent, .. }
            | Self::Accepted { agent, .. }
            | Self::Refused { agent, .. }
            | Self::Report { agent, .. } => Some(*agent),
            _ => None,
        }
    }
}

/// A run that was accepted and is to begin.
pub(crate) struct Submit {
    pub(crate) submission: Submission,
    /// What else has to be stored with it, and goes before it.
    pub(crate) changes: Vec<Change>,
    /// The client's key for it.
    pub(crate) key: Option<[u8; 32]>,
    /// Once it is stored.
    pub(crate) answer: oneshot::Sender<Result<Begun, eyot_engine::GraphError>>,
}

/// A run that a submission led to.
pub(crate) enum Begun {
    /// As it is stored.
    New(Box<RunRecord>),
    /// The key was used before, for this run; or the new run has ended already.
    Known(RunId),
}

/// Gives inputs to the loop. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Handle {
    inputs: mpsc::Sender<Input>,
}

/// The loop has ended.
#[derive(Debug, thiserror::Error)]
#[error("the control plane is stopping")]
pub(crate) struct Stopping;

impl Handle {
    pub(crate) async fn give(&self, input: Input) -> Result<(), Stopping> {
        self.inputs.send(input).await.map_err(|_| Stopping)
    }

    /// Gives an input and waits for the answer to it.
    pub(crate) async fn ask<T>(&self, input: impl FnOnce(oneshot::Sender<T>) -> Input) -> Result<T, Stopping> {
        let (answer, answered) = oneshot::channel();
        self.give(input(answer)).await?;
        answered.await.map_err(|_| Stopping)
    }
}

/// What the loop works with.
pub(crate) struct Options {
    pub(crate) store: Store,
    pub(crate) fleet: Fleet,
    pub(crate) board: Board,
    pub(crate) access: Access,
    pub(crate) planning: Arc<Planning>,
    pub(crate) blobs: eyot_blob::Store,
    pub(crate) keep_succeeded: Millis,
    pub(crate) keep_failed: Millis,
    /// Told how commits fare.
    pub(crate) disk: Disk,
    /// Cancelled when going on would be wrong.
    pub(crate) fatal: CancellationToken,
}

pub(crate) struct Conductor {
    coordinator: Coordinator,
    options: Options,
    live: BTreeMap<RunId, Live>,
    /// Keys of clients whose runs may not be stored yet.
    keys: RecentKeys,
    /// Runs that are being planned beside the loop, and whether that was asked for once more meanwhile.
    planning: HashMap<RunId, bool>,
    /// Agents whose work is to go on elsewhere, as it is stored.
    moving: HashSet<AgentId>,
    steps: mpsc::UnboundedSender<Step>,
    inputs: mpsc::Receiver<Input>,
    /// For plans that are made beside the loop.
    own: mpsc::WeakSender<Input>,
    planners: TaskTracker,
    replan_at: Option<tokio::time::Instant>,
    stopping: bool,
}

impl Conductor {
    /// Takes up what had not ended, and starts the loop. The task ends after [`Input::Stop`], with everything committed.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub(crate) async fn start(options: Options) -> Result<(Handle, tokio::task::JoinHandle<()>), crate::store::Error> {
        let (mut conductor, handle, carrier) = Self::new(options);
        conductor.restore().await?;
        conductor.hand_on(Step::default());
        // A loop that ends otherwise than by its own decision leaves nothing that could go on.
        let fatal = conductor.options.fatal.clone().drop_guard();
        let task = tokio::spawn(async move {
            conductor.run().await;
            drop(fatal.disarm());
            if let Err(error) = carrier.await {
                tracing::error!(%error, "the committing task failed");
            }
        });
        Ok((handle, task))
    }

    /// With the committing task, and nothing taken up yet.
    fn new(options: Options) -> (Self, Handle, tokio::task::JoinHandle<()>) {
        let (sender, inputs) = mpsc::channel(QUEUE);
        let (steps, queue) = mpsc::unbounded_channel();
        let carrier = carrier::Carrier {
            store: options.store.clone(),
            fleet: options.fleet.clone(),
            board: options.board.clone(),
            access: options.access.clone(),
            disk: options.disk.clone(),
            runtime: tokio::runtime::Handle::current(),
            fatal: options.fatal.clone(),
        };
        let carrier = tokio::spawn(carrier.run(queue));
        let conductor = Self {
            coordinator: Coordinator::new(),
            options,
            live: BTreeMap::new(),
            keys: RecentKeys::default(),
            planning: HashMap::new(),
            moving: HashSet::new(),
            steps,
            inputs,
            own: sender.downgrade(),
            planners: TaskTracker::new(),
            replan_at: None,
            stopping: false,
        };
        (conductor, Handle { inputs: sender }, carrier)
    }

    async fn run(mut self) {
        let mut learnt = tokio::time::interval(LEARNT_EVERY);
        learnt.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut batch = Vec::with_capacity(BATCH);
        while !self.stopping {
            let due = self
                .coordinator
                .poll_timeout()
                .map(|at| at.since(clock::now()).as_duration() + Duration::from_millis(1));
            let replan = self.replan_at;
            tokio::select! {
                n = self.inputs.recv_many(&mut batch, BATCH) => {
                    if n == 0 {
                        break;
                    }
                }
                () = tokio::time::sleep(due.unwrap_or(Duration::MAX)), if due.is_some() => self.coordinator.handle_timeout(clock::now()),
                () = sleep_until(replan), if replan.is_some() => {
                    self.replan_at = None;
                    self.coordinator.fleet_changed();
                }
                _ = learnt.tick() => {
                    self.store_learnt();
                    if self.coordinator.entries().next().is_none() && self.coordinator.poll_timeout().is_none() {
                        clock::follow();
                    }
                }
            }
            let mut step = Step::default();
            for input in batch.drain(..) {
                self.handle(input, &mut step);
            }
            self.hand_on(step);
        }
        self.inputs.close();
        self.store_learnt();
    }

    fn handle(&mut self, input: Input, step: &mut Step) {
        let now = clock::now();
        // It may have waited here while the agent was revoked.
        if let Some(agent) = input.said_by().filter(|agent| !self.options.fleet.is_welcome(*agent)) {
            tracing::warn!(%agent, "refused a message: the agent was revoked or removed");
            return;
        }
        match input {
            Input::Submit(submit) => self.submit(*submit, step),
            Input::Cancel { run, by, answer } => {
                let done = match self.coordinator.foreign_agent(run) {
                    Some(agent) => {
                        let gone = self.options.fleet.get(agent).is_none_or(|(record, _)| record.revoked);
                        self.coordinator.cancel_foreign(run, &by, gone, now)
                    }
                    None => self.coordinator.cancel(run, &by, now),
                };
                // Answered when the request is stored.
                self.translate(step);
                step.effects.push(Effect::Answer(Box::new(move || _ = answer.send(done))));
            }
            Input::Resolve {
                run,
                task,
                item,
                resolution,
                by,
                answer,
            } => {
                let told = self.coordinator.resolve(run, task, item, resolution, &by);
                // Whoever asked may have gone.
                let _ = answer.send(told);
            }
            Input::Link { agent, state } => {
                self.coordinator.link_changed(agent, state, now);
                self.settle_soon();
            }
            Input::Inventory { agent, link, inventory } => {
                // One of an earlier process that is handled after that of a later one would be taken for a lost journal.
                if self.options.fleet.is_present(agent, link) {
                    self.coordinator.inventory(agent, &inventory, now);
                }
            }
            Input::Accepted {
                agent,
                run,
                fragment,
                epoch,
            } => self.coordinator.accepted(agent, run, fragment, epoch),
            Input::Refused {
                agent,
                run,
                fragment,
                epoch,
                why,
            } => self.coordinator.refused(agent, run, fragment, epoch, &why, now),
            Input::Yielded {
                agent,
                run,
                fragment,
                epoch,
            } => {
                let missing = self.missing_blobs(run, fragment);
                self.coordinator.yielded(agent, run, fragment, epoch, &missing, now);
            }
            Input::Move { agent, on, answer } => {
                let news = if on {
                    self.coordinator.move_all(agent);
                    self.moving.insert(agent)
                } else {
                    self.coordinator.call_off_moves(agent);
                    self.moving.remove(&agent)
                };
                if news {
                    step.changes.push(Change::SetMoving { agent, on });
                }
                // The planner's answers belong to it.
                self.translate(step);
                let moves = self.coordinator.moves_of(agent);
                step.effects.push(Effect::Answer(Box::new(move || _ = answer.send(moves))));
            }
            Input::Saved {
                agent,
                run,
                fragment,
                state,
            } => self.coordinator.saved(agent, run, fragment, *state),
            Input::Report { agent, report } => self.coordinator.reported(agent, report, now),
            Input::OwnRun {
                agent,
                told,
                granted,
                ended,
            } => self.coordinator.own_run(agent, *told, granted, ended, now),
            Input::OwnRunGone { agent, run } => self.coordinator.own_run_gone(agent, run, now),
            Input::Planned { run, outcome } => {
                let asked_again = self.planning.remove(&run).unwrap_or_default();
                let failed = outcome.is_err();
                self.planned(run, outcome, step);
                if failed && asked_again {
                    self.plan(run, step);
                }
            }
            Input::FleetChanged => self.settle_soon(),
            Input::Reassign { run, which, answer } => {
                let taken = self.coordinator.reassign(run, which, now);
                self.translate(step);
                step.effects.push(Effect::Answer(Box::new(move || _ = answer.send(taken))));
            }
            Input::Expel { agent, why } => self.coordinator.expel(agent, why, now),
            Input::StartOver { agent, answer } => {
                self.coordinator.start_over(agent, "an operator let the agent begin anew", now);
                self.translate(step);
                step.effects.push(Effect::Answer(Box::new(move || _ = answer.send(()))));
            }
            Input::Forget(agent) => {
                self.coordinator.expel(agent, "the agent was removed", now);
                self.moving.remove(&agent);
                self.options.planning.forget(agent);
            }
            Input::Stop => self.stopping = true,
        }
        // In the order of the inputs, so that what a step stores comes before what later inputs lead to.
        self.translate(step);
    }

    fn submit(&mut self, submit: Submit, step: &mut Step) {
        let Submit {
            submission,
            changes,
            key,
            answer,
        } = submit;
        let run = submission.run;
        if let Some(known) = key.and_then(|key| self.keys.get(&key)) {
            step.effects
                .push(Effect::Answer(Box::new(move || _ = answer.send(Ok(Begun::Known(known))))));
            return;
        }
        let live = Live::new(&submission);
        let new = live.record(&submission);
        let workflow = Arc::clone(&submission.workflow);
        if let Err(error) = self.coordinator.submit(submission, clock::now()) {
            let _ = answer.send(Err(error));
            return;
        }
        if let Some(key) = key {
            self.keys.put(key, run);
        }
        self.live.insert(run, live);
        step.changes.extend(changes);
        step.changes.push(Change::NewRun(Box::new(new.clone())));
        step.effects.push(Effect::Begin { run, workflow });
        self.translate(step);
        let begun = self
            .live
            .get(&run)
            .map_or(Begun::Known(run), |live| Begun::New(Box::new(live.stored(&new))));
        step.effects.push(Effect::Answer(Box::new(move || _ = answer.send(Ok(begun)))));
    }

    fn settle_soon(&mut self) {
        self.replan_at.get_or_insert_with(|| tokio::time::Instant::now() + SETTLE);
    }

    /// Gives what is to be done to the carrier.
    fn hand_on(&mut self, mut step: Step) {
        self.translate(&mut step);
        if step.is_empty() {
            return;
        }
        let mut owned: HashMap<AgentId, u32> = HashMap::new();
        if step.assigns {
            for (_, entry) in self.coordinator.entries() {
                for fragment in entry.fragments.values().filter(|f| !entry.fragment_ended(f)) {
                    if let Some(agent) = fragment.agent {
                        *owned.entry(agent).or_default() += 1;
                    }
                }
            }
            step.effects.push(Effect::Owned(owned));
        }
        // It only fails when the carrier has given up, and then everything stops anyway.
        let _ = self.steps.send(step);
    }

    fn store_learnt(&mut self) {
        if let Some(change) = self.options.planning.learnt() {
            let _ = self.steps.send(Step {
                changes: vec![change],
                ..Step::default()
            });
        }
    }
}

async fn sleep_until(at: Option<tokio::time::Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at).await,
        None => std::future::pending().await,
    }
}

/// The keys of the latest submissions. Older ones are in the store, where the API looks first.
#[derive(Default)]
struct RecentKeys {
    runs: HashMap<[u8; 32], RunId>,
    order: std::collections::VecDeque<[u8; 32]>,
}

impl RecentKeys {
    const MOST: usize = 16_384;

    fn get(&self, key: &[u8; 32]) -> Option<RunId> {
        self.runs.get(key).copied()
    }

    fn put(&mut self, key: [u8; 32], run: RunId) {
        self.runs.insert(key, run);
        self.order.push_back(key);
        if self.order.len() > Self::MOST
            && let Some(oldest) = self.order.pop_front()
        {
            self.runs.remove(&oldest);
        }
    }
}

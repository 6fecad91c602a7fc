//! The coordinator: its state, and what operators and the shell tell it.

use crate::command::{Change, Command};
use crate::entry::{Entry, FragmentEntry};
use crate::foreign::ForeignRuns;
use crate::lease::Leases;
use crate::moving::Moves;
use eyot_engine::{Command as Step, Graph, GraphError, Run};
use eyot_model::{AgentId, Digest, Epoch, Event, FragmentId, Inputs, Plan, Position, RunId, TaskIx, Timestamp, Workflow};
use eyot_wire::{SavedState, ToAgent};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

/// A run as it was submitted: validated and stored by the shell.
#[derive(Clone, Debug)]
pub struct Submission {
    pub run: RunId,
    pub workflow: Arc<Workflow>,
    pub inputs: Arc<Inputs>,
    pub created_at: Timestamp,
}

/// An unfinished run as the store has it.
#[derive(Clone, Debug)]
pub struct Stored {
    pub submission: Submission,
    pub plan: Option<Plan>,
    pub fragments: Vec<StoredFragment>,
    /// In the order of their sequence numbers.
    pub events: Vec<Event>,
    /// What instances saved for themselves.
    pub saved: Vec<SavedState>,
}

/// A fragment as the store has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredFragment {
    pub fragment: FragmentId,
    /// None where it was fenced.
    pub agent: Option<AgentId>,
    pub epoch: Epoch,
    pub tasks: Vec<TaskIx>,
    /// Who owned it under earlier epochs.
    pub former: BTreeMap<Epoch, AgentId>,
}

#[derive(Default)]
pub struct Coordinator {
    pub(crate) runs: BTreeMap<RunId, Entry>,
    pub(crate) leases: Leases,
    pub(crate) heard: BTreeMap<AgentId, Position>,
    pub(crate) commands: VecDeque<Command>,
    pub(crate) moves: Moves,
    /// Blobs that the cloud does not have, of fragments that are about to be given to others.
    pub(crate) missing: BTreeMap<(RunId, FragmentId), BTreeSet<Digest>>,
    /// The first assignment of a fragment is above it.
    pub(crate) epochs_before: Epoch,
    timers: BTreeMap<RunId, Timestamp>,
    pub(crate) foreign: ForeignRuns,
}

impl Coordinator {
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    pub fn poll_command(&mut self) -> Option<Command> {
        self.commands.pop_front()
    }

    #[must_use]
    pub fn poll_timeout(&self) -> Option<Timestamp> {
        self.timers.values().min().copied().into_iter().chain(self.leases.next()).min()
    }

    pub fn handle_timeout(&mut self, now: Timestamp) {
        let due: Vec<RunId> = self.timers.iter().filter(|(_, at)| **at <= now).map(|(run, _)| *run).collect();
        for run in due {
            if let Some(entry) = self.runs.get_mut(&run) {
                entry.run.handle_timeout(now);
            }
            self.advance(run, None, now);
        }
        self.end_graces(now);
    }

    /// A new run. It asks for a plan at once.
    ///
    /// # Errors
    /// When the workflow cannot run; the shell has checked that before.
    pub fn submit(&mut self, submission: Submission, now: Timestamp) -> Result<(), GraphError> {
        let run = submission.run;
        if self.runs.contains_key(&run) {
            return Ok(());
        }
        let entry = new_entry(submission)?;
        self.runs.insert(run, entry);
        if self.runs.get(&run).is_some_and(|e| e.workflow.tasks.is_empty()) {
            if let Some(entry) = self.runs.get_mut(&run) {
                entry.run.resume(now);
            }
            self.advance(run, None, now);
        } else {
            self.commands.push_back(Command::Plan { run });
            self.watch(run);
        }
        Ok(())
    }

    /// An unfinished run from the store, at start. Its agents tell what they have when they connect.
    ///
    /// # Errors
    /// When the stored workflow cannot run under this version.
    pub fn restore(&mut self, stored: Stored, now: Timestamp) -> Result<(), GraphError> {
        let run = stored.submission.run;
        let mut entry = new_entry(stored.submission)?;
        entry.plan = stored.plan;
        let mut leased = Vec::new();
        for stored in stored.fragments {
            entry.owner.extend(stored.tasks.iter().map(|task| (*task, stored.fragment)));
            leased.extend(stored.agent.map(|agent| (stored.fragment, agent)));
            let owned = FragmentEntry {
                // Its inventory says whether the agent has it. Until then it may still refuse it.
                accepted: false,
                // Events of the whole history are not told apart by epoch here, so it is not given back to a late agent.
                progressed: true,
                former: stored.former,
                ..FragmentEntry::new(stored.agent, stored.epoch, stored.tasks)
            };
            entry.fragments.insert(stored.fragment, owned);
        }
        for event in &stored.events {
            let _ = entry.run.replay(event);
        }
        entry.events = stored.events;
        entry.saved = stored.saved.into_iter().map(|state| (state.path, state)).collect();
        let unplaced = entry.plan.is_none();
        entry.run.resume(now);
        self.runs.insert(run, entry);
        if unplaced {
            self.commands.push_back(Command::Plan { run });
        }
        for (fragment, agent) in leased {
            self.lease(run, fragment, agent, now);
        }
        self.advance(run, None, now);
        if self.runs.get(&run).is_some_and(|e| e.run.cancel_requested_by().is_some()) {
            self.end_what_nobody_owns(run, now);
        } else {
            self.search_for_fenced(run);
        }
        Ok(())
    }

    /// Epochs up to this one may have been given out by a control plane whose later store is lost: this one is put back from
    /// a back-up.
    pub fn begin_above(&mut self, before: Epoch) {
        self.epochs_before = before;
    }

    /// What the store knows of an agent's journal, at start.
    pub fn restore_heard(&mut self, agent: AgentId, through: Position) {
        self.heard.insert(agent, through);
    }

    /// Asks for a plan again for every run, and another agent for every fragment, that could not be placed: the fleet has
    /// changed.
    pub fn fleet_changed(&mut self) {
        let waiting: Vec<RunId> = self
            .runs
            .iter()
            .filter(|(_, e)| e.plan.is_none() && e.run.cancel_requested_by().is_none())
            .map(|(run, _)| *run)
            .collect();
        self.commands.extend(waiting.into_iter().map(|run| Command::Plan { run }));
        self.search_again();
        self.move_again();
    }

    /// No agent can take some task of the run; it waits for the fleet to change.
    pub fn unplaceable(&mut self, run: RunId, why: String) {
        if let Some(entry) = self.runs.get_mut(&run) {
            entry.waiting_for = Some(why);
        }
    }

    /// Stops a run. False if it is not unfinished.
    pub fn cancel(&mut self, run: RunId, by: &str, now: Timestamp) -> bool {
        let Some(entry) = self.runs.get_mut(&run) else { return false };
        if entry.plan.is_none() {
            // Nobody has it yet: the coordinator ends its tasks itself.
            let all: Vec<TaskIx> = tasks_of(&entry.workflow);
            entry.run.own(all, Epoch(0));
        }
        entry.run.cancel(by, now);
        self.advance(run, None, now);
        true
    }

    /// An unfinished run.
    #[must_use]
    pub fn entry(&self, run: RunId) -> Option<&Entry> {
        self.runs.get(&run)
    }

    /// All unfinished runs.
    pub fn entries(&self) -> impl Iterator<Item = (RunId, &Entry)> {
        self.runs.iter().map(|(run, entry)| (*run, entry))
    }

    /// How many unfinished fragments an agent owns.
    #[must_use]
    pub fn fragments_of(&self, agent: AgentId) -> u32 {
        u32::try_from(self.open_fragments_of(agent).len()).unwrap_or(u32::MAX)
    }

    /// Takes what the engine of a run wants done: events to store and to tell, the end.
    pub(crate) fn advance(&mut self, run: RunId, from: Option<AgentId>, now: Timestamp) {
        let mut news: BTreeMap<FragmentId, Vec<Event>> = BTreeMap::new();
        let mut ended = None;
        let Some(entry) = self.runs.get_mut(&run) else { return };
        let mut stopped = false;
        while let Some(step) = entry.run.poll_command() {
            match step {
                Step::Append(event) => {
                    entry.events.push(event.clone());
                    let seq = entry.events.len() as u64;
                    stopped |= matches!(event, Event::CancelRequested { .. });
                    if let Some(task) = event.task().filter(|_| is_fact(&event)) {
                        for fragment in followers(entry, task) {
                            news.entry(fragment).or_default().push(event.clone());
                        }
                    }
                    // The end is one transaction with the last event: no crash leaves a run that is over and not ended.
                    let over = if let Event::RunEnded { outcome, .. } = &event {
                        Some(outcome.clone())
                    } else {
                        None
                    };
                    let unsaved = entry.forget_saved(&event);
                    self.commands.push_back(Command::Commit(Change::Event {
                        run,
                        seq,
                        event,
                        agent: from,
                    }));
                    if let Some(path) = unsaved {
                        self.commands.push_back(Command::Commit(Change::Unsaved { run, path }));
                    }
                    if let Some(outcome) = over {
                        ended = Some(outcome.clone());
                        self.commands.push_back(Command::Commit(Change::Ended { run, outcome }));
                    }
                }
                Step::Finished(_) => {}
                // The coordinator owns only tasks that never run, so nothing is ready here and nothing is to be stopped.
                Step::Ready(_) | Step::Stop { .. } => {}
            }
        }
        for (fragment, events) in news {
            if let Some(agent) = entry.fragments.get(&fragment).and_then(|owned| owned.agent) {
                self.commands.push_back(Command::Send {
                    agent,
                    message: Box::new(ToAgent::Facts { run, events }),
                });
            }
        }
        if stopped {
            for agent in entry.agents() {
                self.commands.push_back(Command::Send {
                    agent,
                    message: Box::new(ToAgent::Cancel { run }),
                });
            }
        }
        if let Some(outcome) = ended {
            let agents: BTreeSet<AgentId> = entry.agents();
            self.runs.remove(&run);
            self.timers.remove(&run);
            for agent in agents {
                self.commands.push_back(Command::Send {
                    agent,
                    message: Box::new(ToAgent::Release { run }),
                });
            }
            self.commands.push_back(Command::Ended { run, outcome });
        } else {
            self.watch(run);
            if stopped {
                self.end_what_nobody_owns(run, now);
            }
        }
    }

    fn watch(&mut self, run: RunId) {
        match self.runs.get(&run).and_then(|entry| entry.run.poll_timeout()) {
            Some(at) => drop(self.timers.insert(run, at)),
            None => drop(self.timers.remove(&run)),
        }
    }
}

pub(crate) fn tasks_of(workflow: &Workflow) -> Vec<TaskIx> {
    (0u32..).zip(&workflow.tasks).map(|(ix, _)| TaskIx(ix)).collect()
}

fn new_entry(submission: Submission) -> Result<Entry, GraphError> {
    let graph = Arc::new(Graph::compile(Arc::clone(&submission.workflow))?);
    let mut run = Run::new(submission.run, graph, &submission.inputs, submission.created_at);
    run.coordinate();
    Ok(Entry {
        run,
        workflow: submission.workflow,
        inputs: submission.inputs,
        plan: None,
        fragments: BTreeMap::new(),
        waiting_for: None,
        owner: BTreeMap::new(),
        events: Vec::new(),
        saved: BTreeMap::new(),
    })
}

/// Starts and stops of attempts are for show; everything else is needed to decide.
fn is_fact(event: &Event) -> bool {
    !matches!(event, Event::Started { .. } | Event::Yielded { .. })
}

/// Fragments that wait for `task` and do not own it.
fn followers(entry: &Entry, task: TaskIx) -> BTreeSet<FragmentId> {
    let own = entry.owner.get(&task);
    entry
        .run
        .graph()
        .dependents(task)
        .iter()
        .filter_map(|d| entry.owner.get(d))
        .filter(|f| Some(*f) != own)
        .copied()
        .collect()
}

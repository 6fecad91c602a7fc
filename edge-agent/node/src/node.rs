//! The node: its state, and what happens to it from the inside (attempts, the journal, time).

use crate::admission::Admission;
use crate::command::{Command, Start};
use crate::firing::{Fires, TriggerKey};
use crate::held::Held;
use crate::lease::Lease;
use crate::outbox::Outbox;
use crate::own_registry::OwnRegistry;
use crate::own_runs::OwnRuns;
use crate::permission::Permission;
use crate::record::Record;
use crate::saved::Saved;
use crate::yielding::Yields;
use eyot_engine::{Command as Step, Graph, GraphError, Run};
use eyot_model::{
    AttemptId, Capacity, Digest, DiskState, Event, Failure, FragmentId, Load, Outcome, Outputs, Path, Position, Resolution, Resources,
    RunId, TaskIx, Timestamp, Usage,
};
use eyot_wire::{Assignment, ToCloud};
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

/// What does not change while the agent runs.
#[derive(Clone, Copy, Debug)]
pub struct Config {
    pub capacity: Capacity,
}

/// An agent's role in all its runs.
pub struct Node {
    pub(crate) runs: BTreeMap<RunId, Held>,
    pub(crate) admission: Admission,
    pub(crate) outbox: Outbox,
    pub(crate) commands: VecDeque<Command>,
    /// Of the record written last.
    pub(crate) last: Position,
    pub(crate) synced: Position,
    pub(crate) committed: Position,
    pub(crate) link: Link,
    pub(crate) lease: Lease,
    pub(crate) draining: bool,
    pub(crate) disk: DiskState,
    /// Assignments to acknowledge once they are synced.
    pub(crate) unconfirmed: VecDeque<(Position, ToCloud)>,
    pub(crate) saved: Saved,
    /// Attempts that begin once the control plane knows of them.
    pub(crate) permission: Permission,
    /// Fragments that are on their way to another agent.
    pub(crate) yields: Yields,
    /// Ends of coordinated runs to tell once they are synced.
    pub(crate) finished: VecDeque<(Position, Command)>,
    pub(crate) timers: BTreeMap<RunId, Timestamp>,
    pub(crate) own: OwnRuns,
    pub(crate) registry: OwnRegistry,
    /// What each trigger has fired for.
    pub(crate) fires: BTreeMap<TriggerKey, Fires>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Link {
    Down,
    /// The inventory was sent; nothing else may be.
    Reconciling,
    Up,
}

impl Node {
    /// A node that holds nothing. `generation` is the journal's.
    #[must_use]
    pub fn new(config: Config, generation: u64) -> Self {
        let origin = Position { generation, n: 0 };
        Self {
            runs: BTreeMap::new(),
            admission: Admission::new(config.capacity),
            outbox: Outbox::default(),
            commands: VecDeque::new(),
            last: origin,
            synced: origin,
            committed: origin,
            link: Link::Down,
            lease: Lease::default(),
            draining: false,
            disk: DiskState::Normal,
            unconfirmed: VecDeque::new(),
            saved: Saved::default(),
            permission: Permission::default(),
            yields: Yields::default(),
            finished: VecDeque::new(),
            timers: BTreeMap::new(),
            own: OwnRuns::default(),
            registry: OwnRegistry::default(),
            fires: BTreeMap::new(),
        }
    }

    /// The next thing to do.
    pub fn poll_command(&mut self) -> Option<Command> {
        self.commands.pop_front()
    }

    /// When [`Node::handle_timeout`] wants to be called.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Timestamp> {
        self.timers.values().min().copied().into_iter().chain(self.lease_timeout()).min()
    }

    pub fn handle_timeout(&mut self, now: Timestamp) {
        self.end_leases(now);
        let due: Vec<RunId> = self.timers.iter().filter(|(_, at)| **at <= now).map(|(run, _)| *run).collect();
        for run in due {
            if let Some(held) = self.runs.get_mut(&run) {
                held.run.handle_timeout(now);
            }
            self.advance(run, now);
        }
        self.admit(now);
    }

    /// An attempt that was started has ended, or could not be begun.
    pub fn attempt_ended(&mut self, id: &AttemptId, outcome: Outcome, usage: Usage, now: Timestamp) {
        if !self.admission.ended(id) {
            return;
        }
        let outcome = self.lease.end_of(id, outcome);
        if let Some(held) = self.runs.get_mut(&id.run) {
            // An attempt of a fragment that was taken away meanwhile has no place any more; the engine says so.
            if is_current(held, id) {
                let _ = held.run.attempt_ended(id.path, id.attempt, outcome, usage, now);
            }
            self.advance(id.run, now);
        }
        self.admit(now);
        self.press_on();
    }

    /// The journal is durable up to `position`.
    pub fn journal_synced(&mut self, position: Position) {
        self.synced = position;
        if self.link == Link::Up {
            self.confirm_again();
        }
        while self.finished.front().is_some_and(|(at, _)| crate::outbox::reached(*at, position)) {
            if let Some((_, command)) = self.finished.pop_front() {
                let over = if let Command::RunFinished { run, .. } = &command {
                    Some(*run)
                } else {
                    None
                };
                self.commands.push_back(command);
                // A long history takes its time: whoever waits for the end has it before.
                self.commands.extend(over.map(|run| Command::Archive { run }));
            }
        }
        self.flush();
        self.press_on();
    }

    /// A blob that was asked for by [`Command::Upload`] is in the cloud.
    pub fn uploaded(&mut self, digest: Digest) {
        self.outbox.uploaded(digest);
        self.yields.uploaded(digest);
        self.own_uploaded(digest);
        self.flush();
        self.press_on();
    }

    /// Stops a run that this agent coordinates.
    pub fn cancel(&mut self, run: RunId, by: &str, now: Timestamp) -> bool {
        let Some(held) = self.runs.get_mut(&run) else { return false };
        held.run.cancel(by, now);
        self.advance(run, now);
        self.admit(now);
        true
    }

    /// Whether the link is up and both ends have told each other what they hold: only then does anything else flow.
    #[must_use]
    pub fn is_linked(&self) -> bool {
        self.link == Link::Up
    }

    /// What the agent is busy with. The shell adds the free disk.
    #[must_use]
    pub fn load(&self) -> Load {
        let (running, queued, cpu_millis_used, memory_bytes_used) = self.admission.load();
        Load {
            running,
            queued,
            cpu_millis_used,
            memory_bytes_used,
            disk_bytes_free: 0,
            disk: self.disk,
        }
    }

    /// Whether any owned task of any run is still open.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.runs.values().all(|held| held.run.owned_all_ended())
    }

    /// The runs held here, with the engine's view of each.
    pub fn runs(&self) -> impl Iterator<Item = &Run> {
        self.runs.values().map(|held| &held.run)
    }

    #[must_use]
    pub fn run(&self, run: RunId) -> Option<&Run> {
        self.runs.get(&run).map(|held| &held.run)
    }

    /// Results that the cloud has not acknowledged.
    #[must_use]
    pub fn has_unreported(&self) -> bool {
        !self.outbox.is_empty()
    }

    pub(crate) fn append(&mut self, record: Record) -> Position {
        self.last.n += 1;
        self.commands.push_back(Command::Append {
            position: self.last,
            record,
        });
        self.last
    }

    /// Takes what the engine of a run wants done.
    pub(crate) fn advance(&mut self, run: RunId, now: Timestamp) {
        let Some(held) = self.runs.get_mut(&run) else { return };
        let mut urgent = false;
        let mut wrote = false;
        let mut over = Vec::new();
        let mut stopped = Vec::new();
        while let Some(step) = held.run.poll_command() {
            match step {
                Step::Ready(path) => self.admission.push(run, path),
                Step::Stop { path, attempt } => {
                    let epoch = held.run.tasks()[path.task.index()]
                        .instance(path.item)
                        .map(|i| i.epoch)
                        .unwrap_or_default();
                    let id = AttemptId { run, path, attempt, epoch };
                    if self.permission.contains(&id) {
                        stopped.push(id);
                    } else {
                        self.commands.push_back(Command::Stop { id });
                    }
                }
                Step::Append(event) => {
                    over.extend(ended_instance(&held.run, &event));
                    self.last.n += 1;
                    let position = self.last;
                    if held.local {
                        self.own.push(run, position, event.clone());
                    }
                    let standing = event
                        .task()
                        .and_then(|task| held.standing_of(task))
                        .or_else(|| whole_run(held, &event));
                    let record = match standing {
                        Some((fragment, epoch)) => {
                            urgent |= is_urgent(held, &event);
                            wrote = true;
                            if !held.local {
                                let blobs = held.blobs_to_bring(&event);
                                let item = eyot_wire::ReportItem {
                                    position,
                                    run,
                                    fragment,
                                    epoch,
                                    event: event.clone(),
                                };
                                let size = event_size(&item.event);
                                self.outbox.push(item, size, blobs);
                            }
                            Record::Own {
                                run,
                                fragment,
                                epoch,
                                event,
                            }
                        }
                        None => Record::Fact { run, event },
                    };
                    self.commands.push_back(Command::Append { position, record });
                }
                Step::Finished(outcome) => {
                    self.finished.push_back((self.last, Command::RunFinished { run, outcome }));
                    urgent = true;
                    wrote = true;
                }
            }
        }
        let next = held.run.poll_timeout();
        let (local, all_ended) = (held.local, held.run.owned_all_ended());
        match next {
            Some(at) => drop(self.timers.insert(run, at)),
            None => drop(self.timers.remove(&run)),
        }
        for path in over {
            self.drop_saved(run, path);
        }
        urgent |= wrote && all_ended;
        if wrote && (urgent || (self.link == Link::Up && !local)) {
            self.commands.push_back(Command::Sync { urgent });
        }
        if self.link == Link::Up {
            for blob in self.outbox.uploads() {
                self.commands.push_back(Command::Upload(blob));
            }
        }
        if !stopped.is_empty() {
            self.call_back(|id| stopped.contains(id), now);
        }
    }

    /// Starts what fits.
    pub(crate) fn admit(&mut self, now: Timestamp) {
        if !self.disk.starts_attempts() {
            return;
        }
        loop {
            let runs = &self.runs;
            let needs = |run: RunId, path: Path| -> Option<&Resources> {
                runs.get(&run).map(|held| &held.run.graph().workflow.task(path.task).resources)
            };
            let Some((run, path)) = self.admission.pop(needs) else { return };
            let Some(held) = self.runs.get_mut(&run) else { continue };
            let admitted = held.run.admit(path, now);
            self.advance(run, now);
            let Some(admitted) = admitted else { continue };
            self.start(admitted, now);
        }
    }

    fn start(&mut self, admitted: eyot_engine::Admitted, now: Timestamp) {
        let Some(held) = self.runs.get(&admitted.id.run) else { return };
        let workflow = Arc::clone(&held.run.graph().workflow);
        let task = workflow.task(admitted.id.path.task);
        self.admission.started(admitted.id, &task.resources);
        let Some(digest) = task.uses.digest else {
            let failure = Failure::new(
                eyot_model::FailureKind::Component,
                format!("`{}` was never resolved to a digest", task.uses.name),
            );
            return self.attempt_ended(&admitted.id, Outcome::Failed(failure), Usage::default(), now);
        };
        let start = Box::new(Start {
            id: admitted.id,
            namespace: workflow.namespace.clone(),
            task: task.name.clone(),
            component: task.uses.clone(),
            digest,
            inputs: admitted.inputs,
            resources: task.resources.clone(),
            timeout: task.timeout,
            cpu_limit: task.cpu_limit,
            grants: task.grants.clone(),
            idempotent: task.idempotent,
        });
        // The start of a task that must not run twice is durable before it begins.
        let after = (!task.idempotent).then_some(self.last);
        if after.is_some() {
            self.commands.push_back(Command::Sync { urgent: true });
        }
        if held.asks_before(admitted.id.path.task) {
            let written = self.outbox.start_of(&start.id).unwrap_or(self.last);
            return self.permission.ask(written, start);
        }
        self.commands.push_back(Command::Start { start, after });
    }

    /// Reports what may be told.
    pub(crate) fn flush(&mut self) {
        if self.link != Link::Up {
            return;
        }
        while let Some(report) = self.outbox.next_report(self.synced) {
            self.commands.push_back(Command::Send(ToCloud::Report(report)));
        }
        self.tell_own();
    }

    pub(crate) fn forget(&mut self, run: RunId) {
        if self.let_go(run) {
            self.outbox.drop_where(|item| item.run == run);
        }
    }

    /// Drops a run, but for what is still to be told of it. False if it is not held.
    pub(crate) fn let_go(&mut self, run: RunId) -> bool {
        if self.runs.remove(&run).is_none() {
            return false;
        }
        self.timers.remove(&run);
        self.stop_running(|id| id.run == run);
        self.saved.forget(run);
        self.yields.forget(run);
        self.append(Record::Released { run });
        self.commands.push_back(Command::Forget { run });
        true
    }

    pub(crate) fn stop_running(&mut self, which: impl Fn(&AttemptId) -> bool) {
        let ids: Vec<AttemptId> = self.admission.running().filter(|id| which(id)).copied().collect();
        for id in ids {
            if self.permission.withdraw(&id) {
                self.admission.ended(&id);
            } else {
                self.commands.push_back(Command::Stop { id });
            }
        }
    }
}

/// Whether the instance is still in this very attempt. A fragment that was taken away and given again begins with the same
/// numbers, while an attempt of before may only now be stopped.
fn is_current(held: &Held, id: &AttemptId) -> bool {
    let instance = held
        .run
        .tasks()
        .get(id.path.task.index())
        .and_then(|task| task.instance(id.path.item));
    instance.is_some_and(|instance| instance.attempts == id.attempt && instance.epoch == id.epoch)
}

/// Makes the engine's run of an assignment; nothing is decided yet.
pub(crate) fn hold(assignment: &Assignment, local: bool) -> Result<Held, GraphError> {
    let graph = Arc::new(Graph::compile(Arc::clone(&assignment.workflow))?);
    let mut run = Run::new(assignment.run, graph, &assignment.inputs, assignment.created_at);
    if local {
        run.coordinate();
    }
    let mut held = Held {
        run,
        fragments: BTreeMap::new(),
        fragment_of: BTreeMap::new(),
        exported: std::collections::BTreeSet::new(),
        leaving: std::collections::BTreeSet::new(),
        paused: std::collections::BTreeSet::new(),
        local,
    };
    take(&mut held, assignment);
    Ok(held)
}

/// Adds a fragment to what is owned of a run.
pub(crate) fn take(held: &mut Held, assignment: &Assignment) {
    let tasks: Vec<TaskIx> = assignment
        .tasks
        .iter()
        .filter(|t| held.run.graph().contains(**t))
        .copied()
        .collect();
    held.fragments.insert(assignment.fragment, assignment.epoch);
    held.fragment_of.extend(tasks.iter().map(|task| (*task, assignment.fragment)));
    held.run.own(tasks, assignment.epoch);
    held.leaving.remove(&assignment.fragment);
    held.find_exports();
}

/// Events of the whole run that this agent decided count as its first fragment's.
fn whole_run(held: &Held, event: &Event) -> Option<(FragmentId, eyot_model::Epoch)> {
    let own = match event {
        Event::RunEnded { .. } => held.local,
        Event::CancelRequested { by, .. } => by.contains("onFailure") || held.local,
        _ => false,
    };
    held.fragments.iter().next().filter(|_| own).map(|(f, e)| (*f, *e))
}

/// Whether somebody waits for this very event.
fn is_urgent(held: &Held, event: &Event) -> bool {
    match event {
        Event::Ended { path, retry_at: None, .. } | Event::Failed { path, .. } | Event::Skipped { path, .. } => {
            !held.local && held.exported.contains(&path.task) && held.run.tasks()[path.task.index()].own.state.is_terminal()
        }
        _ => false,
    }
}

/// The instance that the event ended for good, in its present generation.
fn ended_instance(run: &Run, event: &Event) -> Option<Path> {
    let path = event.may_end()?;
    let instance = run.tasks()[path.task.index()].instance(path.item)?;
    instance.state.is_terminal().then_some(path)
}

pub(crate) fn event_size(event: &Event) -> usize {
    let of_outputs = |outputs: &Outputs| 64 + outputs.iter().map(|(k, v)| k.len() + v.size_hint()).sum::<usize>();
    let of_failure = |failure: &Failure| 64 + failure.message.len() + failure.details.as_ref().map_or(0, String::len);
    match event {
        Event::Ended {
            outcome: Outcome::Succeeded(outputs),
            ..
        }
        | Event::Resolved {
            resolution: Resolution::Succeeded(outputs),
            ..
        } => of_outputs(outputs),
        Event::Ended {
            outcome: Outcome::Failed(failure),
            ..
        }
        | Event::Failed { failure, .. } => of_failure(failure),
        Event::RunEnded { outcome, .. } => of_outputs(&outcome.outputs) + outcome.failure.as_ref().map_or(0, of_failure),
        _ => 32,
    }
}

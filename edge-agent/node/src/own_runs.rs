//! Runs that this agent coordinates itself, and their history. A run that has ended is kept until the cloud has all of it
//! and its time is over.

use crate::command::Command;
use crate::node::{Node, hold};
use crate::record::Record;
use eyot_engine::{GraphError, NotWaiting};
use eyot_model::{
    AgentProfile, Digest, DiskState, Epoch, Event, FragmentId, Inputs, Millis, Position, Resolution, RunId, TaskIx, Timestamp, Workflow,
};
use eyot_wire::{Assignment, Submission};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// About most bytes of one record of a history.
const BYTES: usize = 2 << 20;

/// Most bytes of a run's workflow and inputs: with the run's outputs they have to fit into one record, and by themselves into one
/// message.
pub(crate) const SUBMISSION_BYTES: usize = 12 << 20;

/// How much of ended runs stays on the device.
#[derive(Clone, Copy, Debug)]
pub struct OwnPolicy {
    /// Ended runs that the cloud has, or is not to have.
    pub keep: usize,
    pub keep_for: Millis,
    /// About most bytes of them; the latest one stays whatever its size.
    pub keep_bytes: usize,
    /// Unfinished runs. With more than these nothing new is taken.
    pub most_open: usize,
    /// Runs that the cloud does not have yet. With more than these nothing new is taken.
    pub most_untold: usize,
    /// About as many bytes of submissions and histories in all, and of unfinished runs; as `most_untold`. All of it stays in the
    /// journal until the cloud has it, so this bounds the journal too.
    pub most_bytes: usize,
    /// Whether there is a cloud to tell.
    pub tells: bool,
}

impl Default for OwnPolicy {
    fn default() -> Self {
        Self {
            keep: 500,
            keep_for: Millis::from_secs(7 * 86_400),
            most_open: 2_000,
            keep_bytes: 32 << 20,
            most_untold: 10_000,
            most_bytes: 64 << 20,
            tells: true,
        }
    }
}

/// Why a run is not taken.
#[derive(Debug, thiserror::Error)]
pub enum SubmitError {
    #[error("workflow cannot run on this agent")]
    Workflow(#[from] GraphError),
    /// It is worth trying again once there is room.
    #[error("the agent's disk has no room for new work (its state is `{}`): free some, see docs/disk.md", .0.as_str())]
    NoRoom(DiskState),
    /// It will not fit later either.
    #[error("this agent does not meet the needs of the workflow: {0}")]
    Unplaceable(String),
    #[error("{0} runs wait for the control plane to hear of them, which is the most that this agent keeps")]
    TooManyUntold(usize),
    /// It is worth trying again once some have ended.
    #[error("{0} runs of this agent's own are unfinished, which is the most that it keeps")]
    TooManyOpen(usize),
    #[error("the workflow and the inputs take {0} bytes, over the limit of {SUBMISSION_BYTES} bytes; large inputs travel as blobs")]
    TooLarge(usize),
}

/// A run of this agent's own, going on or ended.
#[derive(Clone, Debug)]
pub struct OwnRun {
    pub submission: Arc<Submission>,
    /// Of the record with which it began.
    at: Position,
    /// What happened, in order, each with the position of its record.
    pub events: Vec<(Position, Event)>,
    /// The cloud has this many of the events. None before it has the run at all.
    pub told: Option<u64>,
    /// Why the cloud does not take it.
    pub refused: Option<String>,
    pub ended_at: Option<Timestamp>,
    /// How many of the events were sent over the present link. None before the run itself was.
    pub(crate) sent: Option<u64>,
    bytes: usize,
}

impl OwnRun {
    fn new(submission: Arc<Submission>, at: Position) -> Self {
        // Each is kept with its workflow. Plain data of a known length always has a size.
        let bytes = 512 + postcard::experimental::serialized_size(&*submission).unwrap_or_default();
        Self {
            submission,
            at,
            events: Vec::new(),
            told: None,
            refused: None,
            ended_at: None,
            sent: None,
            bytes,
        }
    }

    pub(crate) fn push(&mut self, position: Position, event: Event) {
        self.bytes += crate::node::event_size(&event) + 64;
        if let Event::RunEnded { at, .. } = &event {
            self.ended_at = Some(*at);
        }
        self.events.push((position, event));
    }

    /// Whether the cloud has all of it.
    #[must_use]
    pub fn is_told(&self) -> bool {
        self.told.is_some_and(|told| told >= self.events.len() as u64)
    }

    /// Whether it would be here after a power cut, `synced` being the journal's durable position.
    #[must_use]
    pub fn is_durable(&self, synced: Position) -> bool {
        crate::outbox::reached(self.at, synced)
    }

    /// How many of the events are durable, `synced` being the journal's durable position.
    #[must_use]
    pub fn durable(&self, synced: Position) -> usize {
        self.events.partition_point(|(at, _)| crate::outbox::reached(*at, synced))
    }
}

/// All of them, and what is under way to the cloud for them.
#[derive(Default)]
pub(crate) struct OwnRuns {
    pub(crate) policy: OwnPolicy,
    /// This device, as its tasks' needs are held against it. Nothing is, without.
    device: Option<AgentProfile>,
    pub(crate) all: BTreeMap<RunId, OwnRun>,
    /// Runs of which something may have to be sent over the present link.
    pub(crate) unsent: BTreeSet<RunId>,
    pub(crate) uploading: BTreeSet<Digest>,
    pub(crate) uploaded: BTreeSet<Digest>,
    /// Outputs that are damaged here and not in the cloud: nobody waits for them.
    pub(crate) lost: BTreeSet<Digest>,
    /// The cloud's store that has what is told. None before any was heard of.
    pub(crate) store: Option<u64>,
    /// Beginnings of long histories, until their ends are read.
    pieces: BTreeMap<RunId, BTreeMap<u32, Vec<Event>>>,
    /// Runs that lack a piece of their history.
    incomplete: BTreeSet<RunId>,
    /// Archived, and what was written before is not void yet.
    unreleased: BTreeSet<RunId>,
}

impl OwnRuns {
    pub(crate) fn insert(&mut self, submission: Arc<Submission>, at: Position) {
        self.all.entry(submission.run).or_insert_with(|| OwnRun::new(submission, at));
    }

    pub(crate) fn push(&mut self, run: RunId, position: Position, event: Event) {
        if let Some(own) = self.all.get_mut(&run) {
            own.push(position, event);
            self.unsent.insert(run);
        }
    }

    pub(crate) fn piece(&mut self, run: RunId, n: u32, events: Vec<Event>) {
        self.pieces.entry(run).or_default().insert(n, events);
    }

    /// Everything is read. Gives the runs that lack a part of their history, and those that are to be released.
    pub(crate) fn restored(&mut self) -> (BTreeSet<RunId>, BTreeSet<RunId>) {
        self.pieces.clear();
        (std::mem::take(&mut self.incomplete), std::mem::take(&mut self.unreleased))
    }

    pub(crate) fn released(&mut self, run: RunId) {
        self.unreleased.remove(&run);
    }

    pub(crate) fn lost(&mut self, digest: Digest) {
        if self.uploading.remove(&digest) {
            self.lost.insert(digest);
        }
    }

    /// Whose store is told from here on. What was told to another one counts as not told. False if it was known.
    pub(crate) fn tells_to(&mut self, store: u64) -> bool {
        let before = self.store.replace(store);
        if before.is_some_and(|before| before != store) {
            self.all.values_mut().for_each(|own| own.told = None);
        }
        before != Some(store)
    }

    pub(crate) fn told(&mut self, run: RunId, through: u64, whole: bool) {
        if let Some(own) = self.all.get_mut(&run) {
            own.told = own.told.max(Some(through));
        }
        if whole {
            // The journal need not have all of it any more.
            self.incomplete.remove(&run);
        }
    }

    pub(crate) fn forget(&mut self, run: RunId) {
        self.all.remove(&run);
        self.pieces.remove(&run);
        self.incomplete.remove(&run);
    }

    /// A run from the checkpoint that had ended, its history being in `pieces` pieces before these events. Without all of them
    /// it is left out, because events are told by their number; false then. `held`: what was written while it went on is there.
    pub(crate) fn restore(&mut self, submission: Arc<Submission>, pieces: u32, events: Vec<Event>, at: Position, held: bool) -> bool {
        let run = submission.run;
        let mut before = self.pieces.remove(&run).unwrap_or_default();
        // Of an archive that was begun before a crash and written anew after it.
        before.retain(|n, _| *n < pieces);
        if before.len() != usize::try_from(pieces).unwrap_or(usize::MAX) {
            self.incomplete.insert(run);
            return false;
        }
        self.incomplete.remove(&run);
        if held {
            self.unreleased.insert(run);
        }
        let known = self.all.remove(&run);
        let mut own = OwnRun::new(submission, at);
        before.into_values().flatten().chain(events).for_each(|event| own.push(at, event));
        own.told = known.and_then(|known| known.told);
        self.all.insert(run, own);
        true
    }

    fn untold(&self) -> usize {
        if self.policy.tells {
            self.all.values().filter(|own| !own.is_told()).count()
        } else {
            0
        }
    }

    /// Runs that the cloud does not have all of, and how many of their events: of those that it is to have and takes.
    pub(crate) fn waiting(&self) -> (usize, usize) {
        if !self.policy.tells {
            return (0, 0);
        }
        let untold = self.all.values().filter(|own| !own.is_told() && own.refused.is_none());
        untold.fold((0, 0), |(runs, events), own| {
            let told = usize::try_from(own.told.unwrap_or(0)).unwrap_or(usize::MAX);
            (runs + 1, events + own.events.len().saturating_sub(told))
        })
    }

    fn check_room(&self) -> Result<(), SubmitError> {
        let open = self.all.values().filter(|own| own.ended_at.is_none());
        let (open, open_bytes) = open.fold((0, 0), |(runs, bytes), own| (runs + 1, bytes + own.bytes));
        if open >= self.policy.most_open || open_bytes >= self.policy.most_bytes {
            return Err(SubmitError::TooManyOpen(open));
        }
        let untold = self.untold();
        let bytes: usize = self.all.values().map(|own| own.bytes).sum();
        if untold >= self.policy.most_untold || (untold > 0 && bytes >= self.policy.most_bytes) {
            return Err(SubmitError::TooManyUntold(untold));
        }
        Ok(())
    }

    /// Ended runs that need not be kept: the oldest beyond the number, and those whose time is over.
    pub(crate) fn outdated(&self, now: Timestamp) -> Vec<RunId> {
        let may_go = |own: &OwnRun| own.ended_at.is_some() && (!self.policy.tells || own.is_told());
        let mut ended: Vec<(Timestamp, RunId, usize)> = self
            .all
            .iter()
            .filter(|(_, own)| may_go(own))
            .map(|(run, own)| (own.ended_at.unwrap_or_default(), *run, own.bytes))
            .collect();
        ended.sort_unstable_by(|a, b| b.cmp(a));
        let mut later = 0;
        let stay = ended.iter().take(self.policy.keep).take_while(|(at, _, bytes)| {
            let fits = later <= self.policy.keep_bytes;
            later += bytes;
            fits && now.since(*at) <= self.policy.keep_for
        });
        let stay = stay.count();
        ended.drain(stay..).rev().map(|(_, run, _)| run).collect()
    }
}

/// Of it as a record or in a message, in bytes.
pub(crate) fn submission_size(submission: &Submission) -> usize {
    // Plain data of a known length always has a size.
    postcard::experimental::serialized_size(submission).unwrap_or_default()
}

/// The whole of a run as one fragment.
pub(crate) fn whole(submission: &Submission) -> Assignment {
    Assignment {
        run: submission.run,
        fragment: FragmentId(0),
        epoch: Epoch(1),
        workflow: Arc::clone(&submission.workflow),
        inputs: Arc::clone(&submission.inputs),
        tasks: (0u32..).zip(&submission.workflow.tasks).map(|(ix, _)| TaskIx(ix)).collect(),
        awaits: Vec::new(),
        facts: Vec::new(),
        saved: Vec::new(),
        created_at: submission.created_at,
    }
}

impl Node {
    /// What of the agent's own runs is kept, and whether there is a cloud to tell.
    pub fn set_own_policy(&mut self, policy: OwnPolicy) {
        self.own.policy = policy;
    }

    /// Whether a run of this agent's own would be taken now.
    ///
    /// # Errors
    /// Why not: it is worth trying again later.
    pub fn may_submit(&self) -> Result<(), SubmitError> {
        self.has_room()?;
        self.own.check_room()
    }

    /// Whether the disk has room for what is new here: a run, a workflow, a component.
    ///
    /// # Errors
    /// [`SubmitError::NoRoom`].
    pub fn has_room(&self) -> Result<(), SubmitError> {
        if self.disk.takes_work() {
            Ok(())
        } else {
            Err(SubmitError::NoRoom(self.disk))
        }
    }

    /// What this device is and has: what its own runs may ask for.
    pub fn set_device(&mut self, profile: AgentProfile) {
        self.own.device = Some(profile);
    }

    /// Why this agent cannot run a workflow by itself, as far as that is known without inputs.
    ///
    /// # Errors
    /// [`SubmitError::Unplaceable`].
    pub fn check_needs(&self, workflow: &Workflow, inputs: Option<&Inputs>) -> Result<(), SubmitError> {
        let Some(device) = &self.own.device else { return Ok(()) };
        let unmet = eyot_spec::needs::unmet_by(workflow, device, inputs);
        if unmet.is_empty() {
            Ok(())
        } else {
            Err(SubmitError::Unplaceable(unmet.join("; ")))
        }
    }

    /// A run of this agent's own: it owns every task and closes the run itself. One that exists already is left as it
    /// is. Durable once the journal is synced up to [`Node::position`].
    ///
    /// # Errors
    /// When the workflow cannot run or asks for what this device is not, or too much waits for the cloud already.
    pub fn submit(&mut self, submission: Submission, now: Timestamp) -> Result<(), SubmitError> {
        let run = submission.run;
        if self.runs.contains_key(&run) || self.own.all.contains_key(&run) {
            return Ok(());
        }
        self.may_submit()?;
        let size = submission_size(&submission);
        if size > SUBMISSION_BYTES {
            return Err(SubmitError::TooLarge(size));
        }
        self.check_needs(&submission.workflow, Some(&submission.inputs))?;
        let held = hold(&whole(&submission), true)?;
        self.runs.insert(run, held);
        let submission = Arc::new(submission);
        let at = self.append(Record::Submitted(Arc::clone(&submission)));
        self.own.insert(submission, at);
        if let Some(held) = self.runs.get_mut(&run) {
            held.run.resume(now);
        }
        self.advance(run, now);
        self.admit(now);
        Ok(())
    }

    /// The runs that this agent coordinates, oldest first; ended ones as long as they are kept.
    pub fn own_runs(&self) -> impl DoubleEndedIterator<Item = (RunId, &OwnRun)> {
        self.own.all.iter().map(|(run, own)| (*run, own))
    }

    #[must_use]
    pub fn own_run(&self, run: RunId) -> Option<&OwnRun> {
        self.own.all.get(&run)
    }

    /// Ends the wait of an instance of a run of this agent's own, whose last attempt had an end that nobody knows.
    ///
    /// # Errors
    /// When nothing waits for it.
    pub fn resolve(
        &mut self,
        run: RunId,
        task: TaskIx,
        item: Option<u32>,
        resolution: Resolution,
        by: &str,
        now: Timestamp,
    ) -> Result<(), NotWaiting> {
        let held = self.runs.get_mut(&run).filter(|held| held.local).ok_or(NotWaiting::Over)?;
        let (path, attempt) = held.run.unknown_attempt(task, item)?;
        held.run.resolve(path, attempt, resolution, by, now)?;
        self.advance(run, now);
        self.admit(now);
        Ok(())
    }

    /// Position of the record written last: what was told to the node before is durable once it is synced.
    #[must_use]
    pub fn position(&self) -> Position {
        self.last
    }

    /// Drops a run that this agent coordinated and that is over.
    pub fn release(&mut self, run: RunId) {
        if self.own.all.get(&run).is_some_and(|own| own.ended_at.is_some()) {
            self.own.forget(run);
            if self.runs.remove(&run).is_some() {
                self.append(Record::Released { run });
            }
            self.append(Record::Forgotten { run });
            self.commands.push_back(Command::Forget { run });
        }
    }

    /// A run of its own is over: its history becomes one record, and the engine's state of it goes. What was written of it while it
    /// went on is void once the whole archive is written, and not before: it may be of several records.
    ///
    /// Of a run that goes on, or is gone, nothing is done.
    pub fn archive(&mut self, run: RunId) {
        let Some(own) = self.own.all.get(&run).filter(|own| own.ended_at.is_some()) else {
            return;
        };
        let now = own.ended_at.unwrap_or_default();
        let told = own.told.filter(|_| own.is_told());
        if self.runs.remove(&run).is_none() {
            return;
        }
        self.timers.remove(&run);
        self.saved.forget(run);
        self.yields.forget(run);
        self.own.incomplete.remove(&run);
        let submission = Arc::clone(&own.submission);
        let mut events: Vec<Event> = own.events.iter().map(|(_, event)| event.clone()).collect();
        // In pieces, so that no record is over the journal's limit.
        let mut pieces = Vec::new();
        while !events.is_empty() {
            let mut bytes = 0;
            let fits = events.iter().take_while(|event| {
                bytes += crate::node::event_size(event) + 64;
                bytes < BYTES
            });
            let count = fits.count().max(1);
            pieces.push(events.drain(..count).collect::<Vec<_>>());
        }
        let events = pieces.pop().unwrap_or_default();
        let mut count = 0;
        for events in pieces {
            self.append(Record::History { run, n: count, events });
            count += 1;
        }
        self.append(Record::Archived {
            submission,
            pieces: count,
            events,
        });
        self.append(Record::Released { run });
        if let Some(through) = told {
            self.append(Record::Told { run, through, whole: true });
        }
        self.commands.push_back(Command::Forget { run });
        for run in self.own.outdated(now) {
            self.release(run);
        }
    }
}

//! The control plane's store: transactions with the guards of the real one.

use eyot_coordinator::{Change, Stored, StoredFragment, Submission};
use eyot_model::{AgentId, Epoch, Event, FragmentId, Inputs, Path, Plan, Position, RunId, RunOutcome, TaskIx, Timestamp, Workflow};
use eyot_wire::SavedState;
use std::collections::BTreeMap;
use std::sync::Arc;

/// What a transaction writes.
#[derive(Clone, Debug)]
pub enum Write {
    NewRun(Box<Submission>),
    Change(Change),
}

#[derive(Debug)]
pub struct Row {
    pub submission: Submission,
    pub plan: Option<Plan>,
    pub fragments: BTreeMap<FragmentId, StoredFragment>,
    pub events: Vec<Event>,
    pub saved: BTreeMap<Path, SavedState>,
    pub outcome: Option<RunOutcome>,
}

impl Row {
    fn give(&mut self, fragment: FragmentId, agent: Option<AgentId>, epoch: Epoch, tasks: Vec<TaskIx>) -> Result<(), String> {
        let mut former = BTreeMap::new();
        if let Some(known) = self.fragments.get(&fragment) {
            if known.epoch >= epoch {
                return Err(format!("{fragment:?} has {:?} and is given under {epoch:?}", known.epoch));
            }
            former.clone_from(&known.former);
            former.extend(known.agent.map(|agent| (known.epoch, agent)));
        }
        let owned = StoredFragment {
            fragment,
            agent,
            epoch,
            tasks,
            former,
        };
        self.fragments.insert(fragment, owned);
        Ok(())
    }
}

/// A run that an agent coordinates, as it was told.
#[derive(Debug)]
pub struct Foreign {
    pub agent: AgentId,
    pub submission: eyot_wire::Submission,
    pub events: Vec<Event>,
    pub outcome: Option<RunOutcome>,
}

/// What is stored of a run, whoever coordinates it.
#[derive(Clone, Copy, Debug)]
pub struct History<'a> {
    pub workflow: &'a Arc<Workflow>,
    pub inputs: &'a Inputs,
    pub created_at: Timestamp,
    pub events: &'a [Event],
    pub outcome: Option<&'a RunOutcome>,
}

impl Row {
    #[must_use]
    pub fn history(&self) -> History<'_> {
        History {
            workflow: &self.submission.workflow,
            inputs: &self.submission.inputs,
            created_at: self.submission.created_at,
            events: &self.events,
            outcome: self.outcome.as_ref(),
        }
    }
}

impl Foreign {
    #[must_use]
    pub fn history(&self) -> History<'_> {
        History {
            workflow: &self.submission.workflow,
            inputs: &self.submission.inputs,
            created_at: self.submission.created_at,
            events: &self.events,
            outcome: self.outcome.as_ref(),
        }
    }
}

/// What is committed.
#[derive(Debug, Default)]
pub struct Store {
    pub runs: BTreeMap<RunId, Row>,
    pub heard: BTreeMap<AgentId, Position>,
    /// The number of the start that was taken last.
    pub incarnations: BTreeMap<AgentId, u64>,
    /// Runs that agents coordinate.
    pub foreign: BTreeMap<RunId, Foreign>,
    pub commits: u64,
}

impl Store {
    /// All of it or nothing: the guards are checked before anything is written.
    ///
    /// # Errors
    /// The guard that does not hold: the store and the coordinator have parted.
    pub fn commit(&mut self, writes: Vec<Write>) -> Result<(), String> {
        self.check(&writes)?;
        for write in writes {
            self.write(write)?;
        }
        self.commits += 1;
        Ok(())
    }

    fn check(&self, writes: &[Write]) -> Result<(), String> {
        let fresh = |run: &RunId| writes.iter().any(|w| matches!(w, Write::NewRun(s) if s.run == *run));
        let mut last: BTreeMap<RunId, u64> = BTreeMap::new();
        for write in writes {
            let Write::Change(Change::Event { run, seq, event, agent }) = write else {
                continue;
            };
            let new = |w: &Write| matches!(w, Write::Change(Change::Foreign { submission, .. }) if submission.run == *run);
            if self.foreign.contains_key(run) || writes.iter().any(new) {
                continue;
            }
            let row = self.runs.get(run);
            if row.is_none() && !fresh(run) {
                return Err(format!("an event of run {run}, which is not stored"));
            }
            if row.is_some_and(|row| row.outcome.is_some()) {
                return Err(format!("an event of run {run}, which is over: {event:?}"));
            }
            let known = last.entry(*run).or_insert_with(|| row.map_or(0, |row| row.events.len() as u64));
            *known += 1;
            if known != seq {
                return Err(format!("event {seq} of run {run} where {known} is next"));
            }
            if let (Some(agent), Event::Started { path, epoch, .. } | Event::Ended { path, epoch, .. }) = (agent, event) {
                let owner = row.and_then(|row| row.fragments.values().find(|owned| owned.tasks.contains(&path.task)));
                let holds = owner.is_some_and(|owned| owned.agent == Some(*agent) && *epoch <= owned.epoch);
                if !holds {
                    return Err(format!(
                        "{path:?} of run {run} from agent {agent} under {epoch:?}, and the store has {owner:?}"
                    ));
                }
            }
        }
        Ok(())
    }

    fn write(&mut self, write: Write) -> Result<(), String> {
        let change = match write {
            Write::NewRun(submission) => {
                self.runs.entry(submission.run).or_insert_with(|| Row {
                    submission: *submission,
                    plan: None,
                    fragments: BTreeMap::new(),
                    events: Vec::new(),
                    saved: BTreeMap::new(),
                    outcome: None,
                });
                return Ok(());
            }
            Write::Change(change) => change,
        };
        match change {
            Change::Event { run, seq, event, .. } => match self.foreign.get_mut(&run) {
                Some(foreign) if foreign.events.len() as u64 + 1 == seq => foreign.events.push(event),
                Some(_) => return Err(format!("event {seq} of an agent's own run {run} is out of turn")),
                None => self.row(run)?.events.push(event),
            },
            Change::Planned { run, plan } => self.row(run)?.plan = Some(plan),
            Change::Assigned {
                run,
                fragment,
                agent,
                epoch,
                tasks,
                ..
            } => self.row(run)?.give(fragment, Some(agent), epoch, tasks)?,
            Change::Fenced { run, fragment, epoch, .. } => {
                let row = self.row(run)?;
                let tasks = row.fragments.get(&fragment).map(|owned| owned.tasks.clone()).unwrap_or_default();
                row.give(fragment, None, epoch, tasks)?;
            }
            Change::Foreign { agent, submission } => {
                let run = submission.run;
                let foreign = Foreign {
                    agent,
                    submission,
                    events: Vec::new(),
                    outcome: None,
                };
                if self.foreign.insert(run, foreign).is_some() {
                    return Err(format!("an agent's own run {run} is stored a second time"));
                }
            }
            Change::Late { .. } | Change::Waiting { .. } | Change::Cancelling { .. } | Change::RecordsLost { .. } => {}
            Change::Saved { run, state } => drop(self.row(run)?.saved.insert(state.path, *state)),
            Change::Unsaved { run, path } => drop(self.row(run)?.saved.remove(&path)),
            Change::Heard { agent, through } => drop(self.heard.insert(agent, through)),
            Change::Ended { run, outcome } => match self.foreign.get_mut(&run) {
                Some(foreign) => foreign.outcome = Some(outcome),
                None => self.row(run)?.outcome = Some(outcome),
            },
        }
        Ok(())
    }

    fn row(&mut self, run: RunId) -> Result<&mut Row, String> {
        self.runs
            .get_mut(&run)
            .ok_or_else(|| format!("a change of run {run}, which is not stored"))
    }

    /// How many events of a run are stored, whoever coordinates it.
    #[must_use]
    pub fn events_of(&self, run: RunId) -> u64 {
        let own = self.runs.get(&run).map(|row| row.events.len());
        own.or_else(|| self.foreign.get(&run).map(|f| f.events.len())).unwrap_or(0) as u64
    }

    /// How a run ended, whoever coordinates it.
    #[must_use]
    pub fn outcome_of(&self, run: RunId) -> Option<&RunOutcome> {
        let own = self.runs.get(&run).and_then(|row| row.outcome.as_ref());
        own.or_else(|| self.foreign.get(&run)?.outcome.as_ref())
    }

    /// The unfinished runs that agents coordinate.
    pub fn open_foreign(&self) -> impl Iterator<Item = eyot_coordinator::StoredForeign> {
        let open = self.foreign.values().filter(|foreign| foreign.outcome.is_none());
        open.map(|foreign| eyot_coordinator::StoredForeign {
            agent: foreign.agent,
            submission: foreign.submission.clone(),
            events: foreign.events.clone(),
            cancelling: false,
        })
    }

    /// The unfinished runs, as a coordinator takes them up.
    pub fn open_runs(&self) -> impl Iterator<Item = Stored> {
        self.runs.values().filter(|row| row.outcome.is_none()).map(|row| Stored {
            submission: row.submission.clone(),
            plan: row.plan.clone(),
            fragments: row.fragments.values().cloned().collect(),
            events: row.events.clone(),
            saved: row.saved.values().cloned().collect(),
        })
    }
}

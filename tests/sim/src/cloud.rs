//! The control plane: the coordinator, and a store that loses what was not committed.

use crate::scenario::Scenario;
use eyot_coordinator::{Change, Command, Coordinator, Stored, StoredFragment, Submission};
use eyot_model::{AgentId, Event, FragmentId, Plan, RunId, RunOutcome, Timestamp};
use eyot_wire::ToAgent;
use std::collections::{BTreeMap, VecDeque};

pub enum Effect {
    Send { agent: AgentId, message: ToAgent },
}

pub struct Cloud {
    pub coordinator: Coordinator,
    /// What is committed.
    pub store: Vec<Change>,
    pub submitted: BTreeMap<RunId, (Scenario, Timestamp)>,
    pub up: bool,
    pub life: u64,
    /// Commands whose turn has not come: nothing after a change happens before the change is committed.
    waiting: VecDeque<Command>,
    pub committing: bool,
    pub alarms: Vec<String>,
}

impl Default for Cloud {
    fn default() -> Self {
        Self {
            coordinator: Coordinator::new(),
            store: Vec::new(),
            submitted: BTreeMap::new(),
            up: true,
            life: 0,
            waiting: VecDeque::new(),
            committing: false,
            alarms: Vec::new(),
        }
    }
}

impl Cloud {
    /// # Panics
    /// When the scenario's workflow does not compile.
    pub fn submit(&mut self, run: RunId, scenario: Scenario, now: Timestamp) {
        let submission = Submission {
            run,
            workflow: scenario.workflow.clone(),
            inputs: scenario.inputs.clone(),
            created_at: now,
        };
        self.submitted.insert(run, (scenario, now));
        if let Err(error) = self.coordinator.submit(submission, now) {
            panic!("the scenario does not compile: {error}");
        }
    }

    /// Does what needs no commit before it. True if a commit has to begin.
    pub fn drain(&mut self, effects: &mut Vec<Effect>, now: Timestamp) -> bool {
        loop {
            while let Some(command) = self.coordinator.poll_command() {
                self.waiting.push_back(command);
            }
            let Some(command) = self.waiting.pop_front_if(|c| !matches!(c, Command::Commit(_))) else {
                break;
            };
            if self.committing {
                self.waiting.push_front(command);
                break;
            }
            match command {
                Command::Send { agent, message } => effects.push(Effect::Send { agent, message: *message }),
                Command::Plan { run } => {
                    if let Some((scenario, _)) = self.submitted.get(&run) {
                        self.coordinator.planned(run, scenario.plan.clone(), now);
                    }
                }
                // Every agent of a scenario can take everything; those that are not excluded take turns.
                Command::Replan { run, fragment, exclude } => {
                    let agents = self.submitted.get(&run).map(|(s, _)| s.plan.fragments.iter().map(|f| f.agent));
                    let found = agents.into_iter().flatten().find(|agent| !exclude.contains(agent));
                    let found = found.ok_or_else(|| "no agent is left".to_owned());
                    self.coordinator.replanned(run, fragment, found, now);
                }
                Command::Alarm { message, .. } => self.alarms.push(message),
                Command::Ended { .. } | Command::Commit(_) => {}
            }
        }
        !self.committing && matches!(self.waiting.front(), Some(Command::Commit(_)))
    }

    /// The transaction that began ended: every change up to the next other command is in the store.
    pub fn committed(&mut self) {
        self.committing = false;
        while let Some(Command::Commit(change)) = self.waiting.pop_front_if(|c| matches!(c, Command::Commit(_))) {
            self.store.push(change);
        }
    }

    pub fn kill(&mut self) {
        self.up = false;
        self.life += 1;
        self.committing = false;
        self.waiting.clear();
    }

    /// Comes back with what the store holds.
    ///
    /// # Panics
    /// When a stored workflow does not compile.
    pub fn start(&mut self, now: Timestamp) {
        self.coordinator = Coordinator::new();
        self.up = true;
        let mut events: BTreeMap<RunId, Vec<Event>> = BTreeMap::new();
        let mut plans: BTreeMap<RunId, Plan> = BTreeMap::new();
        let mut fragments: BTreeMap<RunId, BTreeMap<FragmentId, StoredFragment>> = BTreeMap::new();
        let mut ended: BTreeMap<RunId, RunOutcome> = BTreeMap::new();
        for change in &self.store {
            match change {
                Change::Event { run, seq, event, .. } => {
                    let list = events.entry(*run).or_default();
                    list.push(event.clone());
                    assert_eq!(list.len() as u64, *seq, "events of a run are stored without gaps");
                }
                Change::Planned { run, plan } => drop(plans.insert(*run, plan.clone())),
                Change::Assigned {
                    run,
                    fragment,
                    agent,
                    epoch,
                    tasks,
                    ..
                } => {
                    let known = fragments.entry(*run).or_default();
                    let former = known.get(fragment).map_or_else(BTreeMap::new, |f: &StoredFragment| {
                        let mut former = f.former.clone();
                        former.extend(f.agent.map(|agent| (f.epoch, agent)));
                        former
                    });
                    let stored = StoredFragment {
                        fragment: *fragment,
                        agent: Some(*agent),
                        epoch: *epoch,
                        tasks: tasks.clone(),
                        former,
                    };
                    known.insert(*fragment, stored);
                }
                Change::Fenced { run, fragment, epoch, .. } => {
                    if let Some(known) = fragments.get_mut(run).and_then(|f| f.get_mut(fragment)) {
                        known.former.extend(known.agent.take().map(|agent| (known.epoch, agent)));
                        known.epoch = *epoch;
                    }
                }
                Change::Late { .. } | Change::Waiting { .. } | Change::Foreign { .. } | Change::Cancelling { .. } => {}
                Change::Heard { agent, through } => self.coordinator.restore_heard(*agent, *through),
                Change::Saved { .. } | Change::Unsaved { .. } => {}
                Change::Ended { run, outcome } => drop(ended.insert(*run, outcome.clone())),
            }
        }
        for (run, (scenario, created_at)) in &self.submitted {
            if ended.contains_key(run) {
                continue;
            }
            let stored = Stored {
                submission: Submission {
                    run: *run,
                    workflow: scenario.workflow.clone(),
                    inputs: scenario.inputs.clone(),
                    created_at: *created_at,
                },
                plan: plans.remove(run),
                fragments: fragments.remove(run).unwrap_or_default().into_values().collect(),
                events: events.remove(run).unwrap_or_default(),
                saved: Vec::new(),
            };
            if let Err(error) = self.coordinator.restore(stored, now) {
                panic!("a stored workflow does not compile: {error}");
            }
        }
    }

    /// How each ended run ended, by the store.
    #[must_use]
    pub fn ended(&self) -> BTreeMap<RunId, RunOutcome> {
        self.store
            .iter()
            .filter_map(|c| {
                if let Change::Ended { run, outcome } = c {
                    Some((*run, outcome.clone()))
                } else {
                    None
                }
            })
            .collect()
    }

    /// Committed events of a run.
    #[must_use]
    pub fn events(&self, wanted: RunId) -> Vec<Event> {
        self.store
            .iter()
            .filter_map(|c| {
                if let Change::Event { run, event, .. } = c {
                    (*run == wanted).then(|| event.clone())
                } else {
                    None
                }
            })
            .collect()
    }
}

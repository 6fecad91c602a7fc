//! What left the machines: everything that somebody saw. None of it may be taken back.

use crate::own::OwnTold;
use crate::saving::States;
use eyot_model::{AgentId, AttemptId, Digest, Epoch, Event, FragmentId, Outputs, Path, Position, RunId, RunOutcome, TaskIx};
use eyot_wire::{Report, ReportItem, ToAgent};
use std::collections::{BTreeMap, BTreeSet};

/// The observers' memory, and what they saw that must not be.
#[derive(Debug, Default)]
pub struct Outside {
    /// The first thing that did not hold.
    pub broken: Option<String>,
    /// The last record of each generation of a machine's journal that left the machine.
    reported: BTreeMap<(usize, u64), u64>,
    /// What each record said that left.
    said: BTreeMap<(usize, Position), Digest>,
    /// How each attempt ended, as its agent told under each epoch of its fragment.
    ends: BTreeMap<(usize, AttemptId, Epoch), Digest>,
    /// Who was given what under which epoch.
    assigned: BTreeMap<(RunId, FragmentId, Epoch), (AgentId, Vec<TaskIx>)>,
    /// Fragments that a machine said to have on disk.
    accepted: BTreeMap<usize, BTreeSet<(RunId, FragmentId, Epoch)>>,
    /// What of each agent's journal the cloud said to have.
    pub acknowledged: BTreeMap<AgentId, Position>,
    /// Runs that a client was told are accepted.
    pub submitted: BTreeSet<RunId>,
    /// Cancels that a client was told are noted.
    pub cancelled: BTreeSet<RunId>,
    /// How many events of each run were seen on its stream.
    pub streamed: BTreeMap<RunId, u64>,
    /// Ends that a client saw.
    pub finished: BTreeMap<RunId, RunOutcome>,
    /// What tasks saved for themselves.
    pub states: States,
    /// What was told of machines' own runs, and kept of them.
    pub own: OwnTold,
    /// Outside effects by idempotency key, and whose they are.
    effects: BTreeMap<(RunId, Path), (Vec<AttemptId>, Outputs)>,
}

impl Outside {
    pub fn breaks(&mut self, why: String) {
        self.broken.get_or_insert(why);
    }

    /// A machine sends a report.
    pub fn report_leaves(&mut self, machine: usize, report: &Report) {
        for item in &report.items {
            self.record_leaves(machine, item.position);
            self.note_said(machine, item);
        }
    }

    /// Something that stands in this record of a machine's journal leaves the machine.
    pub fn record_leaves(&mut self, machine: usize, position: Position) {
        let last = self.reported.entry((machine, position.generation)).or_default();
        *last = (*last).max(position.n);
    }

    fn note_said(&mut self, machine: usize, item: &ReportItem) {
        // The epoch is not part of it: what a fragment decided goes on under a new one where it was given back.
        let digest = digest_of(&(item.run, item.fragment, &item.event));
        if *self.said.entry((machine, item.position)).or_insert(digest) != digest {
            let (n, event) = (item.position.n, &item.event);
            self.breaks(format!("agent {machine} took back its record {n}: it says {event:?} now"));
        }
        if let Event::Ended {
            path,
            attempt,
            epoch,
            outcome,
            ..
        } = &item.event
        {
            let id = AttemptId {
                run: item.run,
                path: *path,
                attempt: *attempt,
                epoch: *epoch,
            };
            let digest = digest_of(outcome);
            if *self.ends.entry((machine, id, item.epoch)).or_insert(digest) != digest {
                self.breaks(format!("agent {machine} took back the end of {id:?}"));
            }
        }
    }

    /// A machine tells that an assignment is on its disk.
    pub fn acceptance_leaves(&mut self, machine: usize, run: RunId, fragment: FragmentId, epoch: Epoch) {
        self.accepted.entry(machine).or_default().insert((run, fragment, epoch));
    }

    /// A machine is up again with what its disk has. Unless that was damaged, everything that had left is there.
    pub fn recovered(&mut self, machine: usize, last: Position, held: &BTreeSet<(RunId, FragmentId, Epoch)>, released: &BTreeSet<RunId>) {
        let left = self.reported.get(&(machine, last.generation)).copied().unwrap_or_default();
        if left > last.n {
            self.breaks(format!(
                "agent {machine} reported record {left}, and after the restart its journal ends with {}",
                last.n
            ));
        }
        let missing = self
            .accepted
            .get(&machine)
            .and_then(|list| list.iter().find(|a| !held.contains(a) && !released.contains(&a.0)).copied());
        if let Some((run, fragment, epoch)) = missing {
            self.breaks(format!(
                "agent {machine} acknowledged {fragment:?} of {run} under {epoch:?}, and after the restart has never heard of it"
            ));
        }
    }

    /// What a machine said lives on a disk that is gone, damaged or another one: it is not held to it any more.
    pub fn forgive(&mut self, machine: usize) {
        self.reported.retain(|(of, _), _| *of != machine);
        self.said.retain(|(of, _), _| *of != machine);
        self.ends.retain(|(of, _, _), _| *of != machine);
        self.accepted.remove(&machine);
        self.states.forgive(machine);
        self.own.forgive(machine);
    }

    /// The cloud sends something.
    pub fn cloud_sends(&mut self, agent: AgentId, message: &ToAgent) {
        match message {
            ToAgent::Committed { through } => {
                let known = self.acknowledged.entry(agent).or_default();
                if known.generation != through.generation || known.n < through.n {
                    *known = *through;
                }
            }
            ToAgent::OwnRunStored { run, through } => self.own.acknowledged(*run, *through),
            ToAgent::Assign(a) => {
                let given = (agent, a.tasks.clone());
                let known = self
                    .assigned
                    .entry((a.run, a.fragment, a.epoch))
                    .or_insert_with(|| given.clone())
                    .clone();
                if known != given {
                    let (run, fragment, epoch) = (a.run, a.fragment, a.epoch);
                    self.breaks(format!(
                        "{fragment:?} of {run} was given away twice under {epoch:?}: {known:?}, then {given:?}"
                    ));
                }
            }
            _ => {}
        }
    }

    /// A task with outside effects had its effect, and this is what it gives.
    pub fn effect(&mut self, id: AttemptId, outputs: Outputs) {
        let (done, _) = self.effects.entry((id.run, id.path)).or_insert_with(|| (Vec::new(), outputs));
        done.push(id);
        if done.len() > 1 {
            let done = done.clone();
            self.breaks(format!("an outside effect happened twice: {done:?}"));
        }
    }

    /// What the effect gave, if it happened.
    #[must_use]
    pub fn effect_of(&self, run: RunId, path: Path) -> Option<&Outputs> {
        self.effects.get(&(run, path)).map(|(_, outputs)| outputs)
    }
}

pub(crate) fn digest_of(value: &impl std::fmt::Debug) -> Digest {
    Digest::of(format!("{value:?}").as_bytes())
}

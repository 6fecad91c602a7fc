//! Taking a fragment from its agent and giving it to another.
//!
//! A fragment moves as a whole, under the same id and a new epoch: what is left of it goes to one agent that can take all
//! of it. Where there is none the fragment waits, the run says for what, and it is tried again when the fleet changes. It
//! is never split, so that a late agent can get back exactly what was taken from it.
//!
//! Most fragments stay with their agent until another is found: if it comes back first, nothing is lost. Only where the
//! agent must commit nothing more whatever happens (revoked, a copy of its disk seen, a history that contradicts itself,
//! a refusal) the epoch is raised at once, and the fragment belongs to nobody meanwhile.

use crate::command::{Change, Command};
use crate::coordinator::Coordinator;
use crate::entry::FragmentEntry;
use eyot_model::{AgentId, Epoch, Event, FragmentId, RunId, Timestamp};
use eyot_wire::Refusal;
use std::collections::BTreeSet;

/// A fragment looks for another agent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Search {
    /// Why it changes hands, for people.
    why: String,
    /// Agents that are not asked.
    exclude: BTreeSet<AgentId>,
    /// It goes on although the agent came back.
    forced: bool,
    /// The agent that has it may have it back once it is late.
    late: bool,
    /// Why none was found, the last time.
    nobody: Option<String>,
}

/// Which fragments an operator wants to be taken from their agents.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Which {
    /// Those whose agent is out of contact.
    Away,
    Agent(AgentId),
    Fragment(FragmentId),
}

/// Nothing was there to be taken from anybody.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Nothing {
    #[error("the run is not unfinished")]
    NoRun,
    #[error("the run has no plan yet")]
    Unplanned,
    #[error("the run has no such fragment, or everything of it has ended")]
    NoFragment,
    #[error("no unfinished fragment of the run belongs to that agent")]
    NotTheirs,
    #[error("no agent that has an unfinished fragment of the run is out of contact")]
    NobodyAway,
}

impl Coordinator {
    /// The shell's answer to [`Command::Replan`]: the agent that takes the fragment, or why none does.
    pub fn replanned(&mut self, run: RunId, fragment: FragmentId, found: Result<AgentId, String>, now: Timestamp) {
        // It was noted for this answer, and is worth nothing later.
        let missing = self.missing.remove(&(run, fragment)).unwrap_or_default();
        let searches = self.fragment_mut(run, fragment).is_some_and(|owned| owned.search.is_some());
        if !searches && self.move_found(run, fragment, &found, &missing, now) {
            return;
        }
        let Some(entry) = self.runs.get_mut(&run) else { return };
        let committed = entry.last_seq();
        let Some(owned) = entry.fragments.get_mut(&fragment) else { return };
        let Some(search) = &mut owned.search else { return };
        match found {
            Ok(agent) if !search.exclude.contains(&agent) => {
                let (why, late) = (search.why.clone(), search.late);
                let (owner, epoch) = (owned.agent, owned.epoch);
                let alone = |former: &AgentId| !self.has_siblings(run, fragment, *former);
                let taken_from = owner.filter(|_| late).filter(alone).map(|former| (former, epoch));
                self.rewind_lost(run, fragment, &missing, now);
                // What had to be made again, or failed, is committed: it is not the same fragment any more.
                let untouched = !self.is_touched(run, fragment, committed);
                self.assign(run, fragment, agent, Some(why), now);
                if let Some(owned) = self.fragment_mut(run, fragment) {
                    owned.taken_from = taken_from.filter(|_| untouched);
                }
            }
            Ok(_) => {}
            Err(nobody) => search.nobody = Some(nobody),
        }
        self.say_what_it_waits_for(run);
    }

    /// Whether something about the fragment's tasks was committed after the event `since`.
    fn is_touched(&self, run: RunId, fragment: FragmentId, since: u64) -> bool {
        let Some(entry) = self.runs.get(&run) else { return false };
        let later = entry.events.iter().skip(usize::try_from(since).unwrap_or(usize::MAX));
        later.filter_map(Event::task).any(|task| entry.owner.get(&task) == Some(&fragment))
    }

    /// Takes fragments from their agents now, whatever the policy says: what an operator asks for. Of a run that is being
    /// cancelled they are ended instead. Says which ones.
    ///
    /// # Errors
    /// When there is nothing to take.
    pub fn reassign(&mut self, run: RunId, which: Which, now: Timestamp) -> Result<Vec<FragmentId>, Nothing> {
        let entry = self.runs.get(&run).ok_or(Nothing::NoRun)?;
        if entry.plan.is_none() {
            return Err(Nothing::Unplanned);
        }
        let wanted = |fragment: FragmentId, owned: &FragmentEntry| match which {
            Which::Away => owned.agent.is_none_or(|agent| self.away_since(agent).is_some()),
            Which::Agent(agent) => owned.agent == Some(agent),
            Which::Fragment(this) => this == fragment,
        };
        let open = entry.fragments.iter().filter(|(_, owned)| !entry.fragment_ended(owned));
        let taken: Vec<FragmentId> = open.filter(|(f, owned)| wanted(**f, owned)).map(|(f, _)| *f).collect();
        if taken.is_empty() {
            return Err(match which {
                Which::Away => Nothing::NobodyAway,
                Which::Agent(_) => Nothing::NotTheirs,
                Which::Fragment(_) => Nothing::NoFragment,
            });
        }
        for fragment in &taken {
            let why = "an operator asked for it".to_owned();
            if self.is_stopping(run) {
                self.fence_and_end(run, *fragment, why, now);
            } else {
                let exclude = self.owner_of(run, *fragment).into_iter().collect();
                let search = Search {
                    why,
                    exclude,
                    forced: true,
                    late: false,
                    nobody: None,
                };
                self.search(run, *fragment, search);
            }
        }
        Ok(taken)
    }

    /// An agent commits nothing any more under what it was given: its fragments are fenced at once and placed anew.
    pub fn expel(&mut self, agent: AgentId, why: &str, now: Timestamp) {
        for (run, fragment) in self.open_fragments_of(agent) {
            self.take_away(run, fragment, agent, why.to_owned(), now);
        }
    }

    /// As [`Coordinator::expel`], for an agent that an operator lets begin anew: what was heard of its journal counts for
    /// nothing from now on.
    pub fn start_over(&mut self, agent: AgentId, why: &str, now: Timestamp) {
        self.expel(agent, why, now);
        self.commands.push_back(Command::Commit(Change::RecordsLost { agent }));
        if self.heard.remove(&agent).is_some() {
            let through = eyot_model::Position::default();
            self.commands.push_back(Command::Commit(Change::Heard { agent, through }));
        }
    }

    /// An agent does not take an assignment: another one is looked for.
    pub fn refused(&mut self, agent: AgentId, run: RunId, fragment: FragmentId, epoch: Epoch, why: &Refusal, now: Timestamp) {
        let current = self
            .fragment_mut(run, fragment)
            .is_some_and(|owned| owned.is_held_by(agent, epoch) && !owned.accepted);
        if !current {
            return;
        }
        let reason = match why {
            Refusal::Draining => "it is draining",
            Refusal::DiskFull => "its disk is full",
            Refusal::Invalid(reason) => {
                let message = format!("refused fragment {}: {reason}", fragment.0);
                self.commands.push_back(Command::Alarm { agent, run, message });
                reason
            }
        };
        self.take_away(run, fragment, agent, format!("agent {agent} refused it: {reason}"), now);
    }

    /// What an agent said contradicts what is committed, so what it builds on that can never commit. It begins the
    /// fragment again from the facts; if it contradicts them once more, another agent does.
    pub(crate) fn contradicted(&mut self, run: RunId, fragment: FragmentId, agent: AgentId, now: Timestamp) {
        let Some(owned) = self.fragment_mut(run, fragment) else { return };
        let why = format!("what agent {agent} reported contradicts what is committed");
        if owned.contradicted {
            self.take_away(run, fragment, agent, why, now);
        } else {
            // It is told first that the old epoch is over, so that nothing of the wrong history is left there.
            self.assign(run, fragment, agent, Some(why), now);
        }
        if let Some(owned) = self.fragment_mut(run, fragment) {
            owned.contradicted = true;
        }
    }

    pub(crate) fn grace_ended(&mut self, run: RunId, fragment: FragmentId, now: Timestamp) {
        let Some(agent) = self.owner_of(run, fragment) else { return };
        let why = format!("agent {agent} was out of contact for longer than `reassignAfter`");
        if self.is_stopping(run) {
            return self.fence_and_end(run, fragment, why, now);
        }
        let searches = self.fragment_mut(run, fragment).is_some_and(|owned| owned.search.is_some());
        if !searches {
            let late = self.runs.get(&run).is_some_and(|e| e.workflow.on_disconnect.accept_late);
            let search = Search {
                why,
                exclude: [agent].into(),
                forced: false,
                late,
                nobody: None,
            };
            self.search(run, fragment, search);
        }
    }

    /// The agent is back, so its fragments stay with it, unless they are wanted away from it in any case.
    pub(crate) fn stop_searches(&mut self, agent: AgentId) {
        let mut stopped = BTreeSet::new();
        for (run, entry) in &mut self.runs {
            for owned in entry.fragments.values_mut().filter(|f| f.agent == Some(agent)) {
                if owned.search.take_if(|search| !search.forced).is_some() {
                    stopped.insert(*run);
                }
            }
        }
        for run in stopped {
            self.say_what_it_waits_for(run);
        }
    }

    /// Asks again for every fragment that looks for an agent: the fleet has changed, so whoever refused may take it now.
    pub(crate) fn search_again(&mut self) {
        let mut asks = Vec::new();
        for (run, entry) in &mut self.runs {
            for (fragment, owned) in &mut entry.fragments {
                let owner = owned.agent;
                if let Some(search) = &mut owned.search {
                    search.exclude.retain(|agent| owner == Some(*agent));
                    asks.push((*run, *fragment));
                }
            }
        }
        for (run, fragment) in asks {
            self.ask(run, fragment);
        }
    }

    /// The fragment is to be taken from `agent` whatever comes: fenced now, and given to another as soon as there is one.
    pub(crate) fn take_away(&mut self, run: RunId, fragment: FragmentId, agent: AgentId, why: String, now: Timestamp) {
        if self.is_stopping(run) {
            return self.fence_and_end(run, fragment, why, now);
        }
        self.fence(run, fragment, why.clone(), now);
        let search = Search {
            why,
            exclude: [agent].into(),
            forced: true,
            late: false,
            nobody: None,
        };
        self.search(run, fragment, search);
    }

    /// A fragment from the store that nobody owned when the control plane stopped.
    pub(crate) fn search_for_fenced(&mut self, run: RunId) {
        let Some(entry) = self.runs.get(&run) else { return };
        let open = entry
            .fragments
            .iter()
            .filter(|(_, o)| o.agent.is_none() && !entry.fragment_ended(o));
        let fenced: Vec<FragmentId> = open.map(|(f, _)| *f).collect();
        for fragment in fenced {
            let search = Search {
                why: "nobody owned it".to_owned(),
                exclude: BTreeSet::new(),
                forced: true,
                late: false,
                nobody: None,
            };
            self.search(run, fragment, search);
        }
    }

    fn search(&mut self, run: RunId, fragment: FragmentId, search: Search) {
        if let Some(owned) = self.fragment_mut(run, fragment) {
            owned.search = Some(search);
            self.ask(run, fragment);
        }
    }

    fn ask(&mut self, run: RunId, fragment: FragmentId) {
        let Some(owned) = self.fragment_mut(run, fragment) else { return };
        let Some(search) = &owned.search else { return };
        let exclude = search.exclude.clone();
        self.commands.push_back(Command::Replan { run, fragment, exclude });
    }

    pub(crate) fn say_what_it_waits_for(&mut self, run: RunId) {
        let Some(entry) = self.runs.get_mut(&run) else { return };
        let mut stuck = entry
            .fragments
            .iter()
            .filter_map(|(f, owned)| Some((f, owned.search.as_ref()?.nobody.as_ref()?)));
        let why = stuck
            .next()
            .map(|(fragment, nobody)| format!("another agent for fragment {}: {nobody}", fragment.0));
        let more = stuck.count();
        let why = why.map(|why| {
            if more > 0 {
                format!("{why} (and {more} more fragments)")
            } else {
                why
            }
        });
        if entry.waiting_for != why {
            entry.waiting_for.clone_from(&why);
            self.commands.push_back(Command::Commit(Change::Waiting { run, why }));
        }
    }
}

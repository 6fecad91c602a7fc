//! Who owns a fragment: each change of owner is a new epoch, stored before anybody is told.
//!
//! An agent passes results from fragment to fragment before they are committed. So when one fragment of a run is taken from
//! it, whatever else it holds of that run begins again from the facts, under a new epoch.

use crate::command::{Change, Command};
use crate::coordinator::Coordinator;
use crate::entry::FragmentEntry;
use eyot_model::{AgentId, Epoch, Event, FragmentId, Path, RunId, TaskIx, Timestamp};
use eyot_wire::ToAgent;

impl Coordinator {
    /// Raises the epoch, stores who owns the fragment under it, and tells both agents.
    pub(crate) fn assign(&mut self, run: RunId, fragment: FragmentId, agent: AgentId, why: Option<String>, now: Timestamp) {
        let Some(owned) = self.fragment_mut(run, fragment) else { return };
        let again = owned.agent == Some(agent);
        let contradicted = owned.contradicted && again;
        let former = owned.agent;
        let over = self.superseded(run, fragment);
        self.store_owner(run, fragment, agent, why, now);
        self.commands.extend(over);
        self.end_earlier_epochs(run, agent);
        let again_too = former.map(|former| self.restart_siblings(run, fragment, former, now));
        if let Some(owned) = self.fragment_mut(run, fragment) {
            owned.contradicted = contradicted;
        }
        self.send_assignment(run, fragment);
        for sibling in again_too.into_iter().flatten() {
            self.send_assignment(run, sibling);
        }
    }

    /// The agent may have had this fragment or others of the run before, and be back without having heard that this is over:
    /// it begins from the facts, and must not take what it had done then along. That goes for what it has under a later epoch
    /// by now, too.
    pub(crate) fn end_earlier_epochs(&mut self, run: RunId, agent: AgentId) {
        let Some(entry) = self.runs.get(&run) else { return };
        for (fragment, owned) in &entry.fragments {
            let over = |(epoch, had): &(&Epoch, &AgentId)| **had == agent && owned.renewed_from != Some((agent, **epoch));
            for (epoch, _) in owned.former.iter().filter(over) {
                let (fragment, epoch) = (*fragment, *epoch);
                let message = Box::new(ToAgent::Superseded { run, fragment, epoch });
                self.commands.push_back(Command::Send { agent, message });
            }
        }
    }

    /// The fragment goes on with `agent` under a new epoch; the answer to its inventory will tell it.
    pub(crate) fn assign_quietly(&mut self, run: RunId, fragment: FragmentId, agent: AgentId, why: String, now: Timestamp) {
        let held = self.fragment_mut(run, fragment).map(|owned| owned.epoch);
        self.store_owner(run, fragment, agent, Some(why), now);
        if let Some(owned) = self.fragment_mut(run, fragment) {
            owned.renewed_from = held.map(|epoch| (agent, epoch));
        }
    }

    /// Raises the epoch and gives it to nobody.
    pub(crate) fn fence(&mut self, run: RunId, fragment: FragmentId, why: String, now: Timestamp) {
        let former = self.owner_of(run, fragment);
        let over = self.superseded(run, fragment);
        self.store_fence(run, fragment, why);
        self.commands.extend(over);
        let again_too = former.map(|former| self.restart_siblings(run, fragment, former, now));
        for sibling in again_too.into_iter().flatten() {
            self.send_assignment(run, sibling);
        }
    }

    /// The end of waiting for a cancelled fragment: nobody commits anything of it any more, and what has not ended is
    /// cancelled here.
    pub(crate) fn fence_and_end(&mut self, run: RunId, fragment: FragmentId, why: String, now: Timestamp) {
        if self.owner_of(run, fragment).is_some() {
            self.fence(run, fragment, why, now);
        }
        let Some(entry) = self.runs.get_mut(&run) else { return };
        let Some(owned) = entry.fragments.get_mut(&fragment) else { return };
        owned.search = None;
        for task in owned.tasks.clone() {
            for path in open_instances(&entry.run, task) {
                // Legal from every state that is not terminal.
                let _ = entry.run.handle_event(Event::Cancelled { path, at: now }, now);
            }
        }
        self.say_what_it_waits_for(run);
        self.advance(run, None, now);
    }

    /// The run is being cancelled: what nobody owns is ended here, and nobody is looked for any more.
    pub(crate) fn end_what_nobody_owns(&mut self, run: RunId, now: Timestamp) {
        let Some(entry) = self.runs.get_mut(&run) else { return };
        entry.fragments.values_mut().for_each(|owned| owned.search = None);
        let open = entry.fragments.iter().filter(|(_, owned)| !entry.fragment_ended(owned));
        let open: Vec<(FragmentId, bool)> = open.map(|(f, owned)| (*f, owned.agent.is_none())).collect();
        self.say_what_it_waits_for(run);
        for (fragment, unowned) in open {
            // A grace time that has ended already ends nothing more by itself.
            let late = self.grace_ends(run, fragment).is_some_and(|at| at <= now);
            if unowned || late {
                let why = "the run was cancelled while its agent was out of contact for longer than `reassignAfter`";
                self.fence_and_end(run, fragment, why.to_owned(), now);
            }
        }
    }

    /// Ends the epochs of whatever else the agent holds of the run. Those that are to be assigned to it anew are returned.
    pub(crate) fn restart_siblings(&mut self, run: RunId, fragment: FragmentId, agent: AgentId, now: Timestamp) -> Vec<FragmentId> {
        let Some(entry) = self.runs.get(&run) else { return Vec::new() };
        let siblings: Vec<(FragmentId, bool)> = entry
            .fragments
            .iter()
            .filter(|(f, owned)| **f != fragment && owned.agent == Some(agent))
            .map(|(f, owned)| (*f, entry.fragment_ended(owned)))
            .collect();
        let why = format!("fragment {} was taken from the agent, and this one may build on it", fragment.0);
        let mut open = Vec::new();
        for (sibling, ended) in siblings {
            let over = self.superseded(run, sibling);
            if ended {
                self.store_fence(run, sibling, why.clone());
            } else {
                let search = self.fragment_mut(run, sibling).and_then(|owned| owned.search.take());
                self.store_owner(run, sibling, agent, Some(why.clone()), now);
                if let Some(owned) = self.fragment_mut(run, sibling) {
                    owned.search = search;
                }
                open.push(sibling);
            }
            self.commands.extend(over);
        }
        open
    }

    pub(crate) fn has_siblings(&self, run: RunId, fragment: FragmentId, agent: AgentId) -> bool {
        let Some(entry) = self.runs.get(&run) else { return false };
        entry
            .fragments
            .iter()
            .any(|(f, owned)| *f != fragment && owned.agent == Some(agent))
    }

    pub(crate) fn store_owner(&mut self, run: RunId, fragment: FragmentId, agent: AgentId, why: Option<String>, now: Timestamp) {
        let Some(owned) = self.fragment_mut(run, fragment) else { return };
        let same_owner = owned.agent == Some(agent);
        *owned = owned.next(Some(agent));
        let (epoch, tasks) = (owned.epoch, owned.tasks.clone());
        self.commands.push_back(Command::Commit(Change::Assigned {
            run,
            fragment,
            agent,
            epoch,
            tasks,
            why,
        }));
        self.lease(run, fragment, agent, now);
        self.move_overtaken(run, fragment, same_owner);
    }

    fn store_fence(&mut self, run: RunId, fragment: FragmentId, why: String) {
        let Some(owned) = self.fragment_mut(run, fragment) else { return };
        *owned = owned.next(None);
        let epoch = owned.epoch;
        let fenced = Change::Fenced { run, fragment, epoch, why };
        self.commands.push_back(Command::Commit(fenced));
        self.move_overtaken(run, fragment, false);
    }

    /// What tells the present owner that its epoch is over. To be sent once the next one is stored.
    pub(crate) fn superseded(&mut self, run: RunId, fragment: FragmentId) -> Option<Command> {
        let owned = self.fragment_mut(run, fragment)?;
        let (agent, epoch) = (owned.agent?, owned.epoch);
        let message = Box::new(ToAgent::Superseded { run, fragment, epoch });
        Some(Command::Send { agent, message })
    }

    pub(crate) fn is_stopping(&self, run: RunId) -> bool {
        self.runs.get(&run).is_some_and(|entry| entry.run.cancel_requested_by().is_some())
    }

    pub(crate) fn owner_of(&self, run: RunId, fragment: FragmentId) -> Option<AgentId> {
        self.runs.get(&run)?.fragments.get(&fragment)?.agent
    }

    pub(crate) fn fragment_mut(&mut self, run: RunId, fragment: FragmentId) -> Option<&mut FragmentEntry> {
        self.runs.get_mut(&run)?.fragments.get_mut(&fragment)
    }

    /// Unfinished fragments of an agent.
    pub(crate) fn open_fragments_of(&self, agent: AgentId) -> Vec<(RunId, FragmentId)> {
        let of = |(run, entry): (&RunId, &crate::Entry)| -> Vec<(RunId, FragmentId)> {
            let own = entry.fragments.iter().filter(|(_, f)| f.agent == Some(agent));
            own.filter(|(_, f)| !entry.fragment_ended(f)).map(|(f, _)| (*run, *f)).collect()
        };
        self.runs.iter().flat_map(of).collect()
    }
}

/// The instances of a task that have not ended; of an expanded one its items, whose ends are its own.
fn open_instances(run: &eyot_engine::Run, task: TaskIx) -> Vec<Path> {
    let entry = &run.tasks()[task.index()];
    if entry.own.state.is_terminal() {
        return Vec::new();
    }
    match &entry.items {
        None => vec![run.path(task)],
        Some(items) => (0u32..)
            .zip(&items.instances)
            .filter(|(_, instance)| !instance.state.is_terminal())
            .map(|(item, _)| run.item_path(task, item))
            .collect(),
    }
}

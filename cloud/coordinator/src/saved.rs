//! What task instances saved for themselves: the latest of each, kept for the next owner.

use crate::command::{Change, Command};
use crate::coordinator::Coordinator;
use crate::entry::Entry;
use eyot_model::{AgentId, Event, FragmentId, Path, RunId, TaskIx};
use eyot_wire::SavedState;

impl Coordinator {
    /// An agent tells what an instance saved. It counts from the owner of the fragment alone, under its present epoch, and
    /// only while the instance has not ended.
    pub fn saved(&mut self, agent: AgentId, run: RunId, fragment: FragmentId, state: SavedState) {
        let Some(entry) = self.runs.get_mut(&run) else { return };
        let current = entry
            .fragments
            .get(&fragment)
            .is_some_and(|owned| owned.is_held_by(agent, state.epoch));
        let fits = current && entry.owner.get(&state.path.task) == Some(&fragment) && state.is_bounded() && entry.is_open(state.path);
        let news = entry.saved.get(&state.path).is_none_or(|known| state.is_newer_than(known));
        if fits && news {
            entry.saved.insert(state.path, state.clone());
            self.commands.push_back(Command::Commit(Change::Saved {
                run,
                state: Box::new(state),
            }));
        }
    }
}

impl Entry {
    fn is_open(&self, path: Path) -> bool {
        let task = self.run.tasks().get(path.task.index());
        let instance = task.filter(|t| t.generation == path.generation).and_then(|t| t.instance(path.item));
        instance.is_some_and(|instance| !instance.state.is_terminal())
    }

    /// What the next owner of `tasks` may take up.
    pub(crate) fn saved_for(&self, tasks: &[TaskIx]) -> Vec<SavedState> {
        let open = self
            .saved
            .values()
            .filter(|state| tasks.contains(&state.path.task) && self.is_open(state.path));
        open.cloned().collect()
    }

    /// The instance that the event ended and that had saved something: it needs that no more.
    pub(crate) fn forget_saved(&mut self, event: &Event) -> Option<Path> {
        let path = event.may_end()?;
        if self.is_open(path) {
            return None;
        }
        self.saved.remove(&path).map(|_| path)
    }
}

//! What tasks saved for themselves: the two latest states of each instance that has not ended.
//!
//! The one before the latest is kept because a state may turn out to be unreadable when it is needed. The latest goes up to
//! the cloud while there is a link, so that the task can go on elsewhere: only the latest, and only once it is durable.

use crate::command::Command;
use crate::node::{Link, Node};
use crate::outbox::reached;
use crate::record::Record;
use eyot_model::{AttemptId, BlobRef, Digest, Path, Position, RunId};
use eyot_wire::{SavedBody, SavedState, ToCloud};
use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// States of one instance that are kept.
const KEPT: usize = 2;

#[derive(Default)]
pub(crate) struct Saved {
    /// Newest first.
    states: BTreeMap<(RunId, Path), VecDeque<(Position, SavedState)>>,
    /// Instances whose latest state the cloud has not been sent over the present link.
    unsent: BTreeSet<(RunId, Path)>,
}

impl Saved {
    /// Takes a state. One that is older than the latest is of no use.
    pub(crate) fn put(&mut self, run: RunId, at: Position, state: SavedState) {
        let known = self.states.entry((run, state.path)).or_default();
        if known.iter().any(|(_, k)| k.serial == state.serial && k.epoch == state.epoch) {
            return;
        }
        let place = known.iter().take_while(|(_, k)| k.is_newer_than(&state)).count();
        self.unsent.insert((run, state.path));
        known.insert(place, (at, state));
        known.truncate(KEPT);
    }

    fn next_serial(&self, run: RunId, path: Path) -> u64 {
        let newest = self.states.get(&(run, path)).and_then(VecDeque::front);
        newest.map_or(0, |(_, state)| state.serial) + 1
    }

    pub(crate) fn of(&self, run: RunId, path: Path) -> impl Iterator<Item = &SavedState> {
        self.states.get(&(run, path)).into_iter().flatten().map(|(_, state)| state)
    }

    /// False if there was none.
    pub(crate) fn remove(&mut self, run: RunId, path: Path) -> bool {
        self.unsent.remove(&(run, path));
        self.states.remove(&(run, path)).is_some()
    }

    /// Blobs that hold the latest states of instances.
    pub(crate) fn blobs_of(&self, run: RunId, which: impl Fn(&Path) -> bool) -> Vec<BlobRef> {
        let latest = self.states.iter().filter(|((of, path), _)| *of == run && which(path));
        latest.filter_map(|(_, states)| states.front()?.1.blob()).collect()
    }

    pub(crate) fn forget(&mut self, run: RunId) {
        self.states.retain(|(of, _), _| *of != run);
        self.unsent.retain(|(of, _)| *of != run);
    }

    /// The link is new: nothing was sent over it.
    pub(crate) fn restart(&mut self) {
        self.unsent = self.states.keys().copied().collect();
    }
}

impl Node {
    /// A task saved its state; `body` names a blob only if that is synced. The position to sync before the task is told
    /// so; None if the attempt is not this agent's any more.
    pub fn save(&mut self, id: &AttemptId, component: Digest, inputs: Digest, body: SavedBody) -> Option<Position> {
        let held = self.runs.get(&id.run)?;
        let instance = held.run.tasks().get(id.path.task.index())?.instance(id.path.item)?;
        // A fragment that goes on under a new epoch takes its running attempts along.
        let epoch = held.run.owner_epoch(id.path.task)?;
        let current = instance.attempts == id.attempt && !instance.state.is_terminal();
        if !current {
            return None;
        }
        let state = SavedState {
            path: id.path,
            epoch,
            serial: self.saved.next_serial(id.run, id.path),
            component,
            inputs,
            body,
        };
        let position = self.append(Record::Saved {
            run: id.run,
            state: state.clone(),
        });
        self.saved.put(id.run, position, state);
        Some(position)
    }

    /// What the instance saved that the same component may take up for the same inputs, newest first.
    #[must_use]
    pub fn saved_for(&self, run: RunId, path: Path, component: Digest, inputs: Digest) -> Vec<SavedBody> {
        let fitting = self.saved.of(run, path).filter(|s| s.component == component && s.inputs == inputs);
        fitting.map(|state| state.body.clone()).collect()
    }

    /// Every blob that holds a saved state: they are needed as long as their instances have not ended.
    pub fn saved_blobs(&self) -> impl Iterator<Item = BlobRef> {
        self.saved.states.values().flatten().filter_map(|(_, state)| state.blob())
    }

    /// The next state that the cloud has not been sent, if it may go now: it is durable and the link is up. A blob that it
    /// names has to be in the cloud first. Call it as often as there is room for more.
    pub fn next_saved(&mut self) -> Option<ToCloud> {
        if self.link != Link::Up {
            return None;
        }
        let saved = &self.saved;
        let ready = saved.unsent.iter().find_map(|key| {
            let (at, state) = saved.states.get(key)?.front()?;
            let (fragment, _) = self.runs.get(&key.0).filter(|held| !held.local)?.standing_of(key.1.task)?;
            reached(*at, self.synced).then(|| (*key, fragment, state.clone()))
        });
        let (key, fragment, state) = ready?;
        self.saved.unsent.remove(&key);
        Some(ToCloud::Saved {
            run: key.0,
            fragment,
            state: Box::new(state),
        })
    }

    /// Takes what others saved, as it came with an assignment that is written down at `at`.
    pub(crate) fn take_saved(&mut self, run: RunId, at: Position, states: &[SavedState]) {
        for state in states.iter().filter(|state| state.is_bounded()) {
            let key = (run, state.path);
            let newest = self.saved.of(run, state.path).next().is_none_or(|known| state.is_newer_than(known));
            let unsent = self.saved.unsent.contains(&key);
            self.saved.put(run, at, state.clone());
            // It came from there. A later one that is here may not have gone there yet.
            if newest || !unsent {
                self.saved.unsent.remove(&key);
            }
        }
    }

    /// An instance has ended: what it saved may go.
    pub(crate) fn drop_saved(&mut self, run: RunId, path: Path) {
        if self.saved.remove(run, path) {
            self.append(Record::Unsaved { run, path });
        }
    }

    /// Tells the cloud every latest state of these tasks that it may not have; the shell sees to blobs.
    pub(crate) fn send_saved(&mut self, run: RunId, tasks: &BTreeSet<eyot_model::TaskIx>) {
        while let Some(message) = self.next_saved_of(run, tasks) {
            self.commands.push_back(Command::Send(message));
        }
    }

    fn next_saved_of(&mut self, run: RunId, tasks: &BTreeSet<eyot_model::TaskIx>) -> Option<ToCloud> {
        let key = *self
            .saved
            .unsent
            .iter()
            .find(|(of, path)| *of == run && tasks.contains(&path.task))?;
        self.saved.unsent.remove(&key);
        let (_, state) = self.saved.states.get(&key)?.front()?;
        let (fragment, _) = self.runs.get(&run)?.standing_of(key.1.task)?;
        Some(ToCloud::Saved {
            run,
            fragment,
            state: Box::new(state.clone()),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::recover::Recovered;
    use crate::yielding_tests::{ALL, Device, NOW, RUN, assignment, config};
    use eyot_model::Epoch;
    use eyot_wire::{FragmentStanding, ToAgent};

    /// The end of the journal was found and could not be made durable: a state in it may still be lost to a power cut.
    #[test]
    fn a_state_that_was_found_and_is_not_durable_does_not_leave() {
        let mut device = Device::new(true);
        let id = device.started[0];
        assert!(device.save(&id, b"state"));
        let last = device.node.position();
        let (recovered, synced) = (device.journal.clone(), Position { n: 1, ..last });
        let recovered = Recovered {
            records: recovered,
            last,
            synced,
        };
        let (mut node, _) = Node::recover(config(), recovered, NOW);
        node.link_up(NOW);
        let keep = FragmentStanding::Keep {
            run: RUN,
            fragment: ALL,
            epoch: Epoch(1),
        };
        node.handle_message(ToAgent::Reconciled(vec![keep]), NOW);
        assert!(node.next_saved().is_none());
        node.journal_synced(node.position());
        assert!(matches!(node.next_saved(), Some(ToCloud::Saved { .. })));
    }

    /// A fragment goes on here under another epoch, and an earlier state comes with it.
    #[test]
    fn a_later_state_still_goes_up_after_an_earlier_one_came_with_the_fragment() {
        let mut device = Device::new(true);
        let id = device.started[0];
        assert!(device.save(&id, b"earlier"));
        let Some(ToCloud::Saved { state: earlier, .. }) = device.node.next_saved() else {
            panic!("it is durable")
        };
        assert!(device.save(&id, b"later"));
        device.node.link_down(NOW);
        device.node.link_up(NOW);
        device.hear(ToAgent::Assign(assignment(2, true, vec![], vec![*earlier])));
        device.hear(ToAgent::Reconciled(vec![]));
        match device.node.next_saved() {
            Some(ToCloud::Saved { state, .. }) => assert_eq!(state.body, SavedBody::Inline(b"later".to_vec())),
            other => panic!("{other:?}"),
        }
    }
}

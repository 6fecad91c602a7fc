//! States that tasks save for themselves: saved in mid-attempt, taken up by a later one, sent to the cloud meanwhile.
//!
//! A state says for which instance, version and inputs it was saved, so that it is seen where another one takes it up.

use crate::happening::Inside;
use crate::outside::Outside;
use crate::random::hash;
use crate::world::World;
use eyot_model::{AttemptId, BlobForm, BlobRef, Digest, Epoch, Path, Position, RunId};
use eyot_wire::{SavedBody, SavedState, ToCloud};
use std::collections::BTreeMap;

/// What a state was saved for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SavedFor {
    pub run: RunId,
    pub path: Path,
    pub version: Digest,
    pub inputs: Digest,
}

/// A state that was saved, by the digest of its bytes, and the epoch under which its task was owned then.
type Saved = (Digest, SavedFor, Epoch);

/// What the observers know of states.
#[derive(Debug, Default)]
pub struct States {
    /// How many attempts went on from one.
    pub taken_up: u64,
    all: BTreeMap<Digest, SavedFor>,
    /// The record of each machine's journal in which a state of its own stands.
    written: BTreeMap<(usize, Digest), Position>,
    /// Those of each instance on a machine, in order, and how many of them the task was told to be kept.
    saved: BTreeMap<(usize, RunId, Path), (Vec<Saved>, usize)>,
}

impl States {
    fn note(&mut self, machine: usize, saved: Saved, at: Position) -> usize {
        let (digest, of, _) = saved;
        self.written.insert((machine, digest), at);
        let (list, _) = self.saved.entry((machine, of.run, of.path)).or_default();
        list.push(saved);
        list.len()
    }

    fn kept(&mut self, machine: usize, run: RunId, path: Path, count: usize) {
        if let Some((_, kept)) = self.saved.get_mut(&(machine, run, path)) {
            *kept = (*kept).max(count);
        }
    }

    /// How many states of the instance the machine saved after this one, which may be another machine's of this epoch.
    fn saved_since(&self, machine: usize, of: SavedFor, digest: Digest, epoch: Epoch) -> usize {
        let Some((list, _)) = self.saved.get(&(machine, of.run, of.path)) else {
            return 0;
        };
        match list.iter().position(|(known, ..)| *known == digest) {
            Some(at) => list.len() - at - 1,
            None => list.iter().filter(|(.., under)| *under > epoch).count(),
        }
    }

    pub fn forgive(&mut self, machine: usize) {
        self.saved.retain(|(of, _, _), _| *of != machine);
        self.written.retain(|(of, _), _| *of != machine);
    }

    /// What is wrong with the states that an attempt is offered. `epoch`: under which the machine owns its task, if it does;
    /// what was taken away from it, its node need not have any more, although an attempt that a full disk kept from beginning
    /// may begin yet, to be stopped at once.
    fn wrong(&self, machine: usize, of: SavedFor, epoch: Option<Epoch>, offered: &[Digest]) -> Option<String> {
        if let Some(other) = offered.iter().find(|digest| self.all.get(digest) != Some(&of)) {
            let found = self.all.get(other);
            return Some(format!("an attempt for {of:?} is offered a state that was saved for {found:?}"));
        }
        let (list, kept) = self.saved.get(&(machine, of.run, of.path))?;
        let (digest, for_what, under) = list.get(kept.checked_sub(1)?)?;
        // The two latest are kept, whatever version saved them.
        let latest = list.len() - kept < 2;
        let lost = latest && *for_what == of && Some(*under) == epoch && !offered.contains(digest);
        lost.then(|| {
            format!(
                "agent {machine} kept state {digest} of {:?} of {}, and does not have it any more",
                of.path, of.run
            )
        })
    }
}

impl Outside {
    /// A machine tells the cloud of a state. One of its own has to be there after a power cut.
    pub(crate) fn state_leaves(&mut self, machine: usize, state: &SavedState) {
        if let Some(position) = self.states.written.get(&(machine, digest_of(&state.body))) {
            self.record_leaves(machine, *position);
        }
    }
}

impl World {
    /// The version of the component that a process of the machine has.
    fn version(&self, machine: usize) -> Digest {
        let device = &self.devices[machine];
        let other = hash(&[device.seed, 31, device.life]).is_multiple_of(6);
        Digest::of(if other { b"1.1" } else { b"1.0" })
    }

    fn saved_for(&self, machine: usize, id: &AttemptId) -> Option<SavedFor> {
        let running = self.devices[machine].process.as_ref()?.running.get(id)?;
        Some(SavedFor {
            run: id.run,
            path: id.path,
            version: self.version(machine),
            inputs: Digest::of(format!("{:?}", running.inputs).as_bytes()),
        })
    }

    /// An attempt begins with what an earlier one saved, if there is something that it can use.
    pub(crate) fn take_up(&mut self, machine: usize, id: &AttemptId) -> bool {
        let Some(of) = self.saved_for(machine, id) else { return false };
        let Some(process) = &self.devices[machine].process else {
            return false;
        };
        let linked = process.link.is_some() && self.cloud.up;
        let states = process.node.saved_for(id.run, id.path, of.version, of.inputs);
        let offered: Vec<Digest> = states.iter().map(digest_of).collect();
        let epoch = process.node.run(id.run).and_then(|run| run.owner_epoch(id.path.task));
        let wrong = self.outside.states.wrong(machine, of, epoch, &offered);
        if let Some(why) = wrong.or_else(|| self.left_behind(machine, of, epoch?, &offered)) {
            self.outside.breaks(why);
        }
        // Where one is not to be had: the one before.
        let had = states.iter().any(|state| match state {
            SavedBody::Inline(_) => true,
            SavedBody::Blob(blob) => {
                let there = linked && self.cloud_has(&blob.digest);
                let blobs = &mut self.devices[machine].blobs;
                if there {
                    blobs.write(blob.digest);
                }
                blobs.holds(&blob.digest)
            }
        });
        self.outside.states.taken_up += u64::from(had);
        had
    }

    /// What an earlier owner saved and the cloud has stored comes with the fragment. It may go only for later ones.
    fn left_behind(&self, machine: usize, of: SavedFor, epoch: Epoch, offered: &[Digest]) -> Option<String> {
        let state = self.cloud.store.runs.get(&of.run)?.saved.get(&of.path)?;
        let fits = state.component == of.version && state.inputs == of.inputs && state.epoch < epoch;
        let digest = digest_of(&state.body);
        let since = self.outside.states.saved_since(machine, of, digest, state.epoch);
        let lost = fits && since < 2 && !self.devices[machine].was_damaged && !offered.contains(&digest);
        lost.then(|| {
            format!(
                "agent {machine} was given {of:?} under {epoch:?} without the state {digest} of {:?}",
                state.epoch
            )
        })
    }

    /// An attempt saves its state.
    pub(crate) fn saves(&mut self, machine: usize, id: AttemptId) {
        let Some(of) = self.saved_for(machine, &id) else { return };
        let bytes = self.random.bits().to_le_bytes();
        let digest = Digest::of(&bytes);
        self.outside.states.all.insert(digest, of);
        if self.random.chance(50) {
            return self.write_down_state(machine, id, SavedBody::Inline(bytes.to_vec()));
        }
        self.devices[machine].blobs.write(digest);
        let (size, form) = (8, BlobForm::Raw);
        self.process(machine, 100, 5_000, Inside::StateSynced(id, BlobRef { digest, size, form }));
    }

    pub(crate) fn write_down_state(&mut self, machine: usize, id: AttemptId, body: SavedBody) {
        let Some(of) = self.saved_for(machine, &id) else { return };
        let digest = digest_of(&body);
        let mut written: Option<(Position, Epoch)> = None;
        let effects = self.devices[machine].turn(self.now, |node, _| {
            let epoch = node.run(id.run).and_then(|run| run.owner_epoch(id.path.task));
            written = node.save(&id, of.version, of.inputs, body).zip(epoch);
        });
        if let Some((position, epoch)) = written {
            let count = self.outside.states.note(machine, (digest, of, epoch), position);
            self.devices[machine].saving.push((position, id.run, id.path, count));
        }
        self.carry_out(machine, effects);
    }

    /// The journal is durable further than before: tasks are told that their states are kept.
    pub(crate) fn tell_kept(&mut self, machine: usize) {
        for (run, path, count) in self.devices[machine].take_kept() {
            self.outside.states.kept(machine, run, path, count);
        }
    }

    /// States that the cloud does not have go up; one that is a blob after that.
    pub(crate) fn send_states(&mut self, machine: usize) {
        while let Some(process) = self.devices[machine].process.as_mut().filter(|p| p.link.is_some()) {
            let link = process.link;
            let Some(message) = process.node.next_saved() else { return };
            match blob_of(&message) {
                None => self.device_sends(machine, message),
                Some(_) => self.process(machine, 100, 50_000, Inside::StateUploaded(link, Box::new(message))),
            }
        }
    }

    pub(crate) fn state_uploaded(&mut self, machine: usize, over: Option<u64>, message: ToCloud) {
        let device = &self.devices[machine];
        let same = device.process.as_ref().is_some_and(|process| process.link == over);
        let held = blob_of(&message).filter(|blob| device.blobs.holds(&blob.digest));
        if let Some(blob) = held.filter(|_| same && self.cloud.up) {
            self.cloud.blobs.insert(blob.digest);
            self.device_sends(machine, message);
        }
    }
}

fn digest_of(body: &SavedBody) -> Digest {
    match body {
        SavedBody::Inline(bytes) => Digest::of(bytes),
        SavedBody::Blob(blob) => blob.digest,
    }
}

fn blob_of(message: &ToCloud) -> Option<BlobRef> {
    match message {
        ToCloud::Saved { state, .. } => state.blob(),
        _ => None,
    }
}

//! Disks that are copied: an image that is put back later, or used by a second machine.
//!
//! The rule is the product's (`eyot_coordinator::admits`); here are the numbers that a machine's disk holds, and what the
//! control plane does with one that it does not take.

use crate::blobs::Blobs;
use crate::device::Device;
use crate::happening::Happening;
use crate::random::hash;
use crate::world::World;
use eyot_checkpoint::{MemorySource, SimDisk};
use eyot_coordinator::{Claim, admits};

/// What a machine's disk holds at one moment.
pub struct Image {
    disk: SimDisk,
    source: MemorySource,
    blobs: Blobs,
    numbers: Vec<u64>,
}

impl Device {
    #[must_use]
    pub fn image(&self) -> Image {
        Image {
            disk: self.disk.copy(),
            source: self.source.copy(),
            blobs: self.blobs.clone(),
            numbers: self.numbers.clone(),
        }
    }

    /// The machine's disk holds what the image does, from its next start on.
    pub fn put_back(&mut self, image: &Image) {
        self.disk = image.disk.copy();
        self.source = image.source.copy();
        self.blobs = image.blobs.clone();
        self.numbers.clone_from(&image.numbers);
        self.tampered = true;
    }

    /// The number of this start, which is on the disk before it is presented, and those before it.
    fn propose(&mut self) -> (u64, Vec<u64>) {
        let new = hash(&[self.seed, 11, self.life]);
        let before = self.numbers.iter().copied().filter(|n| *n != new).collect();
        if !self.numbers.contains(&new) {
            self.numbers.push(new);
        }
        (new, before)
    }
}

impl World {
    /// Whether the control plane takes a machine that connects for the agent that it says it is.
    pub(crate) fn is_no_copy(&mut self, machine: usize) -> bool {
        let (new, before) = self.devices[machine].propose();
        let agent = self.devices[machine].id;
        let last = self.cloud.store.incarnations.get(&agent).copied();
        if admits(last, Claim { new, before: &before }) {
            self.cloud.store.incarnations.insert(agent, new);
            self.devices[machine].numbers = vec![new];
            return true;
        }
        self.devices[machine].turned_away += 1;
        let effects = self.devices[machine].turn(self.now, |node, now| node.turned_away(now));
        self.device_effects(machine, effects);
        if !self.cloud.links.contains_key(&agent) {
            let now = self.cloud.clocks.now(self.now);
            self.cloud.coordinator.expel(agent, "a copy of the agent's disk was seen", now);
            self.cloud_turn();
        }
        self.after(100_000, 300_000, Happening::Connect { machine });
        false
    }

    /// A second machine with this disk, and so with the same agent's identity, starts.
    pub fn add_copy(&mut self, of: usize, image: &Image) -> usize {
        let index = self.devices.len();
        let mut copy = Device::new(index, self.devices[of].id, hash(&[self.next_link, 6, index as u64]), None);
        copy.put_back(image);
        self.devices.push(copy);
        self.at(self.elapsed(), Happening::Start { machine: index });
        index
    }

    /// An operator lets the machine begin anew.
    pub fn readmit(&mut self, machine: usize) {
        let agent = self.devices[machine].id;
        self.cloud.store.incarnations.remove(&agent);
        let now = self.cloud.clocks.now(self.now);
        self.cloud
            .coordinator
            .start_over(agent, "an operator let the agent begin anew", now);
        self.cloud_turn();
    }
}

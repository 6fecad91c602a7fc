//! Troubles as they come: links that break and are made again, processes that end and start, disks that fail.

use crate::happening::{Happening, Inside};
use crate::weather::Trouble;
use crate::world::World;
use eyot_checkpoint::Disk;
use eyot_model::{LinkState, RunId};

impl World {
    pub(crate) fn goes_wrong(&mut self, trouble: Trouble) {
        match trouble {
            Trouble::Cut { machine, lasts, late } => self.cut(machine, lasts, late),
            Trouble::Kill { machine, lasts } => self.stop(machine, false, lasts),
            Trouble::PowerCut { machine, lasts } => self.stop(machine, true, lasts),
            Trouble::Freeze { machine, lasts } => self.freeze(machine, lasts),
            Trouble::FullDisk { machine, lasts } => {
                let disk = &self.devices[machine].disk;
                disk.set_capacity(Some(disk.used()));
                self.at(self.elapsed() + lasts, Happening::Room { machine });
            }
            Trouble::FailSyncs { machine, count } => self.devices[machine].disk.fail_syncs(count),
            Trouble::FailWrites { machine, count } => self.devices[machine].disk.fail_writes(count),
            Trouble::FlipBit { machine, lasts } => {
                if self.devices[machine].is_up() {
                    self.stop(machine, true, lasts);
                    self.flip_bit(machine);
                }
            }
            Trouble::KillCloud { lasts } => self.kill_cloud(lasts),
            Trouble::SetClock { machine, micros } => self.devices[machine].clocks.set(micros),
            Trouble::RebootCloud { lasts, micros } => {
                if self.cloud.up {
                    self.kill_cloud(lasts);
                    self.cloud.clocks.set(micros);
                    self.cloud.clocks.power_off();
                }
            }
            Trouble::Drain { machine, lasts } => {
                self.at(self.elapsed(), Happening::Drain { machine, on: true });
                self.at(self.elapsed() + lasts, Happening::Drain { machine, on: false });
            }
            Trouble::Lose { machine } => {
                self.devices[machine].lost = true;
                self.stop(machine, true, 0);
            }
            Trouble::Cancel { run } => self.at(self.elapsed(), Happening::Cancel { run: RunId(run) }),
        }
    }

    pub(crate) fn start(&mut self, machine: usize) {
        if self.devices[machine].is_up() || self.devices[machine].lost {
            return;
        }
        let effects = self.devices[machine].start(self.now, &mut self.outside);
        if self.trace {
            eprintln!("      found: {:?}", self.devices[machine].found);
        }
        self.check_own_kept(machine);
        self.device_effects(machine, effects);
        self.after(1_000, 100_000, Happening::Connect { machine });
        if self.schedules.contains_key(&machine) {
            self.after(1_000, 20_000, Happening::FireDue { machine });
        }
    }

    pub(crate) fn connect(&mut self, machine: usize) {
        let agent = self.devices[machine].id;
        if self.devices[machine].process.as_ref().is_none_or(|p| p.link.is_some()) {
            return;
        }
        let cut_off = self.cut_off_until.get(&machine).is_some_and(|until| self.elapsed() < *until);
        if cut_off || !self.cloud.up || self.devices[machine].frozen {
            return self.after(10_000, 200_000, Happening::Connect { machine });
        }
        if !self.is_no_copy(machine) {
            return;
        }
        self.next_link += 1;
        let link = self.next_link;
        if let Some(process) = &mut self.devices[machine].process {
            process.link = Some(link);
        }
        self.cloud.link_changed(agent, LinkState::Connected, Some(link), self.now);
        let effects = self.devices[machine].turn(self.now, |node, now| node.link_up(now));
        self.device_effects(machine, effects);
        self.process(machine, 0, 0, Inside::Beat);
        self.cloud_turn();
    }

    /// The link breaks. Both sides see it, each in its time.
    fn cut(&mut self, machine: usize, lasts: u64, late: u64) {
        let agent = self.devices[machine].id;
        let until = self.elapsed() + lasts;
        self.cut_off_until.insert(machine, until);
        let Some(link) = self.devices[machine].process.as_ref().and_then(|p| p.link) else {
            return;
        };
        self.messages_come_late(machine, link, late);
        self.after(0, 20_000, Happening::MachineMisses { machine, link });
        self.after(0, 20_000, Happening::CloudMisses { agent, link });
    }

    /// The first `late` messages on their way to the cloud arrive after all, and nothing behind them.
    fn messages_come_late(&mut self, machine: usize, link: u64, late: u64) {
        self.broken.insert(link);
        let mut at = self.elapsed();
        let in_flight = self.take_in_flight(machine, link);
        for happening in in_flight.into_iter().take(usize::try_from(late).unwrap_or(0)) {
            at += self.random.between(1, 150_000);
            if let Happening::ToCloud {
                machine,
                link,
                life,
                message,
                ..
            } = happening
            {
                let late = Happening::ToCloud {
                    machine,
                    link,
                    late: true,
                    life,
                    message,
                };
                self.at(at, late);
            }
        }
    }

    pub(crate) fn machine_misses(&mut self, machine: usize, link: u64) {
        if self.devices[machine].process.as_ref().is_none_or(|p| p.link != Some(link)) {
            return;
        }
        if let Some(process) = &mut self.devices[machine].process {
            process.link = None;
        }
        let effects = self.devices[machine].turn(self.now, |node, now| node.link_down(now));
        self.device_effects(machine, effects);
        self.after(20_000, 300_000, Happening::Connect { machine });
    }

    /// The process ends, or the machine loses power.
    pub(crate) fn stop(&mut self, machine: usize, power: bool, lasts: u64) {
        let agent = self.devices[machine].id;
        let Some(process) = &self.devices[machine].process else {
            return;
        };
        if let Some(link) = process.link {
            let late = self.random.below(3);
            self.messages_come_late(machine, link, late);
            self.after(0, self.missed_after(), Happening::CloudMisses { agent, link });
        }
        self.drop_deferred(machine);
        self.note_own(machine, power);
        let power = power.then(|| self.random.bits());
        self.devices[machine].stop(power);
        self.at(self.elapsed() + lasts, Happening::Start { machine });
    }

    fn freeze(&mut self, machine: usize, lasts: u64) {
        let agent = self.devices[machine].id;
        let Some(process) = self.devices[machine].process.as_ref().filter(|_| !self.devices[machine].frozen) else {
            return;
        };
        let (link, life) = (process.link, self.devices[machine].life);
        self.devices[machine].frozen = true;
        let missed = self.missed_after();
        if let Some(link) = link.filter(|_| lasts > missed) {
            self.at(self.elapsed() + missed, Happening::CloudMisses { agent, link });
            self.at(self.elapsed() + lasts, Happening::MachineMisses { machine, link });
        }
        self.at(self.elapsed() + lasts, Happening::Thaw { machine, life });
    }

    fn flip_bit(&mut self, machine: usize) {
        let device = &mut self.devices[machine];
        let Ok(names) = device.disk.list() else { return };
        let segments: Vec<String> = names.into_iter().filter(|name| name != "reserve").collect();
        let Some(name) = segments.get(usize::try_from(self.random.below(segments.len() as u64)).unwrap_or(0)) else {
            return;
        };
        let len = device.disk.open(name).and_then(|file| file.len()).unwrap_or(0);
        let at = self.random.below(len);
        device.disk.flip_bit(name, at, u8::try_from(self.random.below(8)).unwrap_or(0));
        device.tampered = true;
        device.was_damaged = true;
    }

    fn kill_cloud(&mut self, lasts: u64) {
        if !self.cloud.up {
            return;
        }
        self.cloud.kill();
        for machine in 0..self.devices.len() {
            if let Some(link) = self.devices[machine].process.as_ref().and_then(|p| p.link) {
                // The process that comes after this one knows nothing of it.
                self.broken.insert(link);
                self.after(0, 50_000, Happening::MachineMisses { machine, link });
            }
        }
        self.at(self.elapsed() + lasts, Happening::StartCloud);
    }
}

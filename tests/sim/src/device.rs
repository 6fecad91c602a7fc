//! An agent's machine: its disk, and while it is up a process with the real node over the real journal.

use crate::blobs::{Blobs, named};
use crate::clocks::Clocks;
use crate::disk::Unsynced;
use crate::mutant::Mutant;
use crate::outside::Outside;
use crate::random::hash;
use eyot_checkpoint::{Checkpoint, Config as JournalConfig, Disk, DiskMarks, JournalError, MemorySource, SimDisk};
use eyot_ledger::{Gate, Journal, NodeFold};
use eyot_model::{AgentId, AttemptId, BlobRef, Capacity, Inputs, Outcome, Path, Position, RunId, Timestamp, Usage};
use eyot_node::{Command, Config, Node, Record, Recovered};
use eyot_wire::ToCloud;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// What the machine wants from the world.
#[derive(Debug)]
pub enum Effect {
    Send(ToCloud),
    /// An attempt begins; the world says when it ends.
    Began(AttemptId),
    /// An attempt is to stop.
    Stopped(AttemptId),
    /// A sync is wanted: at once, or within the journal's interval.
    Sync {
        urgent: bool,
    },
    Upload(BlobRef),
    /// The journal takes nothing; try again.
    Stuck,
}

/// An attempt that runs.
#[derive(Clone, Debug)]
pub struct Running {
    pub inputs: Inputs,
    pub stop: bool,
    /// Different for each execution.
    pub stamp: u64,
}

/// A process of the agent.
pub struct Process {
    pub node: Node,
    checkpoint: Checkpoint,
    gate: Gate,
    pub running: BTreeMap<AttemptId, Running>,
    /// The link as this side knows it.
    pub link: Option<u64>,
    /// A sync is on its way: an urgent one, or one of the interval.
    syncing: Option<bool>,
}

pub struct Device {
    pub id: AgentId,
    pub disk: SimDisk,
    pub(crate) source: MemorySource,
    pub blobs: Blobs,
    pub process: Option<Process>,
    /// Counts restarts, so that what an earlier life began does not end in a later one.
    pub life: u64,
    pub frozen: bool,
    /// Never comes back.
    pub lost: bool,
    pub clocks: Clocks,
    /// Attempts that began.
    pub started: u64,
    index: usize,
    pub(crate) seed: u64,
    /// Of its starts: the one that the control plane is known to have taken, and those presented since.
    pub(crate) numbers: Vec<u64>,
    /// How often the control plane took it for another machine's copy.
    pub turned_away: u64,
    /// Its disk was damaged or replaced since it was last up.
    pub tampered: bool,
    /// Its disk was damaged at any time.
    pub was_damaged: bool,
    /// What the last start found.
    pub found: Option<eyot_checkpoint::Report>,
    forgotten: BTreeSet<RunId>,
    /// States that are written down and not known durable: where, of which instance, and its how many-eth.
    pub(crate) saving: Vec<(Position, RunId, Path, usize)>,
    mutant: Option<Mutant>,
}

const CONFIG: Config = Config {
    capacity: Capacity {
        cpu_millis: 4_000,
        memory_bytes: 8 << 30,
        disk_bytes: 1 << 40,
        gpus: 0,
    },
};

/// As on a device, but small, so that segments turn over within a world.
const JOURNAL: JournalConfig = JournalConfig {
    segment_bytes: 20 << 10,
    journal_bytes: 60 << 10,
    fold_bytes: 4 << 10,
    marks: DiskMarks {
        high_free: 64 << 10,
        critical_free: 16 << 10,
        reserve: 4 << 10,
    },
};

struct Written<'a> {
    checkpoint: &'a mut Checkpoint,
    mutant: Option<Mutant>,
}

impl Journal for Written<'_> {
    fn append(&mut self, records: &mut Vec<eyot_checkpoint::Record>) -> Result<Position, JournalError> {
        self.checkpoint.append(records)
    }

    fn synced(&self) -> Position {
        if self.mutant == Some(Mutant::NoPersistBeforeStart) {
            return self.checkpoint.appended();
        }
        self.checkpoint.synced()
    }
}

impl Device {
    #[must_use]
    pub fn new(index: usize, id: AgentId, seed: u64, mutant: Option<Mutant>) -> Self {
        Self {
            id,
            disk: SimDisk::new(),
            source: MemorySource::new(),
            blobs: Blobs::default(),
            process: None,
            life: 0,
            frozen: false,
            lost: false,
            clocks: Clocks::default(),
            started: 0,
            index,
            seed,
            numbers: Vec::new(),
            turned_away: 0,
            tampered: false,
            was_damaged: false,
            found: None,
            forgotten: BTreeSet::new(),
            saving: Vec::new(),
            mutant,
        }
    }

    #[must_use]
    pub fn is_up(&self) -> bool {
        self.process.is_some()
    }

    /// The process's clock.
    #[must_use]
    pub fn clock(&self, now: Timestamp) -> Timestamp {
        self.clocks.now(now)
    }

    /// When the node wants to be called, in true time.
    #[must_use]
    pub fn due(&self) -> Option<Timestamp> {
        let at = self.process.as_ref()?.node.poll_timeout()?;
        Some(self.clocks.when(at))
    }

    /// The agent's process starts over what its disk holds, without the cloud.
    ///
    /// # Panics
    /// When the journal's folder cannot be listed, which this disk always can.
    pub fn start(&mut self, now: Timestamp, outside: &mut Outside) -> Vec<Effect> {
        self.life += 1;
        let disk: Arc<dyn Disk> = if self.mutant == Some(Mutant::NoFsync) {
            Arc::new(Unsynced(Arc::new(self.disk.clone())))
        } else {
            Arc::new(self.disk.clone())
        };
        let generation = hash(&[self.seed, self.life]).max(1);
        let source = Arc::new(self.source.clone());
        let opened = Checkpoint::open(JOURNAL, disk, source, Arc::new(NodeFold), generation, &self.life.to_string());
        let (checkpoint, found) = match opened {
            Ok(opened) => opened,
            Err(error) => panic!("agent {} does not start: {error}", self.index),
        };
        let records = match eyot_ledger::read(&found) {
            Ok(records) => records,
            Err(error) => panic!("agent {} does not start: {error}", self.index),
        };
        let found_all = found.report.loss.is_none() && !self.tampered;
        if !found_all {
            outside.forgive(self.index);
        } else {
            self.check_recovered(&records, found.report.last, outside);
        }
        self.tampered = false;
        self.found = Some(found.report.clone());
        let recovered = Recovered {
            records,
            last: found.report.taken,
            synced: eyot_ledger::durable(&checkpoint, &found.report),
        };
        self.clocks.begin(now);
        let (node, recovery) = Node::recover(CONFIG, recovered, self.clock(now));
        if !recovery.lost.is_empty() {
            outside.breaks(format!("agent {} lost runs: {:?}", self.index, recovery.lost));
        }
        if !recovery.incomplete.is_empty() && found_all {
            outside.breaks(format!("agent {} lost parts of its own runs {:?}", self.index, recovery.incomplete));
        }
        self.process = Some(Process {
            node,
            checkpoint,
            gate: Gate::default(),
            running: BTreeMap::new(),
            link: None,
            syncing: None,
        });
        self.drain(now)
    }

    fn check_recovered(&self, records: &eyot_ledger::Records, last: Position, outside: &mut Outside) {
        let held = records.iter().filter_map(|(_, record)| match record {
            Record::Assigned(a) => Some((a.run, a.fragment, a.epoch)),
            _ => None,
        });
        outside.recovered(self.index, last, &held.collect(), &self.forgotten);
        for (_, record) in records {
            let (run, named) = match record {
                Record::Own {
                    run,
                    event:
                        eyot_model::Event::Ended {
                            outcome: Outcome::Succeeded(outputs),
                            ..
                        },
                    ..
                } => (run, named(outputs.values())),
                Record::Saved { run, state } => (run, state.blob().into_iter().collect()),
                _ => continue,
            };
            if let Some(blob) = named.iter().find(|blob| !self.blobs.holds(&blob.digest)) {
                let (index, digest) = (self.index, blob.digest);
                outside.breaks(format!(
                    "agent {index} has a record of run {run} and not its blob {digest}: {record:?}"
                ));
            }
        }
    }

    /// Appended and durable records.
    #[must_use]
    pub fn positions(&self) -> Option<(Position, Position)> {
        self.process.as_ref().map(|p| (p.checkpoint.appended(), p.checkpoint.synced()))
    }

    /// Lets the node act and does what it wants; gives what the world has to do.
    pub fn turn(&mut self, now: Timestamp, act: impl FnOnce(&mut Node, Timestamp)) -> Vec<Effect> {
        let clock = self.clock(now);
        if let Some(process) = &mut self.process {
            act(&mut process.node, clock);
        }
        self.drain(now)
    }

    fn drain(&mut self, now: Timestamp) -> Vec<Effect> {
        let clock = self.clock(now);
        let Some(process) = &mut self.process else {
            return Vec::new();
        };
        let mut effects = Vec::new();
        let mut told = Position::default();
        loop {
            let mut over = Vec::new();
            let mut written = Written {
                checkpoint: &mut process.checkpoint,
                mutant: self.mutant,
            };
            for command in process.gate.drain(&mut process.node, &mut written, clock) {
                match command {
                    Command::Start { start, .. } => {
                        self.started += 1;
                        let running = Running {
                            inputs: start.inputs,
                            stop: false,
                            stamp: hash(&[self.seed, self.started]),
                        };
                        process.running.insert(start.id, running);
                        effects.push(Effect::Began(start.id));
                    }
                    Command::Stop { id } => effects.push(Effect::Stopped(id)),
                    Command::Sync { urgent } => want_sync(process, urgent, &mut effects),
                    Command::Send(message) => effects.push(Effect::Send(message)),
                    Command::Upload(blob) => effects.push(Effect::Upload(blob)),
                    Command::Forget { run } => drop(self.forgotten.insert(run)),
                    Command::Archive { run } => over.push(run),
                    Command::RunFinished { .. } | Command::Append { .. } => {}
                }
            }
            if !over.is_empty() {
                over.into_iter().for_each(|run| process.node.archive(run));
                continue;
            }
            let appended = process.checkpoint.appended();
            if self.mutant != Some(Mutant::NoExternalSynchrony) || process.gate.is_stuck() || told == appended {
                break;
            }
            told = appended;
            process.node.journal_synced(told);
        }
        if process.checkpoint.appended() != process.checkpoint.synced() {
            want_sync(process, false, &mut effects);
        }
        if process.gate.is_stuck() {
            effects.push(Effect::Stuck);
        }
        effects
    }

    /// A sync ends: everything appended so far is durable.
    pub fn sync(&mut self, now: Timestamp, fold: bool) -> Vec<Effect> {
        let Some(process) = &mut self.process else {
            return Vec::new();
        };
        process.syncing = None;
        let synced = process.checkpoint.sync();
        if fold {
            // What fails is tried again with a later one.
            let _ = process.checkpoint.fold();
        }
        self.clocks.keep(now);
        match synced {
            Ok(position) => self.turn(now, |node, _| node.journal_synced(position)),
            Err(_) => {
                let mut effects = Vec::new();
                want_sync(process, false, &mut effects);
                effects
            }
        }
    }

    /// States that are durable now.
    pub(crate) fn take_kept(&mut self) -> Vec<(RunId, Path, usize)> {
        let Some((_, synced)) = self.positions() else {
            return Vec::new();
        };
        let reached = |at: Position| at.generation == synced.generation && at.n <= synced.n;
        let kept = self.saving.extract_if(.., |(at, ..)| reached(*at));
        kept.map(|(_, run, path, count)| (run, path, count)).collect()
    }

    /// An attempt ends, its blobs being durable.
    pub fn attempt_ended(&mut self, id: &AttemptId, outcome: Outcome, now: Timestamp) -> Vec<Effect> {
        self.turn(now, |node, clock| node.attempt_ended(id, outcome, Usage::default(), clock))
    }

    /// The process ends. By kill everything written stays; a power cut keeps what was synced, and, as `power` draws, some
    /// of the rest, torn where it likes.
    pub fn stop(&mut self, power: Option<u64>) {
        self.process = None;
        self.saving.clear();
        self.life += 1;
        self.frozen = false;
        match power {
            Some(seed) => {
                self.disk.crash(seed);
                self.source.crash();
                self.blobs.cut_power();
                self.clocks.power_off();
            }
            None => self.disk.kill(),
        }
    }
}

fn want_sync(process: &mut Process, urgent: bool, effects: &mut Vec<Effect>) {
    if process.syncing.is_none_or(|known| urgent && !known) {
        process.syncing = Some(urgent);
        effects.push(Effect::Sync { urgent });
    }
}

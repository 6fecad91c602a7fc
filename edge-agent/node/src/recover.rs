//! Coming back from a restart with what the disk holds, and no cloud.

use crate::node::{Config, Node, hold, take};
use crate::own_registry::is_of;
use crate::own_runs::whole;
use crate::permission::Open;
use crate::record::Record;
use eyot_engine::GraphError;
use eyot_model::{DiskState, Position, RunId, Timestamp};
use eyot_wire::ReportItem;
use std::collections::BTreeMap;

/// What was decided here, by the number of its position: numbers never repeat on a disk, over all generations.
type Unreported = BTreeMap<u64, ReportItem>;

/// Everything that the checkpoint and the journal hold, records in the order in which they were written.
#[derive(Clone, Debug, Default)]
pub struct Recovered {
    pub records: Vec<(Position, Record)>,
    /// Last position written.
    pub last: Position,
    /// What of it is durable: what lies behind it does not leave before a sync.
    pub synced: Position,
}

/// What recovery came to.
#[derive(Debug, Default)]
pub struct Recovery {
    pub runs: usize,
    pub records: usize,
    /// Runs that cannot be rebuilt, and why. They are left to the cloud.
    pub lost: Vec<(RunId, GraphError)>,
    /// Ended runs of this agent's own that lack a part of their history, and that the cloud does not have. They are left out.
    pub incomplete: Vec<RunId>,
}

impl Node {
    /// Rebuilds a node. Every run goes on from where its records end: attempts that had begun and not ended are taken as
    /// cut off. Poll the commands afterwards.
    #[must_use]
    pub fn recover(config: Config, recovered: Recovered, now: Timestamp) -> (Self, Recovery) {
        Self::recover_on(config, recovered, DiskState::Normal, now)
    }

    /// As [`Node::recover`], on a disk that may be full: nothing is started then before there is room.
    #[must_use]
    pub fn recover_on(config: Config, recovered: Recovered, disk: DiskState, now: Timestamp) -> (Self, Recovery) {
        let mut node = Self::new(config, recovered.last.generation);
        node.disk = disk;
        node.last = recovered.last;
        node.synced = recovered.synced;
        node.committed = Position {
            generation: recovered.last.generation,
            n: 0,
        };
        let mut recovery = Recovery {
            records: recovered.records.len(),
            ..Recovery::default()
        };
        let mut unreported = Unreported::new();
        let mut open = Open::default();
        for (position, record) in recovered.records {
            if let Record::Own { run, event, .. } = &record {
                open.replay(*run, position, event);
            }
            node.replay(position, record, &mut unreported, &mut recovery);
        }
        node.report_again(unreported);
        recovery.runs = node.runs.len();
        let runs: Vec<RunId> = node.runs.keys().copied().collect();
        for run in runs {
            node.recover_starts(run, &open, now);
            if let Some(held) = node.runs.get_mut(&run) {
                held.run.rest(node.yields.held_tasks(run, held));
                // How long the machine was off is not known: the cloud may have given them to others.
                if held.pause_after().is_some() {
                    held.begin_paused();
                }
                held.run.resume(now);
            }
            node.advance(run, now);
            if node.own_run(run).is_some_and(|own| own.ended_at.is_some()) {
                node.archive(run);
            }
        }
        let (incomplete, unreleased) = node.own.restored();
        recovery.incomplete = incomplete.into_iter().collect();
        for run in unreleased {
            node.append(Record::Released { run });
        }
        node.admit(now);
        (node, recovery)
    }

    /// A position that is durable: what was read from the store is, whatever generation it was written in.
    fn origin(&self) -> Position {
        Position {
            generation: self.last.generation,
            n: 0,
        }
    }

    /// Puts what is not acknowledged into the outbox, in the order of its positions.
    fn report_again(&mut self, unreported: Unreported) {
        let (committed, present) = (self.committed, self.last.generation);
        let open = |item: &ReportItem| {
            self.runs.get(&item.run).is_some_and(|held| !held.local) && !crate::outbox::reached(item.position, committed)
        };
        let (known, old): (Vec<_>, Vec<_>) = unreported
            .into_values()
            .filter(open)
            .partition(|item| item.position.generation == present);
        // After a loss positions have a new generation: what is not acknowledged is written down again under it, before
        // anything else is. Where that had been done before this start, it is there already.
        let again = |item: &&ReportItem| {
            let same = |k: &ReportItem| (k.run, k.fragment, k.epoch) == (item.run, item.fragment, item.epoch) && k.event == item.event;
            !known.iter().any(same)
        };
        let lost: Vec<ReportItem> = old.iter().filter(again).cloned().collect();
        for item in known {
            self.wait_for_report(item);
        }
        for item in lost {
            let (run, fragment, epoch, event) = (item.run, item.fragment, item.epoch, item.event.clone());
            let position = self.append(Record::Own {
                run,
                fragment,
                epoch,
                event,
            });
            self.wait_for_report(ReportItem { position, ..item });
        }
    }

    fn wait_for_report(&mut self, item: ReportItem) {
        let held = self.runs.get(&item.run);
        let blobs = held.map(|held| held.blobs_to_bring(&item.event)).unwrap_or_default();
        let size = crate::node::event_size(&item.event);
        self.outbox.push(item, size, blobs);
    }

    fn replay(&mut self, position: Position, record: Record, unreported: &mut Unreported, recovery: &mut Recovery) {
        // What was read from the store is durable, whatever generation it was written in.
        let beyond = position.generation == self.last.generation && position.n > self.synced.n;
        let durable = Position {
            generation: self.last.generation,
            n: if beyond { position.n } else { 0 },
        };
        match record {
            Record::Assigned(assignment) => {
                let run = assignment.run;
                if let Some(held) = self.runs.get_mut(&run) {
                    let (fragment, from) = (assignment.fragment, held.fragments.get(&assignment.fragment).copied());
                    take(held, &assignment);
                    let renewed = |i: &&mut ReportItem| i.run == run && i.fragment == fragment && Some(i.epoch) == from;
                    unreported
                        .values_mut()
                        .filter(renewed)
                        .for_each(|item| item.epoch = assignment.epoch);
                } else {
                    match hold(&assignment, false) {
                        Ok(held) => drop(self.runs.insert(run, held)),
                        Err(error) => return recovery.lost.push((run, error)),
                    }
                }
                if let Some(held) = self.runs.get_mut(&run) {
                    for event in &assignment.facts {
                        let _ = held.run.replay(event);
                    }
                }
                self.yields.remove(run, assignment.fragment);
                let durable = self.origin();
                self.take_saved(run, durable, &assignment.saved);
            }
            Record::Submitted(submission) => match hold(&whole(&submission), true) {
                Ok(held) => {
                    self.runs.insert(submission.run, held);
                    self.take_mark_of(&submission);
                    self.own.insert(submission, durable);
                }
                Err(error) => recovery.lost.push((submission.run, error)),
            },
            Record::Own {
                run,
                fragment,
                epoch,
                event,
            } => {
                if let Some(held) = self.runs.get_mut(&run) {
                    let _ = held.run.replay(&event);
                    if held.local {
                        self.own.push(run, durable, event);
                        return;
                    }
                    unreported.insert(
                        position.n,
                        ReportItem {
                            position,
                            run,
                            fragment,
                            epoch,
                            event,
                        },
                    );
                }
            }
            Record::Fact { run, event } => {
                if let Some(held) = self.runs.get_mut(&run) {
                    let _ = held.run.replay(&event);
                    if held.local {
                        self.own.push(run, durable, event);
                    }
                }
            }
            Record::Committed { through } => {
                if through.generation == self.committed.generation {
                    self.committed = through;
                }
            }
            Record::Dropped { run, fragment, epoch } => {
                if let Some(held) = self.runs.get_mut(&run)
                    && held.fragments.get(&fragment) == Some(&epoch)
                {
                    held.drop_fragment(fragment);
                }
                self.yields.remove(run, fragment);
                unreported.retain(|_, item| !(item.run == run && item.fragment == fragment && item.epoch == epoch));
            }
            Record::Released { run } => {
                self.own.released(run);
                self.runs.remove(&run);
                self.saved.forget(run);
                self.yields.forget(run);
                unreported.retain(|_, item| item.run != run);
            }
            Record::Saved { run, state } => {
                if self.runs.contains_key(&run) {
                    self.saved.put(run, durable, state);
                }
            }
            Record::Unsaved { run, path } => drop(self.saved.remove(run, path)),
            Record::AtRest { run, fragment, epoch } => {
                if let Some(held) = self.runs.get_mut(&run)
                    && held.fragments.get(&fragment) == Some(&epoch)
                {
                    held.leaves(fragment);
                    self.yields.rested(run, fragment, epoch);
                }
            }
            Record::WentOn { run, fragment } => {
                self.yields.remove(run, fragment);
                if let Some(held) = self.runs.get_mut(&run) {
                    held.stays(fragment);
                }
            }
            Record::History { run, n, events } => self.own.piece(run, n, events),
            Record::Archived {
                submission,
                pieces,
                events,
            } => {
                let run = submission.run;
                let held = self.runs.contains_key(&run);
                self.take_mark_of(&submission);
                if self.own.restore(submission, pieces, events, durable, held) {
                    self.runs.remove(&run);
                }
            }
            Record::Told { run, through, whole } => self.own.told(run, through, whole),
            Record::Forgotten { run } => self.own.forget(run),
            Record::Component(component) => self.registry.put_component(component),
            Record::Owned(own) => self.registry.put_workflow(*own),
            Record::Disowned { namespace, name } => {
                self.registry.remove_workflow(&namespace, &name);
                self.fires.retain(|key, _| !is_of(key, &namespace, &name));
            }
            Record::Fired { key, mark } => self.fires.entry(key).or_default().take(&mark),
            Record::ToldTo { store } => drop(self.own.tells_to(store)),
            Record::Unmarked { key, place } => {
                if let Some(fires) = self.fires.get_mut(&key) {
                    fires.forget(&place);
                }
            }
        }
    }
}

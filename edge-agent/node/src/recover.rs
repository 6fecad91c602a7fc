//! Coming back from a restart with what the disk holds, and no cloud.

use crate::node::{Config, Node, hold, take};
use crate::own_registry::is_of;
use crate::own_runs::whole;
use crate::record::Record;
use eyot_engine::GraphError;
use eyot_model::{DiskState, Outcome, Position, RunId, Timestamp, Value};
use std::collections::BTreeMap;

/// Everything that the checkpoint and the journal hold, records in the order in which they were written.
#[derive(Clone, Debug, Default)]
pub struct Recovered {
    pub records: Vec<(Position, Record)>,
    /// Last position written.
    pub last: Position,
}

/// What recovery came to.
#[derive(Debug, Default)]
pub struct Recovery {
    pub runs: usize,
    pub records: usize,
    /// Runs that cannot be rebuilt, and why. They are left to the cloud.
    pub lost: Vec<(RunId, GraphError)>,
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
        node.synced = recovered.last;
        node.committed = Position {
            generation: recovered.last.generation,
            n: 0,
        };
        let mut recovery = Recovery {
            records: recovered.records.len(),
            ..Recovery::default()
        };
        let mut unreported = BTreeMap::new();
        for (position, record) in recovered.records {
            node.replay(position, record, &mut unreported, &mut recovery);
        }
        let committed = node.committed;
        for (position, item) in unreported {
            let Some(held) = node.runs.get(&item.run).filter(|held| !held.local) else {
                continue;
            };
            if crate::outbox::reached(position, committed) {
                continue;
            }
            let mut blobs = Vec::new();
            if let eyot_model::Event::Ended {
                path,
                outcome: Outcome::Succeeded(outputs),
                ..
            } = &item.event
                && held.exported.contains(&path.task)
            {
                outputs.values().for_each(|v: &Value| v.for_each_blob(&mut |b| blobs.push(*b)));
            }
            // After a loss positions have a new generation: what is not acknowledged is written down again under it.
            let item = if position.generation == node.last.generation {
                item
            } else {
                let (run, fragment, epoch, event) = (item.run, item.fragment, item.epoch, item.event.clone());
                let position = node.append(Record::Own {
                    run,
                    fragment,
                    epoch,
                    event,
                });
                eyot_wire::ReportItem { position, ..item }
            };
            node.outbox.push(item, 256, blobs);
        }
        recovery.runs = node.runs.len();
        let runs: Vec<RunId> = node.runs.keys().copied().collect();
        for run in runs {
            if let Some(held) = node.runs.get_mut(&run) {
                held.run.hold(node.yields.held_tasks(run, held));
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
        node.own.restored();
        node.admit(now);
        (node, recovery)
    }

    /// A position that is durable: what was read from the disk is, whatever generation it was written in.
    fn origin(&self) -> Position {
        Position {
            generation: self.last.generation,
            n: 0,
        }
    }

    fn replay(
        &mut self,
        position: Position,
        record: Record,
        unreported: &mut BTreeMap<Position, eyot_wire::ReportItem>,
        recovery: &mut Recovery,
    ) {
        // What was read from the disk is durable, whatever generation it was written in.
        let durable = Position {
            generation: self.last.generation,
            n: 0,
        };
        match record {
            Record::Assigned(assignment) => {
                let run = assignment.run;
                if let Some(held) = self.runs.get_mut(&run) {
                    let (fragment, from) = (assignment.fragment, held.fragments.get(&assignment.fragment).copied());
                    take(held, &assignment);
                    let renewed = |i: &&mut eyot_wire::ReportItem| i.run == run && i.fragment == fragment && Some(i.epoch) == from;
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
                    self.own.insert(submission);
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
                        position,
                        eyot_wire::ReportItem {
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
                    held.fragments.remove(&fragment);
                    let tasks: Vec<_> = held.fragment_of.iter().filter(|(_, f)| **f == fragment).map(|(t, _)| *t).collect();
                    held.fragment_of.retain(|_, f| *f != fragment);
                    held.run.disown(tasks);
                    held.find_exports();
                }
                self.yields.remove(run, fragment);
                unreported.retain(|_, item| !(item.run == run && item.fragment == fragment && item.epoch == epoch));
            }
            Record::Released { run } => {
                self.runs.remove(&run);
                self.own.all.remove(&run);
                self.saved.forget(run);
                self.yields.forget(run);
                unreported.retain(|_, item| item.run != run);
            }
            Record::Saved { run, state } => {
                if self.runs.contains_key(&run) {
                    let durable = self.origin();
                    self.saved.put(run, durable, state);
                }
            }
            Record::Unsaved { run, path } => drop(self.saved.remove(run, path)),
            Record::AtRest { run, fragment, epoch } => {
                if self
                    .runs
                    .get(&run)
                    .is_some_and(|held| held.fragments.get(&fragment) == Some(&epoch))
                {
                    self.yields.rested(run, fragment, epoch);
                }
            }
            Record::WentOn { run, fragment } => self.yields.remove(run, fragment),
            Record::History { run, n, events } => self.own.piece(run, n, events),
            Record::Archived { submission, events } => {
                self.runs.remove(&submission.run);
                self.take_mark_of(&submission);
                self.own.restore(submission, events, durable);
            }
            Record::Told { run, through } => self.own.told(run, through),
            Record::Component(component) => self.registry.put_component(component),
            Record::Owned(own) => self.registry.put_workflow(*own),
            Record::Disowned { namespace, name } => {
                self.registry.remove_workflow(&namespace, &name);
                self.fires.retain(|key, _| !is_of(key, &namespace, &name));
            }
            Record::Fired { key, mark } => self.fires.entry(key).or_default().take(&mark),
            Record::FileGone { key, name } => {
                if let Some(fires) = self.fires.get_mut(&key) {
                    fires.forget_file(&name);
                }
            }
        }
    }
}

//! What the cloud says, and the coming and going of the link.

use crate::command::Command;
use crate::node::{Link, Node, hold, take};
use crate::record::Record;
use eyot_model::{BlobRef, Epoch, FragmentId, RunId, TaskIx, Timestamp};
use eyot_wire::{Assignment, FragmentStanding, Held as HeldHere, Inventory, Refusal, ToAgent, ToCloud, UploadLimits};

impl Node {
    /// How much the cloud takes for one result, from its welcome. Said before [`Node::link_up`].
    pub fn set_upload_limits(&mut self, limits: UploadLimits) {
        self.outbox.set_limits(limits);
    }

    /// Which store the cloud has, from its welcome. Said before [`Node::link_up`]. Where it is another one than was told of this
    /// agent's own runs (it was put back from a back-up), they are all told again: telling what it has changes nothing there.
    /// True if there was one before.
    pub fn set_cloud_store(&mut self, store: u64) -> bool {
        let before = self.own.store;
        if self.own.tells_to(store) {
            self.append(Record::ToldTo { store });
        }
        before.is_some_and(|before| before != store)
    }

    /// The link is up and the welcome is here: tell the cloud what is held. Work flows after its answer.
    pub fn link_up(&mut self, now: Timestamp) {
        self.link = Link::Reconciling;
        self.lease.inventory_sent(now);
        self.outbox.restart();
        self.saved.restart();
        let inventory = self.inventory();
        self.commands.push_back(Command::Send(ToCloud::Inventory(inventory)));
    }

    pub fn link_down(&mut self, now: Timestamp) {
        self.link = Link::Down;
        self.call_off_yields(now);
        // The next inventory says what is held.
        self.unconfirmed.clear();
    }

    fn inventory(&self) -> Inventory {
        let held = self.runs.iter().filter(|(_, held)| !held.local).flat_map(|(run, held)| {
            held.fragments.iter().map(|(fragment, epoch)| HeldHere {
                run: *run,
                fragment: *fragment,
                epoch: *epoch,
                ended: held
                    .fragment_of
                    .iter()
                    .filter(|(_, f)| *f == fragment)
                    .all(|(t, _)| held.run.tasks()[t.index()].own.state.is_terminal()),
            })
        });
        Inventory {
            held: held.collect(),
            last: self.last,
            committed: self.committed,
        }
    }

    /// A message of the cloud, checked by the codec for form alone: here it is checked for sense.
    pub fn handle_message(&mut self, message: ToAgent, now: Timestamp) {
        match message {
            ToAgent::Assign(assignment) => self.assigned(*assignment, now),
            ToAgent::Facts { run, events } => {
                let Some(held) = self.runs.get_mut(&run) else { return };
                for event in events {
                    // Only the owner of a task decides about it: facts about owned tasks are not facts.
                    if event.task().is_some_and(|task| held.fragment_of.contains_key(&task)) {
                        continue;
                    }
                    // What makes no sense to this graph is left out; the tasks that wait for it go on waiting, visibly.
                    let _ = held.run.handle_event(event, now);
                }
                self.advance(run, now);
                self.admit(now);
            }
            // Before its answer to the inventory, of which this is a part, it may be about what counts no more: a report that came
            // late over an earlier link, of a fragment that is given back with that answer.
            ToAgent::Committed { .. } if self.link != Link::Up => {}
            ToAgent::Committed { through } => {
                if through.generation == self.last.generation && through.n <= self.last.n && through.n > self.committed.n {
                    self.committed = through;
                    self.outbox.committed(through);
                    let written = self.append(Record::Committed { through });
                    self.permit(written);
                }
            }
            ToAgent::Reconciled(standings) => {
                for standing in standings {
                    self.stands(standing, now);
                }
                self.link = Link::Up;
                self.lease.reconciled();
                self.own_link_up();
                self.confirm_again();
                for blob in self.outbox.uploads() {
                    self.commands.push_back(Command::Upload(blob));
                }
                if self.outbox.unsent() {
                    self.commands.push_back(Command::Sync { urgent: true });
                }
                self.flush();
                self.admit(now);
                self.press_on();
            }
            ToAgent::Superseded { run, fragment, epoch } => self.superseded(run, fragment, epoch, now),
            ToAgent::Cancel { run } => self.cancelled(run, now),
            ToAgent::Release { run } => {
                self.forget(run);
                self.admit(now);
            }
            ToAgent::Drain(on) => self.draining = on,
            ToAgent::Resolve {
                run,
                path,
                attempt,
                resolution,
                by,
            } => {
                if let Some(held) = self.runs.get_mut(&run) {
                    // What does not wait any more was resolved before, or has gone on: the events tell.
                    let _ = held.run.resolve(path, attempt, resolution, &by, now);
                    self.advance(run, now);
                    self.admit(now);
                }
            }
            ToAgent::Yield { run, fragment, epoch } => self.yield_fragment(run, fragment, epoch, now),
            ToAgent::GoOn { run, fragment, epoch } => self.go_on(run, fragment, epoch, now),
            ToAgent::OwnRunStored { run, through } => self.own_stored(run, through, now),
            ToAgent::OwnRunRefused { run, why } => self.refuse_own(run, why),
            ToAgent::OwnRunMissing { run } => self.own_missing(run),
            ToAgent::Undeploy { namespace, name, revision } => self.undeploy(namespace, name, revision),
            // The shell gets its components first and calls `deploy` then.
            ToAgent::Deploy(_) => {}
            ToAgent::Welcome(_) | ToAgent::HeartbeatReply(_) => {}
        }
    }

    fn assigned(&mut self, assignment: Assignment, now: Timestamp) {
        let (run, fragment, epoch) = (assignment.run, assignment.fragment, assignment.epoch);
        let refuse = |why| Command::Send(ToCloud::Refused { run, fragment, epoch, why });
        if let Some(held) = self.runs.get(&run)
            && let Some(known) = held.fragments.get(&fragment)
        {
            if *known == epoch {
                // Sent again because the acknowledgement was lost. The facts may be news.
                let message = ToAgent::Facts {
                    run,
                    events: assignment.facts,
                };
                self.confirm(run, fragment, epoch);
                return self.handle_message(message, now);
            }
            if *known > epoch {
                return;
            }
            if *held.run.graph().workflow == *assignment.workflow {
                return self.renewed(assignment, now);
            }
        }
        if self.draining && !self.runs.contains_key(&run) {
            return self.commands.push_back(refuse(Refusal::Draining));
        }
        if self.has_no_room_for(run, fragment) {
            return self.commands.push_back(refuse(Refusal::DiskFull));
        }
        match self.runs.get_mut(&run) {
            Some(held) if *held.run.graph().workflow == *assignment.workflow => take(held, &assignment),
            Some(_) => {
                return self
                    .commands
                    .push_back(refuse(Refusal::Invalid("another workflow is held under this run".into())));
            }
            None => match hold(&assignment, false) {
                Ok(held) => drop(self.runs.insert(run, held)),
                Err(error) => return self.commands.push_back(refuse(Refusal::Invalid(error.to_string()))),
            },
        }
        let (facts, tasks, saved) = (assignment.facts.clone(), assignment.tasks.clone(), assignment.saved.clone());
        self.yields.remove(run, fragment);
        let written = self.append(Record::Assigned(Box::new(assignment)));
        self.take_saved(run, written, &saved);
        self.confirm(run, fragment, epoch);
        if let Some(held) = self.runs.get_mut(&run) {
            for event in &facts {
                let _ = held.run.replay(event);
            }
            held.run.begin(tasks, now);
        }
        self.advance(run, now);
        self.admit(now);
    }

    /// Acknowledges an assignment once it is on disk.
    pub(crate) fn confirm(&mut self, run: RunId, fragment: FragmentId, epoch: Epoch) {
        let message = ToCloud::Accepted { run, fragment, epoch };
        if crate::outbox::reached(self.last, self.synced) {
            self.commands.push_back(Command::Send(message));
        } else {
            self.unconfirmed.push_back((self.last, message));
            // Nobody waits for it, and what ends soon is then synced and reported together with its beginning.
            self.commands.push_back(Command::Sync { urgent: false });
        }
    }

    /// What was taken over while the inventory was being answered.
    pub(crate) fn confirm_again(&mut self) {
        let synced = self.synced;
        while let Some((_, message)) = self.unconfirmed.pop_front_if(|(at, _)| crate::outbox::reached(*at, synced)) {
            self.commands.push_back(Command::Send(message));
        }
    }

    fn stands(&mut self, standing: FragmentStanding, now: Timestamp) {
        match standing {
            FragmentStanding::Keep { run, fragment, epoch } => {
                self.go_on(run, fragment, epoch, now);
                self.resume_run(run, Some(fragment), now);
            }
            FragmentStanding::Superseded { run, fragment, epoch } => self.superseded(run, fragment, epoch, now),
            FragmentStanding::Cancel { run, .. } => self.cancelled(run, now),
            FragmentStanding::Release { run, .. } => self.forget(run),
        }
    }

    fn cancelled(&mut self, run: RunId, now: Timestamp) {
        if let Some(held) = self.runs.get_mut(&run) {
            held.run.cancel("the control plane", now);
            self.advance(run, now);
            self.admit(now);
        }
    }

    fn superseded(&mut self, run: RunId, fragment: FragmentId, epoch: Epoch, now: Timestamp) {
        let Some(held) = self.runs.get_mut(&run) else { return };
        if held.fragments.get(&fragment) != Some(&epoch) {
            return;
        }
        let before = held.exported.clone();
        let tasks = held.drop_fragment(fragment);
        // What stays here may be needed by whoever has the fragment now, and was to be told without its blobs.
        let needed: Vec<TaskIx> = held.exported.difference(&before).copied().collect();
        let blobs: Vec<BlobRef> = needed.iter().flat_map(|task| held.blobs_of(*task)).collect();
        self.yields.remove(run, fragment);
        let empty = held.fragments.is_empty();
        self.stop_running(|id| id.run == run && tasks.contains(&id.path.task));
        // They commit no more. They are told all the same, so that people can see what was done in vain.
        self.outbox.void(run, fragment, epoch);
        self.outbox.bring(run, &needed, blobs);
        self.append(Record::Dropped { run, fragment, epoch });
        if empty {
            self.let_go(run);
            self.flush();
        } else {
            self.advance(run, now);
        }
        self.admit(now);
    }
}

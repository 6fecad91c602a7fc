//! Carries out steps: commits, and then what had to wait for the commit.

use crate::access::Access;
use crate::board::Board;
use crate::deploying;
use crate::disk::{Disk, State as DiskState};
use crate::feed::Numbered;
use crate::fleet::Fleet;
use crate::store::{Change, Error, Guard, Store};
use eyot_coordinator::Readable;
use eyot_model::{AgentId, Digest, FragmentId, Path, RunId, State, TaskIx, Workflow};
use eyot_wire::ToAgent;
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;

/// Steps in one commit.
const MOST: usize = 256;
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// What may happen once a step is stored, in order.
pub(super) enum Effect {
    Send {
        agent: AgentId,
        message: Box<ToAgent>,
    },
    /// Somebody waits for the step.
    Answer(Box<dyn FnOnce() + Send>),
    /// Something of the run is stored: these entries, among other things.
    News {
        run: RunId,
        counts: BTreeMap<State, u32>,
        entries: Vec<Numbered>,
    },
    Ended(RunId),
    /// A run that an agent coordinates: it may bring blobs for it, and have the components that it names.
    Foreign {
        run: RunId,
        agent: AgentId,
        components: BTreeSet<Digest>,
    },
    /// A run that is new.
    Begin {
        run: RunId,
        workflow: Arc<Workflow>,
    },
    /// What the owner of a fragment may read from now on.
    Assign {
        run: RunId,
        fragment: FragmentId,
        owner: Option<(AgentId, Readable)>,
    },
    /// The blob of what an instance saved last.
    Saved {
        run: RunId,
        path: Path,
        state: Option<Digest>,
    },
    Result {
        run: RunId,
        task: TaskIx,
        blobs: Vec<Digest>,
        withheld: Vec<Digest>,
        from: Option<AgentId>,
    },
    /// The agent is to be told what it has not confirmed.
    Redeploy(AgentId),
    /// How many unfinished fragments each agent owns.
    Owned(HashMap<AgentId, u32>),
}

/// Changes that belong together, and what follows from them.
#[derive(Default)]
pub(super) struct Step {
    pub(super) guards: Vec<Guard>,
    pub(super) changes: Vec<Change>,
    pub(super) effects: Vec<Effect>,
    /// Who owns what is different after it.
    pub(super) assigns: bool,
}

impl Step {
    pub(super) fn is_empty(&self) -> bool {
        self.changes.is_empty() && self.effects.is_empty()
    }
}

#[derive(Clone)]
pub(super) struct Carrier {
    pub(super) store: Store,
    pub(super) fleet: Fleet,
    pub(super) board: Board,
    pub(super) access: Access,
    pub(super) disk: Disk,
    /// For what takes longer: effects are carried out on the store's own thread.
    pub(super) runtime: tokio::runtime::Handle,
    pub(super) fatal: CancellationToken,
}

impl Carrier {
    /// Until the loop is gone and everything is carried out, or going on would be wrong.
    pub(super) async fn run(self, mut steps: mpsc::UnboundedReceiver<Step>) {
        let mut batch = Vec::new();
        while steps.recv_many(&mut batch, MOST).await > 0 {
            let (mut guards, mut changes, mut effects) = (Vec::new(), Vec::new(), Vec::new());
            for step in batch.drain(..) {
                guards.extend(step.guards);
                changes.extend(step.changes);
                effects.extend(step.effects);
            }
            only_what_is_stored(&mut guards, &changes);
            if changes.is_empty() {
                self.carry_out(effects);
            } else if !self.commit(guards, changes, effects).await {
                self.fatal.cancel();
                return;
            }
        }
    }

    /// Tries again for as long as the disk fails: nothing was told to anybody, so nothing has to be taken back. False
    /// when trying again would be wrong.
    async fn commit(&self, guards: Vec<Guard>, changes: Vec<Change>, mut effects: Vec<Effect>) -> bool {
        let mut pause = FIRST_PAUSE;
        loop {
            let (tell, told) = oneshot::channel();
            let carrier = self.clone();
            // What follows from the commit is done where it is known first, and not one wake-up of a thread later.
            let then = move |verdict: Result<(), Error>| {
                let tried = match verdict {
                    Ok(()) => {
                        carrier.carry_out(effects);
                        Ok(())
                    }
                    Err(error) => Err((error, effects)),
                };
                let _ = tell.send(tried);
            };
            let tried = match self.store.submit_then(guards.clone(), changes.clone(), then).await {
                Ok(()) => told.await.unwrap_or(Err((Error::Closed, Vec::new()))),
                Err(error) => Err((error, Vec::new())),
            };
            let failed = match tried {
                Ok(()) => {
                    if self.disk.note(DiskState::Working) {
                        tracing::info!("the store works again");
                    }
                    return true;
                }
                Err((error, left)) => {
                    effects = left;
                    error
                }
            };
            if !failed.may_pass() || self.fatal.is_cancelled() {
                tracing::error!(error = %crate::chain(&failed), "the store and the runs in memory have parted: stopping");
                return false;
            }
            let state = if failed.is_full() { DiskState::Full } else { DiskState::Failing };
            if self.disk.note(state) {
                tracing::error!(
                    error = %crate::chain(&failed),
                    free = self.disk.free(),
                    "a commit failed: nothing is acknowledged until one succeeds; it is tried again and again"
                );
            }
            tokio::select! {
                () = self.wait(pause) => {}
                () = self.fatal.cancelled() => {}
            }
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }

    /// Until it is time to try again: at once when there was no room and is some.
    async fn wait(&self, pause: Duration) {
        let until = tokio::time::Instant::now() + pause;
        let had_room = self.disk.has_room();
        while tokio::time::Instant::now() < until && self.disk.has_room() == had_room {
            tokio::time::sleep(FIRST_PAUSE.min(pause)).await;
        }
    }

    fn carry_out(&self, effects: Vec<Effect>) {
        for effect in effects {
            self.carry_out_one(effect);
        }
    }

    fn carry_out_one(&self, effect: Effect) {
        match effect {
            Effect::Send { agent, message } => self.fleet.send(agent, *message),
            Effect::Answer(answer) => answer(),
            Effect::News { run, counts, entries } => self.board.news(run, counts, entries),
            Effect::Ended(run) => {
                self.board.ended(run);
                self.access.end(run);
            }
            Effect::Foreign { run, agent, components } => self.access.foreign(run, agent, components),
            Effect::Begin { run, workflow } => self.board.begin(run, workflow, 0),
            Effect::Assign { run, fragment, owner } => self.access.assign(run, fragment, owner),
            Effect::Saved { run, path, state } => self.access.saved(run, path, state),
            Effect::Redeploy(agent) => {
                let (store, fleet, access) = (self.store.clone(), self.fleet.clone(), self.access.clone());
                self.runtime
                    .spawn(async move { deploying::redeploy(&store, &fleet, &access, agent).await });
            }
            Effect::Result {
                run,
                task,
                blobs,
                withheld,
                from,
            } => self.access.result(run, task, blobs, &withheld, from),
            Effect::Owned(owned) => self.board.set_owned(owned),
        }
    }
}

/// All guards of a commit are checked before its changes, so of the places in a run's history only the first counts, of
/// the same epoch twice one, and none that the commit itself begins: an agent may speak under it before it is stored, if it
/// guesses that it will be.
fn only_what_is_stored(guards: &mut Vec<Guard>, changes: &[Change]) {
    let mut runs = HashSet::new();
    let begun = changes.iter().filter_map(|change| match change {
        Change::PutFragment(row) => Some((row.run, row.fragment, row.epoch)),
        _ => None,
    });
    let mut epochs: HashSet<_> = begun.collect();
    guards.retain(|guard| match guard {
        Guard::LastEntry { run, .. } => runs.insert(*run),
        Guard::EpochHolds { run, fragment, epoch } => epochs.insert((*run, *fragment, *epoch)),
        _ => true,
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::{Entry, FragmentRow, NewRun, WorkflowRecord};
    use eyot_model::{Epoch, Event, Timestamp, Workflow};

    const RUN: RunId = RunId(1);
    const FRAGMENT: FragmentId = FragmentId(0);

    fn owned(epoch: u64) -> Change {
        Change::PutFragment(Box::new(FragmentRow {
            run: RUN,
            fragment: FRAGMENT,
            epoch: Epoch(epoch),
            agent: Some(AgentId(9)),
            record: vec![],
        }))
    }

    /// Something that an agent says under `epoch`.
    fn said(epoch: u64, seq: u64) -> Step {
        let event = Event::CancelRequested {
            by: "x".into(),
            at: Timestamp(1),
        };
        Step {
            guards: vec![Guard::EpochHolds {
                run: RUN,
                fragment: FRAGMENT,
                epoch: Epoch(epoch),
            }],
            changes: vec![Change::AppendEntries {
                run: RUN,
                first: seq,
                entries: vec![Arc::new(Entry::Event {
                    event,
                    agent: None,
                    withheld: Vec::new(),
                })],
            }],
            ..Step::default()
        }
    }

    /// Whether steps that are waiting together can be carried out, and how many entries are stored then.
    async fn carried_out(waiting: Vec<Step>) -> (bool, usize) {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(&dir.path().join("eyot.db")).await.unwrap();
        let workflow = Workflow::new("default", "w", "1", vec![]);
        let text = WorkflowRecord {
            workflow: Arc::new(workflow),
            digest: Digest::of(b"w"),
            text: String::new(),
            stored_at: Timestamp(1),
            direct: false,
        };
        let run = NewRun {
            id: RUN,
            namespace: "default".into(),
            workflow: "w".into(),
            version: "1".into(),
            created_at: Timestamp(1),
            inputs: Arc::default(),
            coordinator: None,
        };
        let there = vec![Change::PutWorkflow(Box::new(text)), Change::NewRun(Box::new(run)), owned(1)];
        store.commit(vec![], there).await.unwrap();
        let (steps, queue) = mpsc::unbounded_channel();
        for step in waiting {
            steps.send(step).unwrap();
        }
        drop(steps);
        let fatal = CancellationToken::new();
        let carrier = Carrier {
            store: store.clone(),
            fleet: Fleet::default(),
            board: Board::default(),
            access: Access::default(),
            disk: Disk::new(dir.path()),
            runtime: tokio::runtime::Handle::current(),
            fatal: fatal.clone(),
        };
        carrier.run(queue).await;
        let entries = store.entries(RUN, 0, 100).await.unwrap().len();
        (!fatal.is_cancelled(), entries)
    }

    #[tokio::test]
    async fn what_is_said_under_an_epoch_that_begins_in_the_same_commit_commits() {
        let next = Step {
            changes: vec![owned(2)],
            ..Step::default()
        };
        assert_eq!(carried_out(vec![said(1, 1), next, said(2, 2)]).await, (true, 2));
        // What takes longer than the store's thread has time for is done elsewhere.
        let lost = Step {
            effects: vec![Effect::Redeploy(AgentId(9))],
            ..said(1, 1)
        };
        assert_eq!(carried_out(vec![lost]).await, (true, 1));
        // One that never began still stops everything: memory and store have parted.
        assert_eq!(carried_out(vec![said(2, 1)]).await, (false, 0));
    }
}

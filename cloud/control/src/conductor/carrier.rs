//! Carries out steps: commits, and then what had to wait for the commit.

use crate::access::Access;
use crate::board::Board;
use crate::feed::Numbered;
use crate::fleet::Fleet;
use crate::store::{Change, Guard, Store};
use eyot_coordinator::Readable;
use eyot_model::{AgentId, Digest, FragmentId, Path, RunId, State, TaskIx, Workflow};
use eyot_wire::ToAgent;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::sync::mpsc;
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
    /// A run that an agent coordinates: it may bring blobs for it.
    Foreign {
        run: RunId,
        agent: AgentId,
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
        from: Option<AgentId>,
    },
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

pub(super) struct Carrier {
    pub(super) store: Store,
    pub(super) fleet: Fleet,
    pub(super) board: Board,
    pub(super) access: Access,
    pub(super) healthy: Arc<AtomicBool>,
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
            without_repetitions(&mut guards);
            if !changes.is_empty() && !self.commit(guards, changes).await {
                self.fatal.cancel();
                return;
            }
            for effect in effects {
                self.carry_out(effect);
            }
        }
    }

    /// Tries again for as long as the disk fails: nothing was told to anybody, so nothing has to be taken back. False
    /// when trying again would be wrong.
    async fn commit(&self, guards: Vec<Guard>, changes: Vec<Change>) -> bool {
        let mut pause = FIRST_PAUSE;
        loop {
            let failed = match self.store.commit(guards.clone(), changes.clone()).await {
                Ok(()) => {
                    if !self.healthy.swap(true, Ordering::Relaxed) {
                        tracing::info!("the store works again");
                    }
                    return true;
                }
                Err(error) => error,
            };
            if !failed.may_pass() || self.fatal.is_cancelled() {
                tracing::error!(error = %crate::chain(&failed), "the store and the runs in memory have parted: stopping");
                return false;
            }
            self.healthy.store(false, Ordering::Relaxed);
            tracing::error!(error = %crate::chain(&failed), "a commit failed, trying again");
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                () = self.fatal.cancelled() => {}
            }
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }

    fn carry_out(&self, effect: Effect) {
        match effect {
            Effect::Send { agent, message } => self.fleet.send(agent, *message),
            Effect::Answer(answer) => answer(),
            Effect::News { run, counts, entries } => self.board.news(run, counts, entries),
            Effect::Ended(run) => {
                self.board.ended(run);
                self.access.end(run);
            }
            Effect::Foreign { run, agent } => self.access.foreign(run, agent),
            Effect::Begin { run, workflow } => self.board.begin(run, workflow, 0),
            Effect::Assign { run, fragment, owner } => self.access.assign(run, fragment, owner),
            Effect::Saved { run, path, state } => self.access.saved(run, path, state),
            Effect::Result { run, task, blobs, from } => self.access.result(run, task, blobs, from),
            Effect::Owned(owned) => self.board.set_owned(owned),
        }
    }
}

/// All guards of a commit are checked before its changes, so of the places in a run's history only the first counts, and
/// of the same epoch twice one.
fn without_repetitions(guards: &mut Vec<Guard>) {
    let mut runs = std::collections::HashSet::new();
    let mut epochs = std::collections::HashSet::new();
    guards.retain(|guard| match guard {
        Guard::LastEntry { run, .. } => runs.insert(*run),
        Guard::EpochHolds { run, fragment, epoch } => epochs.insert((*run, *fragment, *epoch)),
        _ => true,
    });
}

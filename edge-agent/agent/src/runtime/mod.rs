//! The runtime: the node behind one lock, workers that carry it on, the journal under it.
//!
//! The worker that ends an attempt takes the node's lock, tells the node, appends what the node decided in one write,
//! and goes on with the next attempt itself: a chain of tasks never changes thread and never waits for a sync. A task that
//! becomes ready while nothing runs is begun by the thread that saw to it, see [`workers`].

mod core;
mod disk;
mod execute;
mod queue;
mod room;
mod saved;
mod services;
mod storage;
mod workers;

pub use self::core::Outbound;
pub use self::storage::{OpenError, Storage};

use self::core::{Core, Effects};
use self::queue::{Job, ReadyQueue};
use crate::cloud_time::CloudTime;
use crate::config::DiskLimits;
use crate::logs::Logs;
use crate::own_logs::OwnLogs;
use crate::triggers::Standings;
use eyot_blob::Store;
use eyot_checkpoint::{Handle as Journal, News};
use eyot_clock::{Clock, Rest};
use eyot_link::AgentLink;
use eyot_model::{Capacity, Millis, Position, RunId, RunOutcome, Timestamp};
use eyot_node::Node;
use eyot_wasm_host::Host;
use parking_lot::{Mutex, MutexGuard};
use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::sync::{Notify, mpsc, oneshot, watch};

/// How long attempts may take to finish when the agent stops.
const FINISH: Duration = Duration::from_secs(10);
/// Longest sleep while a timer runs.
const LONGEST_SLEEP: Duration = Duration::from_secs(5);
/// How long whoever asked waits for the disk.
const DURABLE_PATIENCE: Duration = Duration::from_secs(30);

/// Stack of a thread that runs attempts, in bytes; those of the async runtime do as well.
pub const TASK_STACK: usize = 4 << 20;

/// What the runtime is made of.
pub struct Parts {
    pub host: Arc<Host>,
    pub blobs: Arc<Store>,
    pub models: Arc<eyot_infer::Runtime>,
    pub capacity: Capacity,
    /// Threads that run attempts.
    pub workers: usize,
    pub clock: Clock,
    pub limits: DiskLimits,
    pub logs: Logs,
    /// The agent's data folder.
    pub data: PathBuf,
}

/// The running agent, link apart.
pub struct Runtime {
    core: Mutex<Core>,
    ready: ReadyQueue,
    pub(crate) host: Arc<Host>,
    pub(crate) blobs: Arc<Store>,
    pub(crate) models: Arc<eyot_infer::Runtime>,
    pub(crate) logs: Logs,
    pub(crate) own_logs: OwnLogs,
    pub(crate) limits: DiskLimits,
    pub(crate) data: PathBuf,
    pub(crate) clock: Clock,
    pub(crate) triggers: Standings,
    journal: Journal,
    link: watch::Sender<Option<AgentLink>>,
    cloud_time: Mutex<Option<CloudTime>>,
    /// Durable position, for whoever waits for one.
    durable: watch::Sender<Position>,
    /// Changes whenever the agent owns other workflows than before.
    workflows: watch::Sender<u64>,
    timer: Notify,
    begin_anew: Notify,
    finished: Mutex<HashMap<RunId, oneshot::Sender<RunOutcome>>>,
    stopping: AtomicBool,
    tokio: tokio::runtime::Handle,
    /// How often a lock that is held for microseconds is tried before the thread sleeps.
    tries: u32,
}

/// About 20 microseconds; a thread that sleeps is back after more than that.
const TRIES: u32 = 500;

impl Runtime {
    /// Starts the runtime over a recovered node. Must be called within a tokio runtime.
    ///
    /// The second value is what the link has to send, in order.
    ///
    /// # Errors
    /// When a thread cannot be started.
    pub fn start(parts: Parts, storage: Storage) -> std::io::Result<(Arc<Self>, mpsc::UnboundedReceiver<Outbound>)> {
        let (outbound, to_send) = mpsc::unbounded_channel();
        let Storage { node, service, mut news } = storage;
        let runtime = Arc::new(Self {
            core: Mutex::new(Core::new(node, outbound)),
            ready: ReadyQueue::default(),
            host: parts.host,
            blobs: parts.blobs,
            models: parts.models,
            own_logs: OwnLogs::default(),
            logs: parts.logs,
            limits: parts.limits,
            data: parts.data,
            clock: parts.clock,
            triggers: Standings::default(),
            journal: service.handle(),
            link: watch::Sender::new(None),
            cloud_time: Mutex::default(),
            durable: watch::Sender::new(Position::default()),
            workflows: watch::Sender::new(0),
            timer: Notify::new(),
            begin_anew: Notify::new(),
            finished: Mutex::default(),
            stopping: AtomicBool::new(false),
            tokio: tokio::runtime::Handle::current(),
            // On one core whoever holds it cannot go on meanwhile.
            tries: std::thread::available_parallelism().map_or(0, |cores| if cores.get() > 1 { TRIES } else { 0 }),
        });
        runtime.core.lock().service = Some(service);
        crate::log_file::load(&runtime.data, &runtime.logs);
        for n in 0..parts.workers.max(1) {
            let worker = Arc::clone(&runtime);
            std::thread::Builder::new()
                .name(format!("task-{n}"))
                .stack_size(TASK_STACK)
                .spawn(move || worker.work())?;
        }
        let listener = Arc::clone(&runtime);
        tokio::spawn(async move {
            while let Some(item) = news.recv().await {
                listener.hear(item);
            }
        });
        let timer = Arc::clone(&runtime);
        tokio::spawn(async move { timer.keep_time().await });
        let keeper = Arc::clone(&runtime);
        tokio::spawn(async move { keeper.keep_room().await });
        // Before anything is started, and with it goes what the node decided while it recovered.
        runtime.disk_turned(runtime.journal.disk_state());
        Ok((runtime, to_send))
    }

    /// Lets the node act, and does what it wants, except that the caller starts the attempts and sees to it that the journal
    /// is synced where somebody waits for that.
    fn act(&self, action: impl FnOnce(&mut Core, Timestamp)) -> (Vec<Job>, Option<Position>) {
        let mut core = self.lock();
        let now = self.clock.now();
        action(&mut core, now);
        let mut effects = Effects::default();
        core.drain(&self.journal, now, &mut effects);
        for (run, outcome) in effects.finished.drain(..) {
            if let Some(waiter) = self.finished.lock().remove(&run) {
                // Whoever waited may have gone.
                let _ = waiter.send(outcome);
            }
        }
        for run in std::mem::take(&mut effects.over) {
            core.node.archive(run);
            core.drain(&self.journal, now, &mut effects);
        }
        let rearm = core.timer_moved();
        drop(core);
        if rearm {
            self.timer.notify_one();
        }
        (effects.started, effects.sync)
    }

    fn lock(&self) -> MutexGuard<'_, Core> {
        for _ in 0..self.tries {
            if let Some(core) = self.core.try_lock() {
                return core;
            }
            std::hint::spin_loop();
        }
        self.core.lock()
    }

    /// Tells the node something and does what it wants.
    pub(crate) fn turn(self: &Arc<Self>, action: impl FnOnce(&mut Node, Timestamp)) {
        let (jobs, sync) = self.act(|core, now| action(&mut core.node, now));
        self.begin(jobs);
        if let Some(through) = sync {
            self.journal.request_sync(through);
        }
    }

    /// Looks at the node without changing it.
    pub fn look<T>(&self, view: impl FnOnce(&Node) -> T) -> T {
        view(&self.core.lock().node)
    }

    fn hear(self: &Arc<Self>, news: News) {
        match news {
            News::Synced(position) => {
                self.turn(|node, _| node.journal_synced(position));
                self.durable.send_replace(position);
            }
            News::Disk(state) => self.disk_turned(state),
            News::StoreBack => {
                tracing::warn!("the checkpoint store can be opened again: the agent starts anew, to read what it holds");
                self.begin_anew.notify_one();
            }
            News::Health => {
                let health = self.journal.health();
                match health.sync_error.or(health.fold_error) {
                    Some(error) => tracing::error!(error, "journal is in trouble; nothing is acknowledged until it is well again"),
                    None => tracing::info!("journal is well again"),
                }
            }
        }
    }

    async fn keep_time(self: &Arc<Self>) {
        loop {
            let next = self.look(Node::poll_timeout);
            let stuck = self.core.lock().is_stuck();
            let now = self.clock.now();
            let wait = match next {
                // This sleep does not count suspend, and the timer does: look again soon after.
                Some(at) => (at.since(now).as_duration() + Duration::from_millis(1)).min(LONGEST_SLEEP),
                None => Duration::from_secs(3_600),
            };
            let wait = if stuck { wait.min(Duration::from_secs(1)) } else { wait };
            tokio::select! {
                () = tokio::time::sleep(wait) => self.turn(|node, now| node.handle_timeout(now)),
                () = self.timer.notified() => {}
            }
            if self.stopping.load(Ordering::Relaxed) {
                return;
            }
        }
    }

    /// Runs a workflow that this agent coordinates by itself, without the cloud, to its durable end. It is kept like any run of its
    /// own, see [`Runtime::release`].
    ///
    /// # Errors
    /// When the workflow cannot run, or the agent stops meanwhile.
    pub async fn run_here(self: &Arc<Self>, assignment: eyot_wire::Assignment) -> Result<RunOutcome, RunHereError> {
        let run = assignment.run;
        let submission = eyot_wire::Submission {
            run,
            workflow: assignment.workflow,
            inputs: assignment.inputs,
            created_at: assignment.created_at,
            origin: eyot_model::Origin::Device { key: None },
        };
        let (tell, told) = oneshot::channel();
        self.finished.lock().insert(run, tell);
        let mut refused = None;
        self.turn(|node, now| refused = node.submit(submission, now).err());
        if let Some(error) = refused {
            self.finished.lock().remove(&run);
            return Err(RunHereError::Refused(error));
        }
        told.await.map_err(|_| RunHereError::Stopped)
    }

    /// Forgets a run of this agent's own that is over.
    pub fn release(self: &Arc<Self>, run: RunId) {
        self.turn(|node, _| node.release(run));
    }

    /// Waits until the agent should stop in order and start from the beginning: it holds less than the disk does.
    pub async fn wants_to_begin_anew(&self) {
        self.begin_anew.notified().await;
    }

    /// Waits until everything up to a position is durable.
    ///
    /// # Errors
    /// When it does not become so: the disk takes nothing, or the agent stops.
    pub(crate) async fn durable(&self, position: Position) -> Result<(), NotDurable> {
        let mut durable = self.durable.subscribe();
        self.journal.request_sync(position);
        let reached = async {
            loop {
                if self.journal.synced().n >= position.n {
                    return Ok(());
                }
                durable.changed().await.map_err(|_| NotDurable)?;
            }
        };
        tokio::time::timeout(DURABLE_PATIENCE, reached).await.map_err(|_| NotDurable)?
    }

    /// What this device is and has: runs of its own may ask for no more.
    pub fn set_device(self: &Arc<Self>, profile: eyot_model::AgentProfile) {
        self.turn(|node, _| node.set_device(profile));
    }

    /// There is no control plane to tell of runs of this agent's own: ended ones are kept for their time, and no longer.
    pub fn works_alone(self: &Arc<Self>) {
        self.turn(|node, _| {
            node.set_own_policy(eyot_node::OwnPolicy {
                tells: false,
                ..eyot_node::OwnPolicy::default()
            });
        });
    }

    /// Changes whenever more is durable.
    pub(crate) fn watch_synced(&self) -> watch::Receiver<Position> {
        self.durable.subscribe()
    }

    /// Whoever listens for triggers is told to look again.
    pub(crate) fn workflows_changed(&self) {
        let version = self.look(Node::workflows_version);
        self.workflows.send_replace(version);
    }

    pub(crate) fn watch_workflows(&self) -> watch::Receiver<u64> {
        self.workflows.subscribe()
    }

    pub(crate) fn is_linked(&self) -> bool {
        self.link.borrow().is_some()
    }

    /// What the control plane's clock says, for as long as this process has heard it.
    pub(crate) fn set_cloud_time(&self, time: CloudTime) {
        *self.cloud_time.lock() = Some(time);
    }

    /// By how much this device's clock is ahead of the control plane's, in milliseconds, if that is known.
    #[must_use]
    pub fn skew_millis(&self) -> Option<i64> {
        self.cloud_time.lock().map(|cloud| cloud.skew_millis(&self.clock))
    }

    /// Follows the system's clock if it was set and nothing waits here.
    pub fn follow_clock(&self) {
        let witness = self.cloud_time.lock().map(|cloud| cloud.now(&self.clock));
        let core = self.core.lock();
        if core.node.runs().next().is_none() && core.node.poll_timeout().is_none() {
            self.clock.rebase(Rest {
                witness,
                // The control plane has times of heart-beats while there is a link.
                may_go_back: !self.is_linked(),
                most: Millis(u64::MAX),
            });
        }
    }

    pub(crate) fn set_link(&self, link: Option<AgentLink>) {
        self.link.send_replace(link);
    }

    /// The durable position of the journal.
    #[must_use]
    pub fn synced(&self) -> Position {
        self.journal.synced()
    }

    /// Stops the attempts that run, so that the next start goes on with them, waits a while for those that must not be
    /// repeated and for nothing that only the cloud could end, and closes the journal in order.
    pub fn stop(self: &Arc<Self>) {
        self.turn(Node::shut_down);
        let patience = std::time::Instant::now() + FINISH;
        while self.look(Node::is_at_work) && std::time::Instant::now() < patience {
            std::thread::sleep(Duration::from_millis(10));
        }
        self.stopping.store(true, Ordering::Relaxed);
        self.ready.close();
        self.timer.notify_one();
        crate::log_file::save(&self.data, &self.logs);
        let service = self.core.lock().service.take();
        if let Some(service) = service
            && let Err(error) = service.close()
        {
            tracing::warn!(error = %error, "journal was not closed in order; the next start replays it");
        }
    }
}

/// Why a run on this agent alone did not come to an end.
#[derive(Debug, thiserror::Error)]
pub enum RunHereError {
    #[error("run is not taken")]
    Refused(#[source] eyot_node::SubmitError),
    #[error("agent stopped before the run ended; it goes on at the next start")]
    Stopped,
}

/// What was decided does not become durable now.
#[derive(Debug, thiserror::Error)]
#[error("the journal takes nothing, or the agent stops")]
pub(crate) struct NotDurable;

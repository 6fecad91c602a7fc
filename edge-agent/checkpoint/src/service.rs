//! The checkpoint for many threads: appends share one lock, syncs are shared by all who ask, folding happens behind.

use crate::checkpoint::{Checkpoint, Config, with_reserve};
use crate::disk::Disk;
use crate::fold::{self, FoldError, Folder, JournalAccess, StoreView};
use crate::journal::{self, Journal, JournalError, Scan, Trim};
use crate::record::Record;
use crate::space::Space;
use eyot_model::{DiskState, Position};
use parking_lot::{Condvar, Mutex, MutexGuard};
use std::io;
use std::ops::Deref;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// Syncs that are tried in a row before the failure is reported.
const SYNC_TRIES: usize = 3;

/// When the service acts unasked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timing {
    /// Nothing stays unsynced for longer than this.
    pub sync_every: Duration,
    /// Nothing stays unfolded for longer than this; the disk's room is looked at as often.
    pub fold_every: Duration,
    /// Wait after a failure.
    pub retry_after: Duration,
}

impl Default for Timing {
    fn default() -> Self {
        Self {
            sync_every: Duration::from_millis(100),
            fold_every: Duration::from_secs(5),
            retry_after: Duration::from_secs(1),
        }
    }
}

/// What the service tells the shell, from whichever thread it happens in. It must not block, nor call the service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum News {
    /// Everything up to here is durable. May come out of order by a little: the greatest one counts.
    Synced(Position),
    Disk(DiskState),
    /// A failure began or ended: see [`Handle::health`].
    Health,
    /// The store was opened in memory, and could be opened on disk now: all that it holds is read by a start from the beginning.
    StoreBack,
}

/// How the service is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Health {
    pub disk: DiskState,
    /// Why the last sync failed; None after one that succeeded.
    pub sync_error: Option<String>,
    /// Why the last round of folding failed; None after one that succeeded.
    pub fold_error: Option<String>,
    /// Bytes that the journal takes on disk.
    pub journal_bytes: u64,
    /// Records that wait to be folded.
    pub unfolded: usize,
    pub appended: Position,
    pub synced: Position,
}

struct Shared {
    core: Mutex<Core>,
    folder: Mutex<Folder>,
    store: StoreView,
    disk: Arc<dyn Disk>,
    config: Config,
    timing: Timing,
    news: Box<dyn Fn(News) + Send + Sync>,
    /// For the syncer: something was asked for, or there is something to sync.
    to_sync: Condvar,
    /// For everyone else: a sync ended.
    settled: Condvar,
    to_fold: Condvar,
}

#[derive(Debug)]
struct Core {
    journal: Journal,
    space: Space,
    /// Number up to which somebody waits for durability.
    wanted: u64,
    /// Since when there is something that is not synced.
    dirty_since: Option<Instant>,
    /// Somebody is in fdatasync, without the lock: no other sync and no new segment meanwhile.
    syncing: bool,
    /// The syncer looks again within `sync_every` by itself, so that it need not be woken for what is not asked for.
    watching: bool,
    fold_asked: bool,
    /// Counts failed syncs, so that a waiter sees one that began after its request.
    failures: u64,
    sync_error: Option<String>,
    fold_error: Option<String>,
    told: u64,
    told_disk: DiskState,
    stop: bool,
}

/// A way to the service, cheap to clone.
#[derive(Clone)]
pub struct Handle(Arc<Shared>);

impl std::fmt::Debug for Handle {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Handle").finish_non_exhaustive()
    }
}

impl Handle {
    /// Writes a batch to the journal; gives the position of its last record (numbers within a batch are consecutive). It survives the
    /// death of the process from now on; what leaves the agent waits for [`Handle::synced`] to reach it.
    ///
    /// Takes microseconds, but for the one call in some thousands that begins a new segment. Blocks for that.
    ///
    /// # Errors
    /// [`JournalError`]; nothing of the batch was acknowledged then, the records are still the caller's and may be appended again.
    pub fn append(&self, records: &mut Vec<Record>) -> Result<Position, JournalError> {
        let shared = &*self.0;
        let mut core = shared.core.lock();
        if core.stop {
            return Err(JournalError::Closed);
        }
        while core.syncing && core.journal.would_rotate(records) {
            shared.settled.wait(&mut core);
        }
        let core_ref = &mut *core;
        let appended = with_reserve(&mut core_ref.journal, &mut core_ref.space, |journal| journal.append(records));
        if core.journal.dirty() && core.dirty_since.is_none() {
            core.dirty_since = Some(Instant::now());
            if !core.watching {
                shared.to_sync.notify_one();
            }
        }
        if core.journal.pending_bytes() >= shared.config.fold_bytes && !core.fold_asked {
            core.fold_asked = true;
            shared.to_fold.notify_one();
        }
        shared.tell(core);
        appended
    }

    /// The last record that was appended.
    #[must_use]
    pub fn appended(&self) -> Position {
        self.0.core.lock().journal.appended()
    }

    /// The last record that is durable.
    #[must_use]
    pub fn synced(&self) -> Position {
        self.0.core.lock().journal.synced()
    }

    /// Asks for durability up to a position, and does not wait for it. Requests made during a sync share the next one.
    pub fn request_sync(&self, through: Position) {
        let mut core = self.0.core.lock();
        let through = through.n.min(core.journal.appended().n);
        if through > core.journal.synced().n && through > core.wanted {
            core.wanted = through;
            self.0.to_sync.notify_one();
        }
    }

    /// Makes everything up to a position durable on the caller's own thread, for a caller that has nothing else to do: no
    /// other thread has to be woken first. Gives what is durable then. Where a sync is under way already, it is
    /// [`Handle::request_sync`].
    pub fn sync_here(&self, through: Position) -> Position {
        let core = self.0.core.lock();
        let synced = core.journal.synced();
        if core.syncing || core.stop {
            drop(core);
            self.request_sync(through);
            return synced;
        }
        if through.n.min(core.journal.appended().n) > synced.n {
            if !self.0.sync_once(core) {
                // It goes on trying.
                self.0.to_sync.notify_one();
            }
            return self.synced();
        }
        synced
    }

    /// Asks for durability up to a position and blocks until it is there.
    ///
    /// # Errors
    /// When no record was appended under that position, as on a full disk; when a sync fails after the request, which the
    /// service goes on trying.
    pub fn wait_synced(&self, through: Position) -> Result<Position, JournalError> {
        self.request_sync(through);
        let mut core = self.0.core.lock();
        let failures = core.failures;
        if through.n > core.journal.appended().n {
            return Err(JournalError::NotAppended(through.n));
        }
        let through = through.n;
        loop {
            let synced = core.journal.synced();
            if synced.n >= through {
                return Ok(synced);
            }
            if core.failures != failures {
                return Err(JournalError::Io {
                    action: "be synced",
                    source: io::Error::other(core.sync_error.clone().unwrap_or_default()),
                });
            }
            if core.stop {
                return Err(JournalError::Closed);
            }
            self.0.settled.wait(&mut core);
        }
    }

    /// Asks for a round of folding soon.
    pub fn request_fold(&self) {
        self.0.core.lock().fold_asked = true;
        self.0.to_fold.notify_one();
    }

    /// Syncs and folds now, and blocks until it is done.
    ///
    /// # Errors
    /// [`FoldError`]; nothing is lost, the next round goes on.
    pub fn fold(&self) -> Result<(), FoldError> {
        self.0.fold_round()
    }

    /// The store, for reading; it lags behind by what was not folded yet.
    #[must_use]
    pub fn store(&self) -> StoreView {
        self.0.store.clone()
    }

    /// Looks at the disk's room now, not only at the next round of folding.
    pub fn refresh_disk(&self) -> DiskState {
        let mut core = self.0.core.lock();
        let state = core.space.refresh();
        self.0.tell(core);
        state
    }

    #[must_use]
    pub fn disk_state(&self) -> DiskState {
        self.0.core.lock().space.state()
    }

    #[must_use]
    pub fn health(&self) -> Health {
        let core = self.0.core.lock();
        Health {
            disk: core.space.state(),
            sync_error: core.sync_error.clone(),
            fold_error: core.fold_error.clone(),
            journal_bytes: core.journal.bytes(),
            unfolded: core.journal.pending(),
            appended: core.journal.appended(),
            synced: core.journal.synced(),
        }
    }
}

impl Shared {
    /// Tells what changed, after letting go of the lock.
    fn tell(&self, mut core: MutexGuard<'_, Core>) {
        let synced = core.journal.synced();
        let disk = core.space.state();
        let new_sync = synced.n > core.told;
        let new_disk = disk != core.told_disk;
        core.told = core.told.max(synced.n);
        core.told_disk = disk;
        drop(core);
        if new_sync {
            self.settled.notify_all();
            (self.news)(News::Synced(synced));
        }
        if new_disk {
            (self.news)(News::Disk(disk));
        }
    }

    fn sync_loop(&self) {
        let mut core = self.core.lock();
        while !core.stop {
            if core.syncing {
                // A round of folding syncs, and serves whoever asked.
                self.settled.wait(&mut core);
                continue;
            }
            let asked = core.wanted > core.journal.synced().n;
            let due = core.dirty_since.map(|since| since + self.timing.sync_every);
            match due {
                _ if asked => {}
                Some(due) if due > Instant::now() => {
                    core.watching = true;
                    self.to_sync.wait_until(&mut core, due);
                    core.watching = false;
                    continue;
                }
                Some(_) => {}
                None => {
                    // While there is work, there is more soon.
                    core.watching = true;
                    let idle = self.to_sync.wait_for(&mut core, self.timing.sync_every).timed_out();
                    core.watching = false;
                    let asked = core.wanted > core.journal.synced().n;
                    if idle && !asked && core.dirty_since.is_none() && !core.stop {
                        self.to_sync.wait(&mut core);
                    }
                    continue;
                }
            }
            let ok = self.sync_once(core);
            core = self.core.lock();
            if !ok && !core.stop {
                let until = Instant::now() + self.timing.retry_after;
                while !core.stop && !self.to_sync.wait_until(&mut core, until).timed_out() {}
            }
        }
    }

    /// One shared sync: fdatasync runs without the lock, so that appends go on.
    fn sync_once(&self, mut core: MutexGuard<'_, Core>) -> bool {
        let mut tries = 0;
        let failure = loop {
            core.dirty_since = None;
            let this = &mut *core;
            let ticket = match with_reserve(&mut this.journal, &mut this.space, Journal::begin_sync) {
                Ok(Some(ticket)) => ticket,
                Ok(None) => break None,
                Err(error) => break Some(fold::chain_of(&error)),
            };
            core.syncing = true;
            let result = MutexGuard::unlocked(&mut core, || ticket.run());
            core.syncing = false;
            let why = result.as_ref().err().map(ToString::to_string);
            if core.journal.finish_sync(&ticket, result) {
                break None;
            }
            tries += 1;
            if tries >= SYNC_TRIES {
                break why;
            }
        };
        if core.journal.dirty() {
            core.dirty_since.get_or_insert_with(Instant::now);
        }
        let ok = failure.is_none();
        if !ok {
            core.failures += 1;
        }
        let changed = core.sync_error.is_some() != failure.is_some();
        core.sync_error = failure;
        self.settled.notify_all();
        self.tell(core);
        if changed {
            (self.news)(News::Health);
        }
        ok
    }

    fn fold_loop(&self) {
        loop {
            let mut core = self.core.lock();
            let next = Instant::now() + self.timing.fold_every;
            while !core.stop && !core.fold_asked && !self.to_fold.wait_until(&mut core, next).timed_out() {}
            if core.stop {
                return;
            }
            core.fold_asked = false;
            let has_room = core.space.refresh() < DiskState::Critical;
            let idle = core.journal.pending() == 0 && core.fold_error.is_none();
            self.tell(core);
            if has_room && self.folder.lock().may_leave_memory() {
                (self.news)(News::StoreBack);
            }
            if idle {
                continue;
            }
            let failed = self.fold_round().is_err();
            if failed {
                let mut core = self.core.lock();
                let until = Instant::now() + self.timing.retry_after;
                while !core.stop && !self.to_fold.wait_until(&mut core, until).timed_out() {}
            }
        }
    }

    fn fold_round(&self) -> Result<(), FoldError> {
        let result = {
            let mut folder = self.folder.lock();
            fold::round(&mut Locked(self), &mut folder, self.config.journal_bytes)
        };
        let failure = result.as_ref().err().map(|error| fold::chain_of(error));
        let mut core = self.core.lock();
        if let Some(error) = failure.as_ref().filter(|_| failure != core.fold_error) {
            tracing::warn!(error, "the journal is not folded; it is tried again");
        }
        let changed = core.fold_error.is_some() != failure.is_some();
        core.fold_error = failure;
        self.tell(core);
        if changed {
            (self.news)(News::Health);
        }
        result
    }
}

/// The journal behind the lock.
struct Locked<'a>(&'a Shared);

impl Locked<'_> {
    /// The lock while no sync is under way.
    fn quiet(&self) -> MutexGuard<'_, Core> {
        let mut core = self.0.core.lock();
        while core.syncing {
            self.0.settled.wait(&mut core);
        }
        core
    }
}

impl JournalAccess for Locked<'_> {
    fn with<T>(&mut self, call: impl FnOnce(&mut Journal) -> T) -> T {
        call(&mut self.0.core.lock().journal)
    }

    fn sync(&mut self) -> Result<(), JournalError> {
        let mut core = self.quiet();
        let this = &mut *core;
        let ticket = with_reserve(&mut this.journal, &mut this.space, Journal::begin_sync)?;
        let Some(ticket) = ticket else { return Ok(()) };
        core.syncing = true;
        let result = MutexGuard::unlocked(&mut core, || ticket.run());
        core.syncing = false;
        let done = core.journal.finish_sync(&ticket, result);
        let retried = if done {
            Ok(())
        } else {
            // It goes to a new segment; that is rare enough to do under the lock.
            let this = &mut *core;
            with_reserve(&mut this.journal, &mut this.space, Journal::sync).map(|_| ())
        };
        if !core.journal.dirty() {
            core.dirty_since = None;
        }
        self.0.settled.notify_all();
        self.0.to_sync.notify_one();
        self.0.tell(core);
        retried
    }

    fn begin_trim(&mut self) -> Result<Option<Trim>, JournalError> {
        let mut core = self.quiet();
        let this = &mut *core;
        let trim = with_reserve(&mut this.journal, &mut this.space, Journal::begin_trim);
        self.0.tell(core);
        trim
    }

    fn scan(&mut self) -> io::Result<Scan> {
        let _quiet = self.quiet();
        journal::scan(&*self.0.disk)
    }
}

/// Runs a [`Checkpoint`]; dereferences to its [`Handle`]. Dropping it stops its threads as a crash would, [`Service::close`] in order.
#[derive(Debug)]
pub struct Service {
    handle: Handle,
    threads: Vec<JoinHandle<()>>,
}

impl Deref for Service {
    type Target = Handle;

    fn deref(&self) -> &Handle {
        &self.handle
    }
}

impl Checkpoint {
    /// Starts the two threads. `news` is called from them and from callers of [`Handle::append`].
    ///
    /// # Errors
    /// When a thread cannot be started.
    pub fn start(self, timing: Timing, news: impl Fn(News) + Send + Sync + 'static) -> io::Result<Service> {
        let dirty_since = self.journal.dirty().then(Instant::now);
        let shared = Arc::new(Shared {
            store: self.folder.view(),
            disk: self.disk,
            config: self.config,
            timing,
            news: Box::new(news),
            core: Mutex::new(Core {
                wanted: 0,
                dirty_since,
                syncing: false,
                watching: false,
                fold_asked: false,
                failures: 0,
                sync_error: None,
                fold_error: None,
                told: self.journal.synced().n,
                told_disk: self.space.state(),
                stop: false,
                journal: self.journal,
                space: self.space,
            }),
            folder: Mutex::new(self.folder),
            to_sync: Condvar::new(),
            settled: Condvar::new(),
            to_fold: Condvar::new(),
        });
        let mut service = Service {
            handle: Handle(shared.clone()),
            threads: Vec::with_capacity(2),
        };
        let syncer = shared.clone();
        service.threads.push(thread("journal-sync").spawn(move || syncer.sync_loop())?);
        service.threads.push(thread("journal-fold").spawn(move || shared.fold_loop())?);
        Ok(service)
    }
}

fn thread(name: &str) -> std::thread::Builder {
    std::thread::Builder::new().name(name.to_owned()).stack_size(1 << 20)
}

impl Service {
    #[must_use]
    pub fn handle(&self) -> Handle {
        self.handle.clone()
    }

    /// Stops the threads, folds what is left, and says in the journal that the stop was in order. Handles refuse appends from then on.
    ///
    /// # Errors
    /// [`FoldError`]; the next start then takes it for a crash.
    pub fn close(mut self) -> Result<(), FoldError> {
        self.stop();
        self.handle.0.fold_round()?;
        Ok(Locked(&self.handle.0).quiet().journal.close()?)
    }

    fn stop(&mut self) {
        let shared = &self.handle.0;
        shared.core.lock().stop = true;
        shared.to_sync.notify_all();
        shared.to_fold.notify_all();
        shared.settled.notify_all();
        for thread in self.threads.drain(..) {
            if thread.join().is_err() {
                tracing::error!("a thread of the checkpoint panicked");
            }
        }
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        self.stop();
    }
}

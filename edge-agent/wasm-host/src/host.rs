//! The host: makes components ready and runs attempts.

use crate::attempt::{self, AttemptEnd, AttemptSpec, Description, RawInputs};
use crate::cache::Cache;
use crate::prepared::{Prepared, Runtime};
use crate::services::{BlobAccess, BlobError, BlobRead, BlobWrite};
use crate::{CancelToken, Compiler, Error, Limits, LogLevel, ServiceError, Services, StateLost, scratch};
use eyot_model::{AttemptId, Digest, Failure, Grant, Inputs, Path as TaskPath, RunId, TaskIx};
use parking_lot::Mutex;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{OnceCell, Semaphore};

/// Instances beyond the workers': for descriptions, for an attempt that none of the workers runs, and for stores whose teardown
/// overlaps the next start.
const SPARE_INSTANCES: u32 = 3;

#[derive(Clone, Debug)]
pub struct HostConfig {
    /// Folder for compiled code; made if need be, and made private.
    pub cache_dir: PathBuf,
    /// The device's own secret. Code in the cache is authenticated under a key derived from it.
    pub mac_key: [u8; 32],
    /// Most attempts at once.
    pub workers: u32,
    /// Most bytes of compiled code on disk.
    pub cache_bytes: u64,
    /// Most components held ready in memory.
    pub max_prepared: usize,
    pub compiler: Compiler,
    /// Folder for the private folders of attempts that were granted one. What is in it is removed when a host starts.
    pub scratch_dir: PathBuf,
}

impl HostConfig {
    /// A configuration with 1 GiB of compiled code, 64 components held ready, and scratch folders beside the code.
    #[must_use]
    pub fn new(cache_dir: PathBuf, mac_key: [u8; 32], workers: u32, compiler: Compiler) -> Self {
        Self {
            scratch_dir: cache_dir.join("scratch"),
            cache_dir,
            mac_key,
            workers,
            cache_bytes: 1 << 30,
            max_prepared: 64,
            compiler,
        }
    }
}

type Slot = Arc<OnceCell<Arc<Prepared>>>;

/// The WebAssembly host of an agent. One host at a time uses a cache folder.
pub struct Host {
    cache: Arc<Cache>,
    scratch_dir: PathBuf,
    compiler: Compiler,
    instances: u32,
    max_prepared: usize,
    /// Started with the first component: an agent that has nothing to run pays nothing for it.
    runtime: OnceCell<Arc<Runtime>>,
    /// The most recently used is last.
    prepared: Mutex<Vec<(Digest, Slot)>>,
    /// One compilation at a time: each uses all cores.
    compiling: Semaphore,
}

impl Host {
    /// # Errors
    /// [`Error::Cache`] if the folder cannot be used.
    pub fn new(config: HostConfig) -> Result<Arc<Self>, Error> {
        scratch::open(&config.scratch_dir);
        Ok(Arc::new(Self {
            cache: Arc::new(Cache::open(config.cache_dir, &config.mac_key, config.cache_bytes)?),
            scratch_dir: config.scratch_dir,
            compiler: config.compiler,
            instances: config.workers.saturating_add(SPARE_INSTANCES),
            max_prepared: config.max_prepared.max(1),
            runtime: OnceCell::new(),
            prepared: Mutex::default(),
            compiling: Semaphore::new(1),
        }))
    }

    /// Makes the component at `wasm` ready: from memory, from the cache, or by compiling it. Calls for the same
    /// component at the same time do the work once. The signature of a component is checked before this, its digest
    /// here.
    ///
    /// # Errors
    /// [`Error::Component`] when the component is at fault, otherwise this agent. Nothing is remembered of a failure.
    pub async fn prepare(&self, digest: Digest, wasm: &Path) -> Result<Arc<Prepared>, Error> {
        let slot = self.slot(digest);
        slot.get_or_try_init(|| self.make(digest, wasm)).await.cloned()
    }

    /// The component, if it is ready in memory.
    #[must_use]
    pub fn ready(&self, digest: &Digest) -> Option<Arc<Prepared>> {
        let mut prepared = self.prepared.lock();
        let at = prepared.iter().rposition(|(known, slot)| known == digest && slot.initialized())?;
        let entry = prepared.remove(at);
        let ready = entry.1.get().cloned();
        prepared.push(entry);
        ready
    }

    /// Removes compiled code from the disk, the longest unused first, until at most `keep_bytes` are left; what is ready in
    /// memory stays. Gives the bytes that went.
    ///
    /// # Errors
    /// [`Error::Cache`].
    pub fn trim_cache(&self, keep_bytes: u64) -> Result<u64, Error> {
        let in_use: Vec<Digest> = self.prepared.lock().iter().map(|(digest, _)| *digest).collect();
        self.cache.trim(keep_bytes, &in_use).map_err(|source| self.cache.failed(source))
    }

    /// Bytes of compiled code on disk.
    ///
    /// # Errors
    /// [`Error::Cache`].
    pub fn cache_bytes(&self) -> Result<u64, Error> {
        self.cache.bytes().map_err(|source| self.cache.failed(source))
    }

    fn slot(&self, digest: Digest) -> Slot {
        let mut prepared = self.prepared.lock();
        let entry = match prepared.iter().rposition(|(known, _)| *known == digest) {
            Some(at) => prepared.remove(at),
            None => {
                if prepared.len() >= self.max_prepared {
                    prepared.remove(0);
                }
                (digest, Slot::default())
            }
        };
        let slot = Arc::clone(&entry.1);
        prepared.push(entry);
        slot
    }

    async fn make(&self, digest: Digest, wasm: &Path) -> Result<Arc<Prepared>, Error> {
        let runtime = self
            .runtime
            .get_or_try_init(|| async { Runtime::start(self.instances, self.scratch_dir.clone()).map(Arc::new) })
            .await?;
        if let Some(ready) = self.load(digest, runtime).await? {
            return Ok(ready);
        }
        // The semaphore is never closed; if it were, the limit on compilations would be gone and nothing worse.
        let _permit = self.compiling.acquire().await.ok();
        let temporary = self.cache.temporary();
        if let Err(error) = self.compiler.compile(digest, wasm, &temporary).await {
            drop(std::fs::remove_file(&temporary));
            return Err(error);
        }
        let cache = Arc::clone(&self.cache);
        blocking(digest, move || cache.store(&digest, &temporary)).await??;
        self.load(digest, runtime).await?.ok_or_else(|| Error::Compile {
            digest,
            message: "the compiled code is not accepted by this engine".to_owned(),
        })
    }

    /// The component from the cache of compiled code, if it is there.
    async fn load(&self, digest: Digest, runtime: &Arc<Runtime>) -> Result<Option<Arc<Prepared>>, Error> {
        let (cache, runtime) = (Arc::clone(&self.cache), Arc::clone(runtime));
        blocking(digest, move || {
            let component = cache.load(&runtime.engine, &digest)?;
            Some(Arc::new(Prepared::new(digest, component, runtime)))
        })
        .await
    }

    /// Runs an attempt to its end on this thread, which must be one that may block (not one that drives async tasks)
    /// and have a stack of at least 2 MiB. Never panics. An attempt ends by its own doing, by its limits or by
    /// `cancel`; the last two within a few milliseconds, except while it computes in a model or reads a blob.
    #[must_use]
    pub fn run(&self, prepared: &Prepared, spec: AttemptSpec, services: Arc<dyn Services>, cancel: CancelToken) -> AttemptEnd {
        attempt::run(prepared, spec, services, cancel)
    }

    /// Asks a component what it is, under limits of its own (256 MiB, 5 seconds). Blocks like [`Self::run`].
    ///
    /// # Errors
    /// The failure that an attempt would have ended with.
    pub fn describe(&self, prepared: &Prepared) -> Result<Description, Failure> {
        let spec = AttemptSpec {
            id: AttemptId {
                run: RunId(0),
                path: TaskPath::task(TaskIx(0)),
                attempt: 1,
                epoch: eyot_model::Epoch(0),
            },
            namespace: String::new(),
            task: "describe".to_owned(),
            inputs: Inputs::new(),
            limits: Limits {
                cpu: Some(Duration::from_secs(5)),
                wall: Some(Duration::from_secs(5)),
                output_bytes: 1 << 20,
                ..Limits::default()
            },
            grants: [Grant::Inference].into(),
        };
        attempt::describe(prepared, spec, Arc::new(Nothing))
    }

    /// The floor that the cost of [`Self::run`] is measured against: instantiate the same component in the same engine
    /// with nothing behind its imports, call `run`, drop. For benchmarks alone: it has no limits.
    ///
    /// # Errors
    /// When the component traps, fails or calls an import.
    pub fn raw_cycle(&self, prepared: &Prepared, inputs: &RawInputs) -> Result<(), Failure> {
        attempt::raw_cycle(prepared, &inputs.0)
    }
}

/// Runs what reads and hashes whole files away from the threads that drive async tasks.
async fn blocking<T: Send + 'static>(digest: Digest, work: impl FnOnce() -> T + Send + 'static) -> Result<T, Error> {
    tokio::task::spawn_blocking(work).await.map_err(|e| Error::Compile {
        digest,
        message: format!("the cache was cut off: {e}"),
    })
}

/// The services of a component that is only asked what it is.
struct Nothing;

impl Services for Nothing {
    fn blobs(&self) -> &dyn BlobAccess {
        self
    }

    fn log(&self, _level: LogLevel, _message: &str) {}

    fn progress(&self, _done: u64, _total: u64, _message: &str) {}

    fn save_checkpoint(&self, _state: &[u8]) -> Result<(), ServiceError> {
        Err(ServiceError("a description has no state".to_owned()))
    }

    fn load_checkpoint(&self) -> Result<Option<Vec<u8>>, StateLost> {
        Ok(None)
    }

    fn inference(&self) -> Option<&eyot_infer::Runtime> {
        None
    }
}

impl BlobAccess for Nothing {
    fn open(&self, digest: &Digest) -> Result<Box<dyn BlobRead>, BlobError> {
        Err(BlobError::Missing(*digest))
    }

    fn writer(&self) -> Result<Box<dyn BlobWrite>, BlobError> {
        Err(BlobError::Full)
    }
}

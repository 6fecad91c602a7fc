//! A host, an agent's shell that remembers what it was told, and the components of `tests/guests`.

use eyot_blob::Store;
use eyot_model::{AttemptId, BlobForm, BlobRef, Digest, Epoch, Failure, Grant, Inputs, Outcome, Outputs, Path, RunId, TaskIx, Value};
use eyot_wasm_host::{
    AttemptEnd, AttemptSpec, BlobAccess, CancelToken, Compiler, Host, HostConfig, Limits, LogLevel, Prepared, ServiceError, Services,
    StateLost,
};
use std::collections::BTreeSet;
use std::path::PathBuf;
use std::process::Command;
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;
use tempfile::TempDir;

pub(crate) const KEY: [u8; 32] = [42; 32];

/// The component of a guest; all of them are built once per test process.
pub(crate) fn guest(name: &str) -> PathBuf {
    static FOLDER: OnceLock<PathBuf> = OnceLock::new();
    let folder = FOLDER.get_or_init(|| {
        let root = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../..");
        let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root.join("target"), |dir| root.join(dir));
        let mut build = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
        build.args([
            "build",
            "--quiet",
            "--profile",
            "component",
            "--target",
            "wasm32-wasip2",
            "--target-dir",
        ]);
        build.arg(&target).current_dir(&root);
        for guest in ["noop", "probe", "socket", "model"] {
            build.args(["-p", &format!("eyot-guest-{guest}")]);
        }
        assert!(build.status().unwrap().success(), "the guests do not build");
        target.join("wasm32-wasip2/component")
    });
    folder.join(format!("eyot_guest_{name}.wasm"))
}

pub(crate) fn digest_of(name: &str) -> Digest {
    Digest::of(&std::fs::read(guest(name)).unwrap())
}

pub(crate) fn compiler() -> Compiler {
    Compiler::program(env!("CARGO_BIN_EXE_eyot-compile").into())
}

/// One host for all tests that do not look at the host itself, and the folder of its cache.
pub(crate) fn host() -> &'static Host {
    static HOST: OnceLock<(Arc<Host>, TempDir)> = OnceLock::new();
    &HOST
        .get_or_init(|| {
            let folder = tempfile::tempdir().unwrap();
            let config = HostConfig::new(folder.path().join("code"), KEY, 16, compiler());
            (Host::new(config).unwrap(), folder)
        })
        .0
}

/// Drives the one future that the host has.
pub(crate) fn block_on<F: Future>(future: F) -> F::Output {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap()
        .block_on(future)
}

pub(crate) fn prepared(name: &str) -> Arc<Prepared> {
    block_on(host().prepare(digest_of(name), &guest(name))).unwrap()
}

type OnLog = Box<dyn Fn(&str) + Send + Sync>;

/// What an agent's shell would do, kept in memory.
pub(crate) struct Shell {
    pub(crate) blobs: Store,
    pub(crate) lines: Mutex<Vec<(LogLevel, String)>>,
    pub(crate) reports: Mutex<Vec<(u64, u64, String)>>,
    pub(crate) state: Mutex<Option<Vec<u8>>>,
    pub(crate) models: Option<eyot_infer::Runtime>,
    /// Called with each line of the log.
    pub(crate) on_log: OnLog,
    _folder: TempDir,
}

impl Shell {
    pub(crate) fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        Self {
            blobs: Store::open(folder.path()).unwrap(),
            lines: Mutex::default(),
            reports: Mutex::default(),
            state: Mutex::default(),
            models: None,
            on_log: Box::new(|_| ()),
            _folder: folder,
        }
    }

    pub(crate) fn blob(&self, bytes: &[u8], form: BlobForm) -> BlobRef {
        self.blobs.put(bytes).unwrap().reference(form)
    }

    pub(crate) fn bytes(&self, value: &Value) -> Vec<u8> {
        let Value::Blob(blob) = value else { panic!("{value:?} is no blob") };
        let bytes = self.blobs.read(&blob.digest, u64::MAX).unwrap();
        assert_eq!(bytes.len() as u64, blob.size);
        bytes
    }
}

impl Services for Shell {
    fn blobs(&self) -> &dyn BlobAccess {
        &self.blobs
    }
    fn log(&self, level: LogLevel, message: &str) {
        (self.on_log)(message);
        self.lines.lock().unwrap().push((level, message.to_owned()));
    }
    fn progress(&self, done: u64, total: u64, message: &str) {
        self.reports.lock().unwrap().push((done, total, message.to_owned()));
    }
    fn save_checkpoint(&self, state: &[u8]) -> Result<(), ServiceError> {
        *self.state.lock().unwrap() = Some(state.to_vec());
        Ok(())
    }
    fn load_checkpoint(&self) -> Result<Option<Vec<u8>>, StateLost> {
        Ok(self.state.lock().unwrap().clone())
    }
    fn inference(&self) -> Option<&eyot_infer::Runtime> {
        self.models.as_ref()
    }
}

/// An attempt in the making.
pub(crate) struct Try {
    component: &'static str,
    pub(crate) spec: AttemptSpec,
    pub(crate) shell: Arc<Shell>,
    pub(crate) cancel: CancelToken,
}

/// Asks the guest `probe` to do something.
pub(crate) fn probe(what: &str) -> Try {
    attempt("probe").with("do", what)
}

pub(crate) fn attempt(component: &'static str) -> Try {
    Try {
        component,
        spec: AttemptSpec {
            id: AttemptId {
                run: RunId(5),
                path: Path::item(TaskIx(3), 7),
                attempt: 2,
                epoch: Epoch(4),
            },
            namespace: "default".to_owned(),
            task: "try".to_owned(),
            inputs: Inputs::new(),
            // Ends a test that would hang, and no other.
            limits: Limits {
                wall: Some(Duration::from_secs(60)),
                ..Limits::default()
            },
            grants: BTreeSet::new(),
        },
        shell: Arc::new(Shell::new()),
        cancel: CancelToken::new(),
    }
}

impl Try {
    pub(crate) fn with(mut self, name: &str, value: impl Into<In>) -> Self {
        self.spec.inputs.insert(name.to_owned(), value.into().0);
        self
    }

    pub(crate) fn grant(mut self, grant: Grant) -> Self {
        self.spec.grants.insert(grant);
        self
    }

    pub(crate) fn limit(mut self, set: impl FnOnce(&mut Limits)) -> Self {
        set(&mut self.spec.limits);
        self
    }

    pub(crate) fn run(&self) -> AttemptEnd {
        let shell: Arc<dyn Services> = Arc::clone(&self.shell) as _;
        host().run(&prepared(self.component), self.spec.clone(), shell, self.cancel.clone())
    }

    #[track_caller]
    pub(crate) fn outputs(&self) -> Outputs {
        match self.run().outcome {
            Outcome::Succeeded(outputs) => outputs,
            other => panic!("{other:?}"),
        }
    }

    #[track_caller]
    pub(crate) fn failure(&self) -> Failure {
        match self.run().outcome {
            Outcome::Failed(failure) => failure,
            other => panic!("{other:?}"),
        }
    }
}

/// Whatever can be an input.
pub(crate) struct In(Value);

impl From<&str> for In {
    fn from(text: &str) -> Self {
        Self(Value::String(text.to_owned()))
    }
}
impl From<i64> for In {
    fn from(number: i64) -> Self {
        Self(Value::Int(number))
    }
}
impl From<BlobRef> for In {
    fn from(blob: BlobRef) -> Self {
        Self(Value::Blob(blob))
    }
}
impl From<Value> for In {
    fn from(value: Value) -> Self {
        Self(value)
    }
}

//! A stand-in for the agent, in memory: unit tests of tasks need no agent and no WebAssembly.
//!
//! [`Host::run`] calls a task as an agent does: JSON in, JSON out, inputs checked. Functions may be called directly as
//! well; what they log, report and save is kept for each thread by the host that was made last there, or by one that is
//! always there.

use crate::inference::{InferenceError, Tensor};
use crate::log::Level;
use crate::{Blob, Context, Failure, Inputs, Outputs, Task};
use serde_json::Value;
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;

/// Where models come from in tests.
pub trait Models {
    /// # Errors
    /// What an agent would say of a model that it cannot read.
    fn load(&self, digest: &str, onnx: &[u8]) -> Result<Arc<dyn Model>, InferenceError>;
}

/// A loaded model in tests.
pub trait Model {
    /// # Errors
    /// What an agent would say.
    fn compute(&self, inputs: Vec<Tensor>) -> Result<Vec<Tensor>, InferenceError>;

    fn metadata(&self, _key: &str) -> Option<String> {
        None
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogLine {
    pub level: Level,
    pub message: String,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProgressReport {
    pub done: u64,
    pub total: u64,
    pub message: String,
}

pub(crate) struct State {
    pub(crate) blobs: BTreeMap<String, Arc<[u8]>>,
    pub(crate) logs: Vec<LogLine>,
    pub(crate) progress: Vec<ProgressReport>,
    pub(crate) checkpoint: Option<Vec<u8>>,
    pub(crate) context: Context,
    pub(crate) models: Option<Rc<dyn Models>>,
}

impl Default for State {
    fn default() -> Self {
        Self {
            blobs: BTreeMap::new(),
            logs: Vec::new(),
            progress: Vec::new(),
            checkpoint: None,
            context: Context {
                run: "test-run".to_owned(),
                namespace: "default".to_owned(),
                task: "test".to_owned(),
                item: None,
                attempt: 1,
                epoch: 1,
                idempotency_key: "test-key".to_owned(),
                remaining: None,
            },
            models: None,
        }
    }
}

thread_local! {
    static CURRENT: RefCell<Rc<RefCell<State>>> = RefCell::default();
}

pub(crate) fn with_state<T>(act: impl FnOnce(&mut State) -> T) -> T {
    let state = CURRENT.with(|current| Rc::clone(&current.borrow()));
    let mut state = state.borrow_mut();
    act(&mut state)
}

/// An agent in memory. From [`Host::new`] until it is dropped it is the agent of this thread.
pub struct Host {
    state: Rc<RefCell<State>>,
    before: Rc<RefCell<State>>,
}

impl Host {
    #[must_use]
    pub fn new() -> Self {
        let state = Rc::<RefCell<State>>::default();
        let before = CURRENT.with(|current| current.replace(Rc::clone(&state)));
        Self { state, before }
    }

    /// The context that tasks see.
    #[must_use]
    pub fn with_context(self, context: Context) -> Self {
        self.state.borrow_mut().context = context;
        self
    }

    /// Models for [`crate::inference`].
    #[must_use]
    pub fn with_models(self, models: impl Models + 'static) -> Self {
        self.state.borrow_mut().models = Some(Rc::new(models));
        self
    }

    /// A blob that tasks may read.
    #[must_use]
    pub fn blob(&self, bytes: &[u8]) -> Blob {
        let digest = format!("b3:{}", blake3::hash(bytes).to_hex());
        self.state.borrow_mut().blobs.insert(digest.clone(), bytes.into());
        Blob::held(digest, bytes.len() as u64)
    }

    /// Runs a task with `inputs`, a JSON object.
    ///
    /// # Errors
    /// What the task says of its inputs or of its work.
    pub fn run<T: Task>(&self, inputs: Value) -> Result<Outputs, Failure> {
        match inputs {
            Value::Object(inputs) => T::run(Inputs::new(inputs)),
            other => Err(Failure::invalid_input(format!("inputs are an object by name, found {other}"))),
        }
    }

    /// What was logged so far.
    #[must_use]
    pub fn logs(&self) -> Vec<LogLine> {
        self.state.borrow().logs.clone()
    }

    /// What was reported so far.
    #[must_use]
    pub fn progress(&self) -> Vec<ProgressReport> {
        self.state.borrow().progress.clone()
    }

    /// What was saved last.
    #[must_use]
    pub fn checkpoint(&self) -> Option<Vec<u8>> {
        self.state.borrow().checkpoint.clone()
    }
}

impl Default for Host {
    fn default() -> Self {
        Self::new()
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        CURRENT.with(|current| {
            // Hosts may be dropped in any order; only the one in force gives way to the one before it.
            let mut current = current.borrow_mut();
            if Rc::ptr_eq(&current, &self.state) {
                *current = Rc::clone(&self.before);
            }
        });
    }
}

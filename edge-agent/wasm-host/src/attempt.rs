//! One attempt: a store is made, the component is started in it and called, and all of it is dropped.

use crate::bindings::exports::eyot::task::task::Description as GuestDescription;
use crate::bindings::eyot::task::types as wit;
use crate::bindings::{EyotTask, EyotTaskPre};
use crate::capability::log::clip;
use crate::capability::{MAX_HANDLES, State};
use crate::error::is_full;
use crate::limits::Meter;
use crate::{CancelToken, Limits, Prepared, Services, values};
use eyot_model::{AttemptId, Failure, FailureKind, Grant, Inputs, Outcome, Usage};
use serde::{Deserialize, Serialize};
use std::any::Any;
use std::collections::BTreeSet;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;
use wasmtime::{Store, Trap, UpdateDeadline};

/// Bounds on what a task says of its failure.
const MAX_MESSAGE_BYTES: usize = 4 << 10;
const MAX_DETAILS_BYTES: usize = 32 << 10;

/// Bounds on the bytes that the guest hands to the host in one call, whatever its limits are.
const MIN_TRANSFER_BYTES: u64 = 16 << 20;
const MAX_TRANSFER_BYTES: u64 = 512 << 20;
/// How the engine says that a guest went beyond them; it has no type for this error.
const TRANSFER_EXCEEDED: &str = "fuel allocated for hostcalls has been exhausted";

/// All that the host needs to know of an attempt. Serialisable, so that a host in a process of its own can be told.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AttemptSpec {
    pub id: AttemptId,
    pub namespace: String,
    /// Name of the task, not of the component.
    pub task: String,
    pub inputs: Inputs,
    pub limits: Limits,
    pub grants: BTreeSet<Grant>,
}

/// How an attempt ended and what it took. [`Usage::queued`] is left for the caller to fill in.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AttemptEnd {
    pub outcome: Outcome,
    pub usage: Usage,
    /// Whether the component was called: it may have done something then, however the attempt ended.
    pub began: bool,
}

/// What a component says of itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Description {
    pub name: String,
    pub version: String,
    /// JSON Schema of an object with the inputs, as text.
    pub inputs: String,
    /// JSON Schema of an object with the outputs, as text.
    pub outputs: String,
    pub idempotent: bool,
    pub deterministic: bool,
    /// Names of the grants that it cannot do without.
    pub needs: Vec<String>,
}

/// Runs an attempt to its end on this thread.
pub(crate) fn run(prepared: &Prepared, spec: AttemptSpec, services: Arc<dyn Services>, cancel: CancelToken) -> AttemptEnd {
    let started = Instant::now();
    let mut began = false;
    let (result, peak_memory_bytes) = guarded(|| {
        if cancel.is_cancelled() {
            return (Err(Outcome::Cancelled), 0);
        }
        call(prepared, spec, services, cancel, started, |task, store, inputs| {
            began = true;
            let values = match task.eyot_task_task().call_run(&mut *store, inputs)? {
                Ok(values) => values,
                Err(failure) => return Ok(Err(failed(failure))),
            };
            Ok(values::from_guest(values, store.data_mut()))
        })
    });
    AttemptEnd {
        outcome: result.map_or_else(|outcome| outcome, Outcome::Succeeded),
        usage: Usage {
            wall_micros: started.elapsed().as_micros().try_into().unwrap_or(u64::MAX),
            peak_memory_bytes,
            ..Usage::default()
        },
        began,
    }
}

/// Asks a component what it is.
pub(crate) fn describe(prepared: &Prepared, spec: AttemptSpec, services: Arc<dyn Services>) -> Result<Description, Failure> {
    let (result, _) = guarded(|| {
        call(prepared, spec, services, CancelToken::new(), Instant::now(), |task, store, _| {
            Ok(Ok(task.eyot_task_task().call_describe(store)?))
        })
    });
    match result {
        Ok(guest) => {
            let GuestDescription {
                name,
                version,
                inputs,
                outputs,
                idempotent,
                deterministic,
                needs,
            } = guest;
            Ok(Description {
                name,
                version,
                inputs,
                outputs,
                idempotent,
                deterministic,
                needs,
            })
        }
        Err(Outcome::Failed(failure)) => Err(failure),
        // Nobody has the token that would cancel it.
        Err(Outcome::Cancelled | Outcome::Succeeded(_)) => Err(Failure::new(FailureKind::Agent, "the description was cut short")),
    }
}

type Called<T> = (Result<T, Outcome>, u64);

/// Keeps a panic of the host to the attempt in which it happens.
fn guarded<T>(run: impl FnOnce() -> Called<T>) -> Called<T> {
    catch_unwind(AssertUnwindSafe(run)).unwrap_or_else(|panic| {
        let message = format!("the host panicked: {}", panic_text(&*panic));
        tracing::error!(message, "attempt cut off by a panic of the host");
        (Err(Outcome::Failed(Failure::new(FailureKind::Agent, message))), 0)
    })
}

fn call<T>(
    prepared: &Prepared,
    spec: AttemptSpec,
    services: Arc<dyn Services>,
    cancel: CancelToken,
    started: Instant,
    body: impl FnOnce(&EyotTask, &mut Store<State>, &[wit::NamedValue]) -> wasmtime::Result<Result<T, Failure>>,
) -> Called<T> {
    let mut spec = spec;
    let inputs = std::mem::take(&mut spec.inputs);
    let limits = spec.limits;
    let bound = match prepared.bound(&spec.grants) {
        Ok(bound) => bound,
        Err(failure) => return (Err(Outcome::Failed(failure)), 0),
    };
    let mut state = State::new(spec, services, Meter::start(limits, cancel, started));
    let inputs = match prepare(&mut state, &prepared.runtime.scratch_dir, inputs) {
        Ok(inputs) => inputs,
        Err(failure) => return (Err(Outcome::Failed(failure)), 0),
    };
    let mut store = match Store::try_new(&prepared.runtime.engine, state) {
        Ok(store) => store,
        Err(e) => {
            return (
                Err(Outcome::Failed(Failure::new(
                    FailureKind::Agent,
                    format!("no store for the attempt: {e:#}"),
                ))),
                0,
            );
        }
    };
    store.limiter(|state| &mut state.meter);
    let transfer = limits
        .output_bytes
        .max(limits.memory_bytes)
        .clamp(MIN_TRANSFER_BYTES, MAX_TRANSFER_BYTES);
    store.set_hostcall_fuel(usize::try_from(transfer).unwrap_or(usize::MAX));
    store.set_max_component_handles(MAX_HANDLES);
    store.set_epoch_deadline(1);
    store.epoch_deadline_callback(|mut store| {
        store.data_mut().check()?;
        Ok(UpdateDeadline::Continue(1))
    });
    let ticking = prepared.runtime.ticker.enter();
    let result = start(bound, &mut store).and_then(|task| body(&task, &mut store, &inputs));
    drop(ticking);
    store.data().log.finish();
    let state = store.data();
    let result = match result {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(failure)) => Err(state.meter.stopped().map_or(Outcome::Failed(failure), crate::limits::Stop::outcome)),
        Err(error) => Err(ended(state, &error)),
    };
    (result, state.meter.peak_memory())
}

fn prepare(state: &mut State, scratch_dir: &Path, inputs: Inputs) -> Result<Vec<wit::NamedValue>, Failure> {
    if state.grants.contains(&Grant::Scratch) {
        state.wasi.with_scratch(scratch_dir).map_err(|e| {
            let kind = if is_full(&e) { FailureKind::DiskFull } else { FailureKind::Agent };
            Failure::new(kind, format!("the scratch folder cannot be made: {e}"))
        })?;
    }
    values::to_guest(inputs, state)
}

fn start(bound: &EyotTaskPre<State>, store: &mut Store<State>) -> wasmtime::Result<EyotTask> {
    bound.instantiate(store)
}

/// What it means that the guest did not return.
fn ended(state: &State, error: &wasmtime::Error) -> Outcome {
    if let Some(stop) = state.meter.stopped() {
        return stop.outcome();
    }
    let tail = state.log.tail();
    let (kind, message) = if error.is::<wasmtime::PoolConcurrencyLimitError>() {
        (FailureKind::Agent, "no room for another instance".to_owned())
    } else if let Some(lost) = error.downcast_ref::<crate::services::StateLost>() {
        (FailureKind::StateLost, lost.to_string())
    } else if let Some(exit) = error.downcast_ref::<wasmtime_wasi::I32Exit>() {
        (FailureKind::Trap, format!("the component exited with {}", exit.0))
    } else if format!("{error:#}").contains(TRANSFER_EXCEEDED) {
        (
            FailureKind::OutputLimit,
            "the component handed too many bytes to the host in one call".to_owned(),
        )
    } else if let Some(panic) = panic_message(&tail) {
        (FailureKind::Trap, panic)
    } else if let Some(trap) = error.downcast_ref::<Trap>() {
        (FailureKind::Trap, trap.to_string())
    } else {
        (FailureKind::Trap, format!("{error:#}"))
    };
    let mut failure = Failure::new(kind, clip(&message, MAX_MESSAGE_BYTES));
    failure.details = Some(tail).filter(|tail| !tail.is_empty());
    Outcome::Failed(failure)
}

/// The message of a Rust guest's panic, from the end of what it printed.
fn panic_message(printed: &str) -> Option<String> {
    let (_, panic) = printed.rsplit_once(" panicked at ")?;
    let (place, message) = panic.split_once('\n').unwrap_or((panic, ""));
    let message = message.split("\nnote: ").next().unwrap_or_default().trim();
    let place = place.trim_end_matches(':');
    Some(if message.is_empty() {
        format!("panicked at {place}")
    } else {
        format!("panicked at {place}: {message}")
    })
}

fn failed(failure: wit::Failure) -> Failure {
    let kind = match failure.kind {
        wit::FailureKind::InvalidInput => FailureKind::InvalidInput,
        wit::FailureKind::Retryable => FailureKind::Retryable,
        wit::FailureKind::Permanent => FailureKind::Permanent,
    };
    let mut ours = Failure::new(kind, clip(&failure.message, MAX_MESSAGE_BYTES));
    ours.details = failure.details.map(|details| clip(&details, MAX_DETAILS_BYTES).to_owned());
    ours
}

fn panic_text(panic: &(dyn Any + Send)) -> &str {
    panic
        .downcast_ref::<String>()
        .map(String::as_str)
        .or_else(|| panic.downcast_ref::<&str>().copied())
        .unwrap_or("no message")
}

/// The floor of [`run`]: start the component with nothing behind its imports, call it with `inputs`, drop it.
///
/// # Errors
/// When the component does not start, calls an import, traps or fails.
pub(crate) fn raw_cycle(prepared: &Prepared, inputs: &[wit::NamedValue]) -> Result<(), Failure> {
    let wrong = |e: &wasmtime::Error| Failure::new(FailureKind::Trap, format!("{e:#}"));
    let bare = prepared
        .bare
        .get_or_init(|| {
            let mut linker = wasmtime::component::Linker::new(&prepared.runtime.engine);
            linker
                .define_unknown_imports_as_traps(&prepared.component)
                .and_then(|()| linker.instantiate_pre(&prepared.component))
                .and_then(EyotTaskPre::new)
                .map_err(|e| wrong(&e))
        })
        .as_ref()
        .map_err(Clone::clone)?;
    let mut store = Store::new(&prepared.runtime.engine, ());
    store.set_epoch_deadline(u64::MAX >> 1);
    let task = bare.instantiate(&mut store).map_err(|e| wrong(&e))?;
    let outputs = task.eyot_task_task().call_run(&mut store, inputs).map_err(|e| wrong(&e))?;
    outputs.map(drop).map_err(failed)
}

/// Inputs for [`raw_cycle`], made once.
pub struct RawInputs(pub(crate) Vec<wit::NamedValue>);

impl RawInputs {
    /// Values without blobs, as the guest gets them.
    #[must_use]
    pub fn new(inputs: &Inputs) -> Self {
        let lower = |(name, value): (&String, &eyot_model::Value)| wit::NamedValue {
            name: name.clone(),
            value: wit::Value::Json(value.to_json().to_string()),
        };
        Self(inputs.iter().map(lower).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::panic_message;

    #[test]
    fn the_message_of_a_panic_is_found_in_what_was_printed() {
        for (printed, expected) in [
            ("", None),
            ("nothing of the kind", None),
            (
                "a line\nthread '<unnamed>' (1) panicked at src/lib.rs:1:2:\nboom\nnote: run with `RUST_BACKTRACE=1`",
                Some("panicked at src/lib.rs:1:2: boom"),
            ),
            (
                "thread 'main' panicked at src/lib.rs:1:2:\ntwo\nlines",
                Some("panicked at src/lib.rs:1:2: two\nlines"),
            ),
            ("thread 'main' panicked at src/lib.rs:1:2", Some("panicked at src/lib.rs:1:2")),
        ] {
            assert_eq!(panic_message(printed).as_deref(), expected);
        }
    }
}

//! What a guest can call. Each capability is a module of its own with the same life:
//!
//! - *init, once per engine*: its functions are put into a [`Linker`] ([`link`]);
//! - *configure, per task*: which linker a component is bound to follows from its grants, in [`crate::Prepared`];
//! - *prepare, per attempt*: its part of [`State`] is made by [`State::new`], as cheaply as can be, the rest when the
//!   guest first asks for it.
//!
//! What is not in the linker is not there: a component that imports it does not start.

pub(crate) mod blobs;
pub(crate) mod checkpoint;
pub(crate) mod clocks;
pub(crate) mod context;
pub(crate) mod inference;
pub(crate) mod io;
pub(crate) mod log;
pub(crate) mod progress;
pub(crate) mod wasi;

use crate::bindings::eyot::task as wit;
use crate::limits::{Meter, Stop};
use crate::{AttemptSpec, Services};
use eyot_model::Grant;
use std::collections::BTreeSet;
use std::sync::Arc;
use wasmtime::component::{HasSelf, Linker, ResourceTable};

/// What belongs to one attempt while its guest runs.
pub(crate) struct State {
    pub(crate) meter: Meter,
    pub(crate) services: Arc<dyn Services>,
    pub(crate) table: ResourceTable,
    pub(crate) grants: BTreeSet<Grant>,
    pub(crate) context: context::Context,
    pub(crate) log: Arc<log::Sink>,
    pub(crate) blobs: blobs::Known,
    pub(crate) progress: progress::Throttle,
    pub(crate) wasi: wasi::Wasi,
}

/// Most handles that a guest holds, and most entries of the resource table behind them. An open blob or file is a
/// descriptor of the agent, which has some thousands for all attempts.
pub(crate) const MAX_HANDLES: usize = 256;

impl State {
    pub(crate) fn new(spec: AttemptSpec, services: Arc<dyn Services>, meter: Meter) -> Self {
        let mut table = ResourceTable::new();
        table.set_max_capacity(MAX_HANDLES);
        Self {
            meter,
            log: Arc::new(log::Sink::new(Arc::clone(&services))),
            services,
            table,
            grants: spec.grants,
            context: context::Context {
                id: spec.id,
                namespace: spec.namespace,
                task: spec.task,
            },
            blobs: blobs::Known::default(),
            progress: progress::Throttle::default(),
            wasi: wasi::Wasi::default(),
        }
    }
}

impl State {
    /// Whether the guest may go on; called at every tick.
    pub(crate) fn check(&mut self) -> Result<(), Stop> {
        self.meter.check()?;
        let limit = self.meter.limits().output_bytes;
        let what = match self.wasi.scratch_bytes() {
            Some(Ok(bytes)) if bytes > limit => format!("{bytes} bytes in the scratch folder"),
            // Whoever cannot measure it cannot bound it.
            Some(Err(error)) => format!("a scratch folder that cannot be measured ({error})"),
            Some(Ok(_)) | None => return Ok(()),
        };
        Err(self.meter.stop_for(Stop::Output { what, limit }))
    }
}

/// Puts the capabilities into a linker: those that every task has, and inference where it is granted.
pub(crate) fn link(linker: &mut Linker<State>, inference: bool) -> wasmtime::Result<()> {
    wit::types::add_to_linker::<State, HasSelf<State>>(linker, |state| state)?;
    wit::log::add_to_linker::<State, HasSelf<State>>(linker, |state| state)?;
    wit::context::add_to_linker::<State, HasSelf<State>>(linker, |state| state)?;
    wit::blobs::add_to_linker::<State, HasSelf<State>>(linker, |state| state)?;
    wit::checkpoint::add_to_linker::<State, HasSelf<State>>(linker, |state| state)?;
    wit::progress::add_to_linker::<State, HasSelf<State>>(linker, |state| state)?;
    if inference {
        wit::inference::add_to_linker::<State, HasSelf<State>>(linker, |state| state)?;
    }
    wasi::link(linker)
}

impl wit::types::Host for State {}

/// Interfaces of `eyot:task` that every task has.
const ALWAYS: [&str; 6] = ["types", "log", "context", "blobs", "checkpoint", "progress"];

/// Whether [`link`] put in what a component imports under this name. Only for the text of an error: the linker itself
/// decides what a component gets.
pub(crate) fn provides(import: &str, inference: bool) -> bool {
    let name = import.split('@').next().unwrap_or(import);
    match name.strip_prefix("eyot:task/") {
        Some("inference") => inference,
        Some(interface) => ALWAYS.contains(&interface),
        None => wasi::INTERFACES.contains(&name),
    }
}

/// The grant that would give an import, or None if no grant does.
pub(crate) fn grant_for(import: &str) -> Option<&'static str> {
    import.starts_with("eyot:task/inference").then_some("inference")
}

//! A component that is ready to start.

use crate::bindings::EyotTaskPre;
use crate::capability::{self, State};
use crate::ticker::Ticker;
use crate::{Error, engine};
use eyot_model::{Digest, Failure, FailureKind, Grant};
use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::{Arc, OnceLock};
use wasmtime::Engine;
use wasmtime::component::{Component, Linker};

/// What all components of a host share: the engine, its clock, and a linker for each set of capabilities.
pub(crate) struct Runtime {
    pub(crate) engine: Engine,
    pub(crate) ticker: Ticker,
    linkers: [Linker<State>; 2],
    /// Where the private folders of attempts are made.
    pub(crate) scratch_dir: PathBuf,
}

impl Runtime {
    pub(crate) fn start(instances: u32, scratch_dir: PathBuf) -> Result<Self, Error> {
        let engine = engine::running(instances)?;
        let linker = |inference| {
            let mut linker = Linker::new(&engine);
            capability::link(&mut linker, inference)
                .map(|()| linker)
                .map_err(|e| Error::Engine(format!("{e:#}")))
        };
        let linkers = [linker(false)?, linker(true)?];
        let ticker = Ticker::start(engine.clone()).map_err(|e| Error::Engine(format!("its clock does not start: {e}")))?;
        Ok(Self {
            engine,
            ticker,
            linkers,
            scratch_dir,
        })
    }
}

/// A compiled component, bound to the capabilities that its tasks are granted. Cheap to start again and again.
pub struct Prepared {
    digest: Digest,
    pub(crate) component: Component,
    pub(crate) runtime: Arc<Runtime>,
    /// Without and with inference; bound when first needed.
    bound: [OnceLock<Result<EyotTaskPre<State>, Failure>>; 2],
    pub(crate) bare: OnceLock<Result<EyotTaskPre<()>, Failure>>,
}

impl Prepared {
    pub(crate) fn new(digest: Digest, component: Component, runtime: Arc<Runtime>) -> Self {
        Self {
            digest,
            component,
            runtime,
            bound: Default::default(),
            bare: OnceLock::new(),
        }
    }

    /// Digest of the component.
    #[must_use]
    pub fn digest(&self) -> Digest {
        self.digest
    }

    /// The component bound to what these grants give.
    pub(crate) fn bound(&self, grants: &BTreeSet<Grant>) -> Result<&EyotTaskPre<State>, Failure> {
        let which = usize::from(grants.contains(&Grant::Inference));
        self.bound[which]
            .get_or_init(|| {
                let bound = self.runtime.linkers[which]
                    .instantiate_pre(&self.component)
                    .and_then(EyotTaskPre::new);
                bound.map_err(|e| self.unlinkable(which == 1, &e))
            })
            .as_ref()
            .map_err(Clone::clone)
    }

    /// Says which import or export is at fault, and which grant would help.
    fn unlinkable(&self, inference: bool, error: &wasmtime::Error) -> Failure {
        let ty = self.component.component_type();
        let missing: Vec<String> = ty
            .imports(&self.runtime.engine)
            .map(|(name, _)| name.to_owned())
            .filter(|name| !capability::provides(name, inference))
            .collect();
        let message = match &missing[..] {
            [] => format!("component {} does not fit: {error:#}", self.digest),
            names => {
                let names: Vec<String> = names
                    .iter()
                    .map(|name| match capability::grant_for(name) {
                        Some(grant) => format!("`{name}` (add `{grant}` to the task's grants)"),
                        None => format!("`{name}` (which no grant gives)"),
                    })
                    .collect();
                format!("component {} imports what it was not granted: {}", self.digest, names.join(", "))
            }
        };
        Failure::new(FailureKind::Component, message)
    }
}

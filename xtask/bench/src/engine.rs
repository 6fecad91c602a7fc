//! A component in the engine of the agents, without an agent: the floor under everything that runs one.

use crate::programs;
use anyhow::Result;
use eyot_model::{Digest, Inputs, Value};
use eyot_wasm_host::{Compiler, Host, HostConfig, Prepared, RawInputs};
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

pub(crate) struct Engine {
    pub(crate) host: Arc<Host>,
    prepared: Arc<Prepared>,
    pub(crate) digest: Digest,
}

impl Engine {
    /// Compiles the no-op task into `folder`, with room for `instances` at the same time.
    pub(crate) async fn start(folder: &Path, instances: u32) -> Result<Self> {
        let wasm = programs::component("noop")?;
        let digest = Digest::of(&std::fs::read(&wasm)?);
        let compiler = Compiler::program(programs::program("eyot-agent")?);
        let host = Host::new(HostConfig::new(folder.join("compiled"), [7; 32], instances, compiler))?;
        let prepared = host.prepare(digest, &wasm).await?;
        Ok(Self { host, prepared, digest })
    }

    /// Seconds of a raw cycle (instantiate, call, drop) on this thread; the mean of `count`.
    pub(crate) fn raw_cycle(&self, count: u32) -> Result<f64> {
        let inputs = RawInputs::new(&Inputs::from([("n".to_owned(), Value::Int(1))]));
        let start = Instant::now();
        for _ in 0..count {
            self.host.raw_cycle(&self.prepared, &inputs).map_err(|f| anyhow::anyhow!("{f}"))?;
        }
        Ok(start.elapsed().as_secs_f64() / f64::from(count))
    }
}

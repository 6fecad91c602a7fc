//! `wasi:clocks`: in whole milliseconds, so that a guest cannot time its neighbours; at full precision where granted.

use super::State;
use crate::wait::until;
use eyot_model::Grant;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use wasmtime::component::Resource;
use wasmtime_wasi::p2::bindings::clocks::{monotonic_clock, wall_clock};
use wasmtime_wasi_io::async_trait;
use wasmtime_wasi_io::poll::{DynPollable, Pollable, subscribe};

const COARSE_NANOS: u64 = 1_000_000;

impl State {
    fn resolution_nanos(&self) -> u64 {
        if self.grants.contains(&Grant::PreciseClock) {
            1
        } else {
            COARSE_NANOS
        }
    }

    fn subscribe_until(&mut self, at: Option<Instant>) -> wasmtime::Result<Resource<DynPollable>> {
        let deadline = self.table.push(Deadline(at))?;
        subscribe(&mut self.table, deadline)
    }
}

/// The guest's clock counts from the start of its attempt.
impl monotonic_clock::Host for State {
    fn now(&mut self) -> wasmtime::Result<monotonic_clock::Instant> {
        let nanos = u64::try_from(self.meter.started().elapsed().as_nanos())?;
        Ok(nanos - nanos % self.resolution_nanos())
    }

    fn resolution(&mut self) -> wasmtime::Result<monotonic_clock::Duration> {
        Ok(self.resolution_nanos())
    }

    fn subscribe_instant(&mut self, when: monotonic_clock::Instant) -> wasmtime::Result<Resource<DynPollable>> {
        self.subscribe_until(self.meter.started().checked_add(Duration::from_nanos(when)))
    }

    fn subscribe_duration(&mut self, length: monotonic_clock::Duration) -> wasmtime::Result<Resource<DynPollable>> {
        self.subscribe_until(Instant::now().checked_add(Duration::from_nanos(length)))
    }
}

impl wall_clock::Host for State {
    fn now(&mut self) -> wasmtime::Result<wall_clock::Datetime> {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let nanos = since.subsec_nanos();
        let resolution = u32::try_from(self.resolution_nanos())?;
        Ok(wall_clock::Datetime {
            seconds: since.as_secs(),
            nanoseconds: nanos - nanos % resolution,
        })
    }

    fn resolution(&mut self) -> wasmtime::Result<wall_clock::Datetime> {
        Ok(wall_clock::Datetime {
            seconds: 0,
            nanoseconds: u32::try_from(self.resolution_nanos())?,
        })
    }
}

/// Ready from an instant on; never, if the guest asked for one beyond the end of time.
struct Deadline(Option<Instant>);

#[async_trait]
impl Pollable for Deadline {
    async fn ready(&mut self) {
        until(self.0).await;
    }
}

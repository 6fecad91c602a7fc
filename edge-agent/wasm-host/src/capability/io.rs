//! `wasi:io`: polling and streams. wasmtime-wasi's own, except for how they wait: within the limits of the attempt and
//! without a runtime of their own.

use super::State;
use crate::wait::block_on;
use wasmtime::component::Resource;
use wasmtime_wasi::p2::bindings::sync::io::{poll, streams};
use wasmtime_wasi_io::bindings::wasi::io::{poll as waiting_poll, streams as waiting};
use wasmtime_wasi_io::poll::DynPollable;
use wasmtime_wasi_io::streams::{DynInputStream, DynOutputStream, StreamError, StreamResult};

/// Waits for a future over the table, or ends the guest.
macro_rules! wait {
    ($state:ident, $call:expr) => {{
        let State { meter, table, .. } = $state;
        #[allow(clippy::redundant_closure_call, reason = "ties the future to the table")]
        block_on(meter, $call(table))
    }};
}

fn trap(stop: crate::limits::Stop) -> StreamError {
    StreamError::Trap(stop.into())
}

impl poll::Host for State {
    fn poll(&mut self, pollables: Vec<Resource<DynPollable>>) -> wasmtime::Result<Vec<u32>> {
        wait!(self, |table| waiting_poll::Host::poll(table, pollables))?
    }
}

impl poll::HostPollable for State {
    fn ready(&mut self, pollable: Resource<DynPollable>) -> wasmtime::Result<bool> {
        wait!(self, |table| waiting_poll::HostPollable::ready(table, pollable))?
    }

    fn block(&mut self, pollable: Resource<DynPollable>) -> wasmtime::Result<()> {
        wait!(self, |table| waiting_poll::HostPollable::block(table, pollable))?
    }

    fn drop(&mut self, pollable: Resource<DynPollable>) -> wasmtime::Result<()> {
        waiting_poll::HostPollable::drop(&mut self.table, pollable)
    }
}

impl streams::Host for State {
    fn convert_stream_error(&mut self, error: StreamError) -> wasmtime::Result<streams::StreamError> {
        Ok(match waiting::Host::convert_stream_error(&mut self.table, error)? {
            waiting::StreamError::LastOperationFailed(cause) => streams::StreamError::LastOperationFailed(cause),
            waiting::StreamError::Closed => streams::StreamError::Closed,
        })
    }
}

impl streams::HostOutputStream for State {
    fn drop(&mut self, stream: Resource<DynOutputStream>) -> wasmtime::Result<()> {
        wait!(self, |table| waiting::HostOutputStream::drop(table, stream))?
    }

    fn check_write(&mut self, stream: Resource<DynOutputStream>) -> StreamResult<u64> {
        waiting::HostOutputStream::check_write(&mut self.table, stream)
    }

    fn write(&mut self, stream: Resource<DynOutputStream>, bytes: Vec<u8>) -> StreamResult<()> {
        waiting::HostOutputStream::write(&mut self.table, stream, bytes)
    }

    fn blocking_write_and_flush(&mut self, stream: Resource<DynOutputStream>, bytes: Vec<u8>) -> StreamResult<()> {
        wait!(self, |table| waiting::HostOutputStream::blocking_write_and_flush(
            table, stream, bytes
        ))
        .map_err(trap)?
    }

    fn blocking_write_zeroes_and_flush(&mut self, stream: Resource<DynOutputStream>, len: u64) -> StreamResult<()> {
        wait!(self, |table| waiting::HostOutputStream::blocking_write_zeroes_and_flush(
            table, stream, len
        ))
        .map_err(trap)?
    }

    fn subscribe(&mut self, stream: Resource<DynOutputStream>) -> wasmtime::Result<Resource<DynPollable>> {
        waiting::HostOutputStream::subscribe(&mut self.table, stream)
    }

    fn write_zeroes(&mut self, stream: Resource<DynOutputStream>, len: u64) -> StreamResult<()> {
        waiting::HostOutputStream::write_zeroes(&mut self.table, stream, len)
    }

    fn flush(&mut self, stream: Resource<DynOutputStream>) -> StreamResult<()> {
        waiting::HostOutputStream::flush(&mut self.table, stream)
    }

    fn blocking_flush(&mut self, stream: Resource<DynOutputStream>) -> StreamResult<()> {
        wait!(self, |table| waiting::HostOutputStream::blocking_flush(table, stream)).map_err(trap)?
    }

    fn splice(&mut self, to: Resource<DynOutputStream>, from: Resource<DynInputStream>, len: u64) -> StreamResult<u64> {
        waiting::HostOutputStream::splice(&mut self.table, to, from, len)
    }

    fn blocking_splice(&mut self, to: Resource<DynOutputStream>, from: Resource<DynInputStream>, len: u64) -> StreamResult<u64> {
        wait!(self, |table| waiting::HostOutputStream::blocking_splice(table, to, from, len)).map_err(trap)?
    }
}

impl streams::HostInputStream for State {
    fn drop(&mut self, stream: Resource<DynInputStream>) -> wasmtime::Result<()> {
        wait!(self, |table| waiting::HostInputStream::drop(table, stream))?
    }

    fn read(&mut self, stream: Resource<DynInputStream>, len: u64) -> StreamResult<Vec<u8>> {
        waiting::HostInputStream::read(&mut self.table, stream, len)
    }

    fn blocking_read(&mut self, stream: Resource<DynInputStream>, len: u64) -> StreamResult<Vec<u8>> {
        wait!(self, |table| waiting::HostInputStream::blocking_read(table, stream, len)).map_err(trap)?
    }

    fn skip(&mut self, stream: Resource<DynInputStream>, len: u64) -> StreamResult<u64> {
        waiting::HostInputStream::skip(&mut self.table, stream, len)
    }

    fn blocking_skip(&mut self, stream: Resource<DynInputStream>, len: u64) -> StreamResult<u64> {
        wait!(self, |table| waiting::HostInputStream::blocking_skip(table, stream, len)).map_err(trap)?
    }

    fn subscribe(&mut self, stream: Resource<DynInputStream>) -> wasmtime::Result<Resource<DynPollable>> {
        waiting::HostInputStream::subscribe(&mut self.table, stream)
    }
}

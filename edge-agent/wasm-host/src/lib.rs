//! Runs tasks: WebAssembly components that keep to `sdk/wit`, each attempt in an instance of its own, under limits, with
//! the capabilities that it was granted and no others.
//!
//! The main type is [`Host`]. [`Host::prepare`] makes a component ready (compiled in a child process, cached on disk
//! under the device's key, bound to its capabilities); [`Host::run`] runs one [`AttemptSpec`] to its [`AttemptEnd`]. What
//! reaches the outside world does so through [`Services`], which the agent's shell implements.
//!
//! The host decides nothing about workflows: it does not retry, does not queue, and keeps no state between attempts. It
//! does not fetch components or blobs, and it checks no signatures. It speaks in serialisable values only, so that it can
//! move into a process of its own.
//!
//! A guest that loops, allocates without end, sleeps, panics or asks for what it was not granted is a failed attempt with
//! its own reason, and nothing else is hurt. Time is checked at every tick of 2 ms, memory at every growth. The files
//! of a task with the grant `scratch` are measured ten times a second, against the limit on outputs.

mod attempt;
mod bindings;
mod blob_store;
mod cache;
mod cancel;
mod capability;
mod compile;
pub mod compile_child;
mod engine;
mod error;
mod host;
mod limits;
mod prepared;
mod scratch;
mod services;
mod ticker;
mod values;
mod wait;

pub use attempt::{AttemptEnd, AttemptSpec, Description, RawInputs};
pub use cancel::CancelToken;
pub use compile::Compiler;
pub use error::Error;
pub use host::{Host, HostConfig};
pub use limits::Limits;
pub use prepared::Prepared;
pub use services::{BlobAccess, BlobError, BlobRead, BlobWrite, LogLevel, ServiceError, Services, StateLost};

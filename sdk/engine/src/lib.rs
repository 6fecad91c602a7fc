//! The state machine of a run: sans-IO, the same on the control plane and on every agent.
//!
//! A [`Run`] is the fold of its events. Whoever owns a task decides what happens to it (its condition, its expansion,
//! its retries) and says so in events; whoever does not own it applies those events and comes to the same state. Time
//! is an argument, there is no randomness but what follows from ids, and nothing here waits, stores or sends.
//!
//! Order of use: any number of inputs ([`Run::handle_event`], [`Run::attempt_ended`], [`Run::admit`], [`Run::cancel`],
//! [`Run::handle_timeout`]), then [`Run::poll_command`] until it is empty, then [`Run::poll_timeout`].
//!
//! What it does not do: admission by resources, leases and epochs, blobs, storage. Those belong to the two roles,
//! `eyot-coordinator` and `eyot-node`.

mod apply;
mod blobs;
mod decide;
mod ending;
mod graph;
mod instance;
mod resolve;
mod resume;
mod retry;
mod rewind;
mod rule;
mod run;
mod scope;
#[cfg(test)]
mod tests;
pub mod view;
mod yielding;

pub use apply::{Applied, Rejected};
pub use graph::{Graph, GraphError};
pub use instance::{Instance, Items, TaskEntry};
pub use resolve::NotWaiting;
pub use rule::{Upstream, Verdict, verdict};
pub use run::{Admitted, Command, Run};

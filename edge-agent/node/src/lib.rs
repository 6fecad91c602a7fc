//! The agent's role around the engine: the fragments that it owns, admission, the outbox, the answers to the cloud.
//!
//! Pure: a [`Node`] is told what happened (a message, the end of an attempt, that the journal was synced) and says what
//! to do in [`Command`]s. It knows no disk, no network, no clock and no wasm; `eyot-agent` is the shell around it, and
//! the simulation runs the same code.
//!
//! Order of durability: everything that the node decides is a [`Record`] with a position. An attempt starts as soon as
//! the records before it are appended (external synchrony); a report leaves only when they are synced and the blobs that
//! it names are where others can get them.

#![cfg_attr(test, allow(clippy::unwrap_used))]

mod admission;
mod blobs;
mod command;
mod disk;
mod dropping;
mod firing;
mod fold;
mod held;
mod lease;
mod link;
mod node;
mod outbox;
mod own_registry;
mod own_runs;
mod permission;
#[cfg(test)]
mod permission_tests;
mod record;
mod recover;
mod renewal;
#[cfg(test)]
mod renewal_tests;
mod saved;
mod telling;
#[cfg(test)]
mod tests;
mod waiting;
mod yielding;
#[cfg(test)]
mod yielding_tests;

pub use command::{Command, Start};
pub use dropping::NotDropped;
pub use firing::{FireError, Fired, Fires, Happening, MarkPlace, TriggerKey, inputs_of, run_of};
pub use fold::{Fold, Key, Write};
pub use node::{Config, Node};
pub use own_registry::{OwnComponent, OwnWorkflow};
pub use own_runs::{OwnPolicy, OwnRun, SubmitError};
pub use record::{Record, RecordError};
pub use recover::{Recovered, Recovery};
pub use waiting::Waiting;

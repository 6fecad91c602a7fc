//! The cloud's role around the engine: which agent owns what under which epoch, what commits, what is told to whom.
//!
//! Pure, like the engine. A [`Coordinator`] is told what happened (a submission, a plan, a message of an agent, the
//! state of a link) and says what to do in [`Command`]s. Order is the contract with the shell: a `Send` or `Ended`
//! that comes after a `Commit` happens only once that change is in the store.
//!
//! A fragment changes hands by its epoch alone: whoever reports under an older one changes nothing. `lease` says how
//! long an agent that is out of contact keeps its fragments, `reassign` finds others for them, `owner` changes hands,
//! `reconcile` answers an
//! agent that is back, `incarnation` tells a device from a copy of its disk.
//!
//! What it does not do: planning (`eyot-planner`), storage, sockets. Those belong to `eyot-control`.

#![cfg_attr(test, allow(clippy::unwrap_used))]

mod assign;
mod command;
mod coordinator;
mod entry;
mod foreign;
mod incarnation;
mod lease;
mod moving;
#[cfg(test)]
mod moving_tests;
mod owner;
mod readable;
mod reassign;
mod reconcile;
mod report;
mod resolve;
mod rewind;
mod saved;
#[cfg(test)]
mod tests;

pub use command::{Change, Command};
pub use coordinator::{Coordinator, Stored, StoredFragment, Submission};
pub use entry::{Entry, FragmentEntry};
pub use foreign::StoredForeign;
pub use incarnation::{Claim, admits};
pub use moving::Moving;
pub use readable::{Readable, literals};
pub use reassign::{Nothing, Which};
pub use resolve::Unresolvable;

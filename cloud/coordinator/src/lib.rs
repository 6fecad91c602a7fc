//! The cloud's role around the engine: which agent owns what under which epoch, what commits, what is told to whom.
//!
//! Pure, like the engine. A [`Coordinator`] is told what happened (a submission, a plan, a message of an agent, the
//! state of a link) and says what to do in [`Command`]s. Order is the contract with the shell: a `Send` or `Ended`
//! that comes after a `Commit` happens only once that change is in the store.
//!
//! What it does not do: planning (`eyot-planner`), storage, sockets. Those belong to `eyot-control`.

mod assign;
mod command;
mod coordinator;
mod entry;
mod reconcile;
mod report;
mod resolve;
mod saved;

pub use command::{Change, Command};
pub use coordinator::{Coordinator, Stored, Submission};
pub use entry::{Entry, FragmentEntry};
pub use resolve::Unresolvable;

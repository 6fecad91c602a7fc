//! The stage of the scenarios: the real programs as processes of their own, with TLS and join tokens, on loopback and in
//! a folder that goes with them.
//!
//! A [`Stage`] holds the folder; a [`Cloud`] is a control plane on it and the client that asks it; an [`Agent`] is a
//! device that has joined. Each is ended by its process id, also by a test that fails. Nothing here waits for a time:
//! [`until`] asks the API until something is true, and gives up in the end with the tail of every log.
//!
//! It knows nothing of what the scenarios prove; those are in `tests/`.

mod agent;
mod broker;
mod cloud;
mod manner;
mod own;
mod process;
mod programs;
mod sides;
mod stage;
mod wait;

pub use agent::{Agent, join};
pub use broker::Broker;
pub use cloud::{Cloud, Place, told};
pub use manner::Manner;
pub use own::runs_of;
pub use process::Process;
pub use programs::{component, program};
pub use sides::{answer_of_both_sides, on_both_sides};
pub use stage::Stage;
pub use wait::{LIMIT, until, until_within};

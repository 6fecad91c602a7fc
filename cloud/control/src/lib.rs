//! The shell of the control plane: store, fleet, API, and the loop around the coordinator.
//!
//! [`Server`] is the whole of it: it opens the data folder, takes up the runs that had not ended, listens for agents
//! (QUIC) and clients (HTTP), and stops cleanly. What happens to runs is decided by `eyot-coordinator`, which this crate
//! feeds with submissions, messages of agents and time, and whose commands it carries out in their order: commit first,
//! then send. Nothing leaves before what it depends on is on disk.
//!
//! What it does not do: plan (`eyot-planner`), read workflow texts (`eyot-spec`), speak QUIC itself (`eyot-link`).

mod access;
#[allow(unused_qualifications, reason = "written by the macro that describes the routes")]
mod api;
mod authority;
pub mod backup;
mod board;
mod clock;
pub mod command;
mod conductor;
pub mod config;
mod crowd;
mod deploying;
mod disk;
mod feed;
mod fleet;
mod grants;
mod integrity;
mod link;
mod listener;
mod metrics;
mod notify;
mod own_runs;
mod registry;
mod retention;
mod server;
pub mod store;
mod store_id;
mod tls;
pub mod tokens;

pub use config::ServeArgs;
pub use server::{Error, Server, TOKEN_FILE};

/// An error and its causes on one line.
pub(crate) fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        let cause_text = cause.to_string();
        // Some errors say their cause themselves.
        if !text.ends_with(&cause_text) {
            text.push_str(": ");
            text.push_str(&cause_text);
        }
        next = cause.source();
    }
    text
}

//! The agent on a device: the shell around `eyot-node`, and the program `eyot-agent`.
//!
//! [`Runtime`] runs attempts and keeps the journal; [`link::keep`] keeps the agent linked to its control plane. What an
//! agent decides is decided in `eyot-node` and `eyot-engine`; nothing of it is decided here.

mod allocation;
pub mod alone;
mod cloud_time;
pub mod config;
pub mod copies;
pub mod device;
pub mod disk_status;
pub mod folder;
mod incarnation;
pub mod link;
pub mod local;
mod log_file;
mod logs;
mod own_logs;
mod quarantine;
mod renewal;
mod runtime;
pub mod triggers;

pub use allocation::keep_lean;
pub use eyot_clock::Clock;
pub use incarnation::Incarnation;
pub use logs::Logs;
pub use runtime::{OpenError, Outbound, Parts, RunHereError, Runtime, Storage, TASK_STACK};

/// An error with its causes on one line.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}

/// Tells systemd that the agent is ready, where it asked (`sd_notify(3)`).
pub fn notify_ready() {
    let Some(path) = std::env::var_os("NOTIFY_SOCKET") else { return };
    let sent = std::os::unix::net::UnixDatagram::unbound().and_then(|socket| match path.to_string_lossy().strip_prefix('@') {
        Some(name) => {
            use std::os::linux::net::SocketAddrExt;
            let address = std::os::unix::net::SocketAddr::from_abstract_name(name)?;
            socket.send_to_addr(b"READY=1", &address)
        }
        None => socket.send_to(b"READY=1", &path),
    });
    if let Err(error) = sent {
        tracing::warn!(%error, "systemd was not told that the agent is ready");
    }
}

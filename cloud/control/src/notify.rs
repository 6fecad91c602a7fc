//! Tells the service manager how this process is doing (the `sd_notify` protocol: one datagram to a socket).

use std::os::unix::net::UnixDatagram;

/// Sends `state`, such as `READY=1`, if a service manager listens. Whoever does not listen misses nothing.
pub(crate) fn send(state: &str) {
    let Some(address) = std::env::var_os("NOTIFY_SOCKET") else {
        return;
    };
    if let Err(error) = try_send(&address, state) {
        tracing::warn!(%error, "the service manager could not be told `{state}`");
    }
}

fn try_send(address: &std::ffi::OsStr, state: &str) -> std::io::Result<()> {
    use std::os::unix::ffi::OsStrExt;
    let socket = UnixDatagram::unbound()?;
    match address.as_bytes().strip_prefix(b"@") {
        // A name in the abstract namespace, which has no file.
        Some(name) => {
            use std::os::linux::net::SocketAddrExt;
            let address = std::os::unix::net::SocketAddr::from_abstract_name(name)?;
            socket.send_to_addr(state.as_bytes(), &address)?;
        }
        None => {
            socket.send_to(state.as_bytes(), address)?;
        }
    }
    Ok(())
}

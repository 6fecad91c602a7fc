//! Notices that this device moved to another network, so that links move along at once instead of after their time-out.

use crate::reach::Client;
use quinn::Connection;
use rustix::net::netlink::SocketAddrNetlink;
use rustix::net::{AddressFamily, RecvFlags, SocketFlags, SocketType, bind, recv, socket_with};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::OwnedFd;
use std::time::Duration;
use tokio::io::unix::AsyncFd;

/// How often the way to the control plane is looked up where the system does not tell of changes, and in any case.
const LOOK: Duration = Duration::from_secs(2);
/// Changes come in bursts: an address goes, another comes, routes follow.
const SETTLE: Duration = Duration::from_millis(30);
/// Groups of netlink: addresses and routes of IPv4 and IPv6, links (`rtnetlink(7)`).
const GROUPS: u32 = 0x1 | 0x10 | 0x40 | 0x100 | 0x400;

/// The system's word that addresses, links or routes changed.
pub(crate) struct Changes(Option<AsyncFd<OwnedFd>>);

impl Changes {
    /// Where the system gives no such word, [`Changes::next`] only looks now and then.
    pub(crate) fn watch() -> Self {
        let open = || -> std::io::Result<AsyncFd<OwnedFd>> {
            // Without a protocol it is NETLINK_ROUTE.
            let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
            let socket = socket_with(AddressFamily::NETLINK, SocketType::RAW, flags, None)?;
            bind(&socket, &SocketAddrNetlink::new(0, GROUPS))?;
            #[allow(
                deprecated,
                reason = "unsound only for what does not own its descriptor; the new way is unsafe code"
            )]
            AsyncFd::new(socket)
        };
        Self(
            open()
                .inspect_err(|error| tracing::debug!(%error, "the system does not tell of network changes; they are looked for"))
                .ok(),
        )
    }

    /// Something changed, or it is time to look. May be dropped and called again.
    pub(crate) async fn next(&mut self) {
        let Some(socket) = &self.0 else {
            return tokio::time::sleep(LOOK).await;
        };
        tokio::select! {
            ready = socket.readable() => {
                let Ok(mut ready) = ready else {
                    self.0 = None;
                    return;
                };
                tokio::time::sleep(SETTLE).await;
                let mut buffer = [0; 8 << 10];
                // What exactly changed is looked up; an overflow means the same as a message.
                while let Ok(_) | Err(rustix::io::Errno::NOBUFS | rustix::io::Errno::INTR) =
                    recv(socket.get_ref(), &mut buffer, RecvFlags::DONTWAIT)
                {}
                ready.clear_ready();
            }
            () = tokio::time::sleep(LOOK) => {}
        }
    }
}

/// Moves the endpoint to a new socket whenever the local address on the way to the peer changes, until the connection
/// ends. QUIC carries the connection over: the control plane sees it come from another address and checks that.
pub(crate) async fn follow(endpoint: Client, connection: Connection) {
    let mut changes = Changes::watch();
    let mut local = local_ip_towards(connection.remote_address());
    loop {
        tokio::select! {
            _ = connection.closed() => return,
            () = changes.next() => {}
        }
        let now = local_ip_towards(connection.remote_address());
        if now == local {
            continue;
        }
        tracing::info!(?now, before = ?local, "the network changed; the link moves along");
        local = now;
        if now.is_some()
            && let Err(error) = endpoint.rebind()
        {
            tracing::warn!(%error, "cannot move to the new network");
        }
    }
}

/// The local addresses on the way to those of the control plane that are given as numbers. Where they are names, or there
/// is no way, a change shows as soon as the local address towards the outside does.
pub(crate) fn way(addresses: &[String]) -> Vec<Option<IpAddr>> {
    // From the blocks that are set aside for documentation: they are reached by the default route.
    let outside = ["192.0.2.1:9".to_owned(), "[2001:db8::1]:9".to_owned()];
    addresses
        .iter()
        .chain(&outside)
        .filter_map(|a| a.parse().ok())
        .map(local_ip_towards)
        .collect()
}

/// Which local address the system would use; nothing is sent. None while there is no way.
fn local_ip_towards(peer: SocketAddr) -> Option<IpAddr> {
    let peer = SocketAddr::new(peer.ip().to_canonical(), peer.port());
    let any: SocketAddr = match peer {
        SocketAddr::V4(_) => (Ipv4Addr::UNSPECIFIED, 0).into(),
        SocketAddr::V6(_) => (Ipv6Addr::UNSPECIFIED, 0).into(),
    };
    let socket = std::net::UdpSocket::bind(any).ok()?;
    socket.connect(peer).ok()?;
    Some(socket.local_addr().ok()?.ip())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn waiting_for_changes_ends_and_begins_again() {
        let mut changes = Changes::watch();
        for _ in 0..2 {
            // Nothing changes here, so it is the time to look that comes.
            tokio::time::timeout(LOOK * 20, changes.next()).await.unwrap();
        }
    }

    #[test]
    fn the_way_to_this_machine_is_this_machine() {
        let peer = SocketAddr::from((Ipv4Addr::LOCALHOST, 9));
        assert_eq!(local_ip_towards(peer), Some(Ipv4Addr::LOCALHOST.into()));
        let mapped = SocketAddr::from((Ipv4Addr::LOCALHOST.to_ipv6_mapped(), 9));
        assert_eq!(local_ip_towards(mapped), Some(Ipv4Addr::LOCALHOST.into()));
    }
}

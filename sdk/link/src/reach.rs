//! From the control plane's names to a connection: the first address that answers.

use crate::socket::Heard;
use crate::{CLOUD_NAME, Error, transport};
use quinn::{ClientConfig, Connection, Endpoint};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;
use tokio::task::JoinSet;
use tokio::time::Instant;

/// Time for all attempts of a round.
const ROUND: Duration = Duration::from_secs(8);
/// While nothing came back, another attempt begins after so long: the next address, or the same one again, because the
/// first packet may have gone where there was no way yet. Once every address was tried, each attempt waits for twice as
/// long as the one before: a control plane may be silent because it has too much to do.
const STAGGER: Duration = Duration::from_secs(1);
/// Attempts in a round, at least one for each address.
const MOST: usize = 4;
/// Time to look one name up.
const RESOLVE: Duration = Duration::from_secs(5);

/// This side's endpoint. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Client {
    pub(crate) endpoint: Endpoint,
    heard: Heard,
}

impl Client {
    pub(crate) fn open() -> Result<Self, Error> {
        let heard = Heard::default();
        let endpoint = transport::client((Ipv6Addr::UNSPECIFIED, 0).into(), heard.clone())
            // A system without IPv6.
            .or_else(|_| transport::client((Ipv4Addr::UNSPECIFIED, 0).into(), heard.clone()))?;
        Ok(Self { endpoint, heard })
    }

    /// A new socket. Connections say so to their peers at once.
    pub(crate) fn rebind(&self) -> Result<(), Error> {
        let any = match self.endpoint.local_addr() {
            Ok(addr) if addr.is_ipv4() => SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0)),
            _ => SocketAddr::from((Ipv6Addr::UNSPECIFIED, 0)),
        };
        transport::rebind(&self.endpoint, any, self.heard.clone())
    }
}

/// How to go about it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Manner {
    /// Which of the addresses goes first: another one in each round.
    pub(crate) first: usize,
    /// Tries the same address several times in a round.
    pub(crate) eager: bool,
}

/// Looks the names up anew, races the handshakes, and gives the first connection whose peer is the control plane. The
/// others are let go.
///
/// # Errors
/// Of the attempt that failed last; [`Error::TimedOut`] if nothing came back.
pub(crate) async fn reach(client: &Client, addresses: &[String], config: &ClientConfig, manner: Manner) -> Result<Connection, Error> {
    let targets = resolve(addresses).await?;
    let most = if manner.eager { targets.len().max(MOST) } else { targets.len() };
    let mut order = targets.iter().copied().cycle().skip(manner.first % targets.len()).take(most);
    let silent = client.heard.count();
    let mut attempts = JoinSet::new();
    let mut begin = |attempts: &mut JoinSet<Result<Connection, Error>>| {
        let Some(addr) = order.next() else { return false };
        attempts.spawn(attempt(client.endpoint.clone(), addr, config.clone()));
        true
    };
    let mut more = begin(&mut attempts);
    let (mut began, mut failed, mut last) = (1, 0, Error::TimedOut);
    let end = Instant::now() + ROUND;
    let mut stagger = STAGGER;
    let mut next = Instant::now() + stagger;
    loop {
        tokio::select! {
            Some(done) = attempts.join_next() => {
                match done {
                    Ok(Ok(connection)) => return Ok(connection),
                    Ok(Err(error)) => last = error,
                    Err(error) => last = Error::Connection(error.to_string()),
                }
                failed += 1;
                // Refused, not lost: an address that was not tried yet is tried at once, none a second time.
                if failed < targets.len() {
                    more = begin(&mut attempts);
                    began += 1;
                    next = Instant::now() + stagger;
                }
                if attempts.is_empty() {
                    return Err(last);
                }
            }
            () = tokio::time::sleep_until(next), if more => {
                if began >= targets.len() {
                    stagger *= 2;
                }
                next = Instant::now() + stagger;
                // A peer that is slow is not made slower.
                if client.heard.count() == silent {
                    more = begin(&mut attempts);
                    began += 1;
                }
            }
            () = tokio::time::sleep_until(end) => return Err(last),
        }
    }
}

async fn resolve(addresses: &[String]) -> Result<Vec<SocketAddr>, Error> {
    let (mut targets, mut last) = (Vec::new(), Error::NoAddress);
    for address in addresses {
        let looked_up = tokio::time::timeout(RESOLVE, tokio::net::lookup_host(address.as_str())).await;
        match looked_up.unwrap_or_else(|_| Err(std::io::ErrorKind::TimedOut.into())) {
            Ok(found) => targets.extend(found),
            Err(source) => {
                last = Error::Address {
                    address: address.clone(),
                    source,
                };
            }
        }
    }
    targets.dedup();
    if targets.is_empty() { Err(last) } else { Ok(targets) }
}

async fn attempt(endpoint: Endpoint, addr: SocketAddr, config: ClientConfig) -> Result<Connection, Error> {
    let connecting = endpoint.connect_with(config, addr, CLOUD_NAME);
    Ok(connecting.map_err(|e| Error::Connection(e.to_string()))?.await?)
}

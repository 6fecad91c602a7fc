//! Who decides about agents: the control plane's store.

use crate::{Secret, Serial};
use eyot_model::{AgentId, Timestamp};
use std::net::SocketAddr;
use std::pin::Pin;

/// What an [`Authority`] answers later.
pub type Future<'a, T> = Pin<Box<dyn std::future::Future<Output = T> + Send + 'a>>;

/// Where an agent stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    Allowed,
    Revoked,
    /// Never heard of, or removed.
    Unknown,
}

/// A device with a token asks to become an agent. Its possession of the key is proven.
#[derive(Clone, Copy, Debug)]
pub struct Enrolment<'a> {
    /// Look it up by [`Secret::digest`].
    pub secret: &'a Secret,
    /// Follows from the device's key.
    pub agent: AgentId,
    /// The name that the device would like to have: at most 128 bytes, otherwise as it came.
    pub name: &'a str,
    pub peer: SocketAddr,
}

/// The certificate that an agent gets, and its name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Admission {
    /// From [`Serial::random`]; keep it, so that it can be revoked.
    pub serial: Serial,
    pub not_after: Timestamp,
    /// What the agent is called: the device takes it for its own.
    pub name: String,
}

/// Decides who may join and who may work.
pub trait Authority: Send + Sync + 'static {
    /// Asked in every handshake, and again before a link is given out. Must answer from memory.
    fn check(&self, agent: AgentId, serial: Serial) -> Standing;

    /// Uses a token up and registers the agent, in one transaction. The same agent with the same token again is
    /// admitted again, because the answer to the first time may have been lost. `Err` is the reason, for the device's
    /// operator and for the log: it says whether the token is unknown, used or over its time.
    fn enrol<'a>(&'a self, enrolment: Enrolment<'a>) -> Future<'a, Result<Admission, String>>;

    /// Gives a known agent its next certificate. `serial` is the one that it showed.
    fn renew(&self, agent: AgentId, serial: Serial) -> Future<'_, Result<Admission, String>>;
}

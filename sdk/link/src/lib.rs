//! The link between control plane and agents: QUIC with mutual TLS 1.3, framed messages, heart-beats, blobs.
//!
//! The control plane has a [`Ca`] and a [`Server`], whose decisions are an [`Authority`]'s; a device calls [`join`] with
//! a [`JoinToken`] to get its [`Identity`], and a [`Dialer`] keeps it linked. On both sides a link that came up is a
//! [`Live`]: a [`Link`] to send with and the [`Events`] of what comes in. [`BlobService`], [`fetch`] and [`push`] move
//! blobs between stores over the same connection.
//!
//! This crate decides nothing about work: it does not know what messages mean, but for heart-beats. It keeps nothing on
//! disk but an identity. Its runtime's workers must not be blocked, or heart-beats stop and the peer takes notice.

mod backoff;
mod ca;
mod certificate;
mod clock;
mod descriptors;
mod dialer;
mod error;
mod file;
pub mod floor;
mod frames;
mod genuine;
mod heartbeat;
mod identity;
mod link;
mod network;
mod pulse;
mod rates;
mod reach;
mod server;
mod socket;
mod throttle;
mod tls;
mod token;
mod transfer;
mod transport;

#[cfg(test)]
mod tests;

pub use backoff::Backoff;
pub use ca::{CLOUD_NAME, Ca, KeyedChain, SigningRequest};
pub use certificate::{Credential, Serial, Validity, agent_of_key};
pub use clock::Clock;
pub use descriptors::allow_descriptors;
pub use dialer::{Dialer, DialerOptions, Joined, join};
pub use error::{Error, Kind};
pub use identity::{AgentKey, Identity};
pub use link::{AgentLink, CloudLink, Events, Happening, Link, Live, Peer};
pub use rates::Bandwidth;
pub use server::{Admission, Authority, Enrolment, Future, Options, Server, Standing};
pub use token::{JoinToken, Secret};
pub use transfer::{BlobPolicy, BlobService, Moved, TransferError, fetch, push};

//! Content-addressed bytes on plain files: the store that the control plane and every agent keep their blobs in.
//!
//! [`Store`] is the main type: a folder in which each blob is a file named by its BLAKE3 digest. A blob is *whole* from
//! the moment that it has its name. It is *durable* after [`Store::sync`] (or from the beginning, with
//! [`Store::put_durable`] and with blobs that arrived from elsewhere); until then it lies in a folder of its own, whose
//! files are hashed again at the next start, so that no crash, not even a power loss, leaves a wrong blob behind a right
//! name. A file that is found to be corrupt is moved to `quarantine/` and reported, never served.
//!
//! [`Outline`] is the upper part of a blob's BLAKE3 tree, one chaining value for each MiB. With it a blob that comes from
//! elsewhere ([`Arrival`]) is verified range by range before anything is written, and goes on where it was cut.
//! [`Source`] reads a blob while it is still arriving.
//!
//! Calls block on the disk unless they are `async`; call them from a thread that may. One process uses a folder at a
//! time. This crate moves nothing over a network (`eyot-link` does), decides nothing about who may read what, and counts
//! no references: [`Store::sweep`] and [`Store::evict`] are told what is alive.

mod arrival;
mod blob;
mod durability;
mod error;
mod eviction;
mod layout;
mod outline;
mod soundness;
mod source;
mod store;
mod sweep;
mod writer;

#[cfg(test)]
mod tests;

pub use arrival::{Arrival, Begin};
pub use blob::Blob;
pub use error::Error;
pub use outline::{Outline, RANGE_LEN};
pub use source::Source;
pub use store::{Store, Usage};
pub use sweep::Swept;
pub use writer::{Stored, Writer};

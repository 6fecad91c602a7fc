//! Journal and stores under everything that a disk can do to them.
#![allow(clippy::unwrap_used)]

mod cuts;
mod disks;
mod model;
mod recovery;
mod service;
mod sled_store;
mod space;
mod stores;
mod world;

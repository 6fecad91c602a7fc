//! Control plane and agents on loopback.

mod blobs;
mod cloud;
mod joining;
mod links;
mod log;
mod refusals;

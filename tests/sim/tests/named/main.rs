//! The event sequences that the design guards against, each written down step by step, with what has to come of it.
//!
//! Run 1 is the run, machine 0 is agent 1. Times are in microseconds.

#![allow(clippy::unwrap_used)]

mod attempts;
mod changes;
mod copies;
mod disk;
mod leases;
mod links;
mod states;
mod triggers;

//! A deterministic simulation of one cloud and several agents.
//!
//! The real coordinator, node and engine, and the real journal with its recovery, over a simulated clock, network and disk.
//! Messages are delayed, lost with their link and late after it; machines lose power and with it what was not synced; disks
//! fill, fail and turn bits over; processes stand still; the control plane is killed. Everything follows from one seed, so a
//! failing seed replays exactly. [`outside`] remembers whatever left a machine, and nothing of it may be taken back. After
//! the weather the world is left in peace, and [`check`] holds what came of it against a reference model: what must have
//! happened to every task whatever the weather. `docs/verification.md` tells it at length.

pub mod blobs;
pub mod campaign;
pub mod check;
pub mod clocks;
pub mod cloud;
pub mod compare;
pub mod copies;
pub mod device;
pub mod disk;
pub mod happening;
pub mod model;
pub mod mutant;
pub mod outside;
pub mod own;
pub mod random;
pub mod saving;
pub mod scenario;
pub mod store;
pub mod task;
mod troubles;
mod turns;
pub mod weather;
pub mod world;

pub use campaign::{Found, Seeds};
pub use mutant::Mutant;
pub use world::{Report, Setup, World};

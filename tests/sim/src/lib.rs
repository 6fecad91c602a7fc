//! A deterministic simulation of one cloud and several agents.
//!
//! The real coordinator, node and engine, with a simulated clock, network, store and journal: messages are delayed and
//! lost with their link, agents lose power, the control plane is killed. Everything follows from one seed, so a failing
//! seed replays exactly. After the chaos the world is left in peace and [`check`] holds the result against a reference
//! model: what must have happened to every task whatever the weather.

pub mod check;
pub mod cloud;
pub mod device;
pub mod model;
pub mod random;
pub mod scenario;
pub mod world;

pub use world::{Report, World};

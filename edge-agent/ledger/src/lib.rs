//! Between the node and its disk: how the node's records stand in the journal, how they are folded into the checkpoint
//! store, how they are read back, and that nobody acts on a decision before it is written down.
//!
//! Neither `eyot-node`, which knows no disk, nor `eyot-checkpoint`, which knows no records, can say it. The agent and the
//! simulation both use it, so that what the simulation recovers is what a device recovers.

mod contents;
mod gate;
mod journal;

pub use contents::{Records, durable, read};
pub use gate::{Gate, Journal};
pub use journal::{NodeFold, TREE, to_journal};

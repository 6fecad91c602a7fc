//! The proof on the real programs: `eyot-cloud` and `eyot-agent` as processes of their own, killed, stopped, cut off,
//! delayed, starved of disk, with bits flipped and the power gone, while runs are under way.
//!
//! Each group is one kind of fault ([`GROUPS`]). It makes a world ([`world`]), puts a load on it ([`load`]), does harm by
//! a seed that is printed, and asks whether the invariant held ([`invariant`]): every accepted run ended as it should, or
//! waits with a named cause; each instance was committed once; nothing that an observer saw was taken back; nothing
//! acknowledged was lost. What it measured are [`figure::Figure`]s.
//!
//! The stage, the processes and the probe task are those of `tests/scenarios`. It knows nothing of the programs but their
//! command lines, their API and their folders.

pub mod figure;
pub mod group;
pub mod invariant;
pub mod load;
pub mod network;
pub mod recipe;
pub mod relay;
pub mod room;
pub mod world;

mod checkpoint;
mod cut;
mod flip;
mod full_disk;
mod kill;
mod power;
mod reboot;
mod sleep;
mod storm;
mod triggers;
mod weather;

pub use figure::Figure;
pub use group::{GROUPS, Group, Setting};

//! Time as the shells of the agent and of the control plane count it.
//!
//! [`Clock`] gives two times. [`Clock::now`] is the *steady* time, which everything that waits or is ordered uses: within
//! a boot it follows the monotonic clock that counts suspend, over restarts of the process too, so that a clock that is
//! set neither expires a timer nor loses one. [`Clock::wall`] is what the system's clock says, for people, for cron and
//! for the validity of certificates. Both are `max(system, build, last seen)` when a machine starts, so that a device
//! without a battery clock does not go back to 1970.
//!
//! A stored timer therefore needs no clock of its own: the timeline that it is on keeps the boot's id, its monotonic
//! clock and the time that this was, in one small file ([`Mark`]), and gives every stored instant its meaning in the same
//! boot (monotonic) and in the next one (wall time). The rules are in [`Timeline`], which knows no clock.

mod clock;
mod keeper;
mod source;
mod timeline;

pub use clock::Clock;
pub use keeper::Keeper;
pub use source::{Source, System};
pub use timeline::{BUILT, BootId, Mark, Origin, Reading, Rest, SKEW_LIMIT, Timeline};

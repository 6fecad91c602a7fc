//! The agent's clock: wall time at the start, then the monotonic clock that counts suspend, so that a clock that is set
//! while the agent runs neither expires a timer nor loses one.

use eyot_model::Timestamp;
use rustix::time::{ClockId, clock_gettime};
use std::time::{SystemTime, UNIX_EPOCH};

#[derive(Clone, Copy, Debug)]
pub struct Clock {
    wall_micros: u64,
    boot_micros: u64,
}

impl Clock {
    #[must_use]
    pub fn start() -> Self {
        let wall = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_micros());
        Self {
            wall_micros: u64::try_from(wall).unwrap_or(u64::MAX),
            boot_micros: boot_micros(),
        }
    }

    #[must_use]
    pub fn now(&self) -> Timestamp {
        Timestamp(self.wall_micros + boot_micros().saturating_sub(self.boot_micros))
    }
}

fn boot_micros() -> u64 {
    let time = clock_gettime(ClockId::Boottime);
    u64::try_from(time.tv_sec).unwrap_or(0) * 1_000_000 + u64::try_from(time.tv_nsec).unwrap_or(0) / 1_000
}

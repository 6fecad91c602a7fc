//! Where the readings come from.

use crate::timeline::{BootId, Reading};
use eyot_model::Timestamp;
use rustix::time::{ClockId, clock_gettime};
use std::time::{SystemTime, UNIX_EPOCH};

/// The clocks of a machine.
pub trait Source: Send + Sync {
    /// Microseconds since the machine started, time in suspend included.
    fn since_boot_micros(&self) -> u64;
    /// What the machine takes for the time of day.
    fn wall(&self) -> Timestamp;
    fn boot(&self) -> BootId;

    fn reading(&self) -> Reading {
        Reading {
            boot: self.boot(),
            since_boot_micros: self.since_boot_micros(),
            wall: self.wall(),
        }
    }
}

/// The clocks of this machine.
#[derive(Clone, Copy, Debug)]
pub struct System {
    boot: BootId,
}

impl System {
    #[must_use]
    pub fn new() -> Self {
        Self { boot: boot_id() }
    }
}

impl Default for System {
    fn default() -> Self {
        Self::new()
    }
}

impl Source for System {
    fn since_boot_micros(&self) -> u64 {
        let time = clock_gettime(ClockId::Boottime);
        u64::try_from(time.tv_sec).unwrap_or(0) * 1_000_000 + u64::try_from(time.tv_nsec).unwrap_or(0) / 1_000
    }

    fn wall(&self) -> Timestamp {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Timestamp(u64::try_from(since.as_micros()).unwrap_or(u64::MAX))
    }

    fn boot(&self) -> BootId {
        self.boot
    }
}

/// Where the system does not tell, each start counts as a boot of its own: stored timers go by wall time then.
fn boot_id() -> BootId {
    let text = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    BootId::parse(text.trim()).unwrap_or_else(|| {
        tracing::warn!("the system does not tell the id of this boot: timers go by wall time over a restart");
        BootId(u128::from(std::process::id()))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_machine_tells_its_boot_and_its_clocks_advance() {
        let system = System::new();
        assert_eq!(system.boot(), System::new().boot());
        let before = system.since_boot_micros();
        std::thread::sleep(std::time::Duration::from_millis(2));
        assert!(system.since_boot_micros() >= before + 2_000);
        assert!(system.wall() > Timestamp(0));
    }
}

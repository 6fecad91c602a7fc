//! The clocks of a machine: its system's clock, which may be wrong and is set now and then, and the steady time that the
//! product makes of it over restarts and boots.

use eyot_clock::{BUILT, BootId, Mark, Reading, Timeline};
use eyot_model::Timestamp;

#[derive(Debug, Default)]
pub struct Clocks {
    /// The system's clock against the true time, in microseconds.
    wall_micros: i64,
    boot: u128,
    /// The true time of the boot; None while the machine has no power.
    booted_at: Option<Timestamp>,
    /// What is kept on the disk.
    mark: Option<Mark>,
    timeline: Option<Timeline>,
}

impl Clocks {
    /// A process starts, in the first place after a boot or in a later one.
    pub fn begin(&mut self, now: Timestamp) {
        if self.booted_at.is_none() {
            self.boot += 1;
            self.booted_at = Some(now);
        }
        let (timeline, _) = Timeline::resume(self.mark, self.reading(now), BUILT);
        self.timeline = Some(timeline);
        self.keep(now);
    }

    /// The machine loses its power.
    pub fn power_off(&mut self) {
        self.booted_at = None;
    }

    /// Somebody sets the system's clock: it is so far ahead of the true time, or behind it, from now on.
    pub fn set(&mut self, wall_micros: i64) {
        self.wall_micros = wall_micros;
    }

    /// The time is written down.
    pub fn keep(&mut self, now: Timestamp) {
        self.mark = self.timeline.map(|timeline| timeline.mark(self.reading(now)));
    }

    /// Steady time.
    #[must_use]
    pub fn now(&self, now: Timestamp) -> Timestamp {
        let since_boot = self.since_boot(now);
        self.timeline.map_or(now, |timeline| timeline.now(since_boot))
    }

    /// The true time of an instant of steady time.
    #[must_use]
    pub fn when(&self, steady: Timestamp) -> Timestamp {
        let beginning = self.booted_at.unwrap_or_default();
        let at_boot = self.now(beginning);
        Timestamp(beginning.0.saturating_add(steady.0.saturating_sub(at_boot.0)))
    }

    fn since_boot(&self, now: Timestamp) -> u64 {
        now.0.saturating_sub(self.booted_at.unwrap_or(now).0)
    }

    fn reading(&self, now: Timestamp) -> Reading {
        Reading {
            boot: BootId(self.boot),
            since_boot_micros: self.since_boot(now),
            wall: Timestamp(now.0.saturating_add_signed(self.wall_micros)),
        }
    }
}

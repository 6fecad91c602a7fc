//! The rules of time, without a clock.

use eyot_model::{Millis, Timestamp};
use serde::{Deserialize, Serialize};
use std::fmt;

/// No clock of a machine that runs this program is right before this: 1 May 2026, or what `SOURCE_DATE_EPOCH` said when
/// it was built.
pub const BUILT: Timestamp = Timestamp(built_seconds(option_env!("SOURCE_DATE_EPOCH")) * 1_000_000);
/// Clocks that differ by more are worth a warning.
pub const SKEW_LIMIT: Millis = Millis(30_000);

const fn built_seconds(given: Option<&str>) -> u64 {
    const RELEASED: u64 = 1_777_593_600;
    let Some(text) = given else { return RELEASED };
    let (bytes, mut at, mut seconds) = (text.as_bytes(), 0, 0);
    while at < bytes.len() {
        if !bytes[at].is_ascii_digit() || at > 11 {
            return RELEASED;
        }
        seconds = seconds * 10 + (bytes[at] - b'0') as u64;
        at += 1;
    }
    if seconds > RELEASED { seconds } else { RELEASED }
}

/// One start of a machine.
#[derive(Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct BootId(pub u128);

impl BootId {
    /// As the system writes it: hexadecimal digits, with or without hyphens.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let digits: String = text.chars().filter(|c| *c != '-').collect();
        (digits.len() == 32)
            .then(|| u128::from_str_radix(&digits, 16).ok())
            .flatten()
            .map(Self)
    }
}

impl fmt::Display for BootId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

impl fmt::Debug for BootId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl From<BootId> for String {
    fn from(id: BootId) -> Self {
        id.to_string()
    }
}

impl TryFrom<String> for BootId {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        Self::parse(&text).ok_or("a boot id has 32 hexadecimal digits")
    }
}

/// All clocks of a machine at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reading {
    pub boot: BootId,
    pub since_boot_micros: u64,
    pub wall: Timestamp,
}

/// A moment on the timeline, as it is kept over restarts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Mark {
    pub boot: BootId,
    pub since_boot_micros: u64,
    /// Steady time.
    pub at: Timestamp,
    /// Wall time is not before this, whatever the system says.
    pub floor: Timestamp,
}

/// Where a timeline got its beginning from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// The machine is still up since the mark: the monotonic clock alone.
    SameBoot,
    /// The system's clock.
    SystemClock,
    /// The system's clock was behind the time that was last seen here: no battery clock, or one that is wrong.
    LastSeen,
    /// The system's clock was behind the program itself.
    Build,
}

/// What may be done about a clock that was set, while a program is at rest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rest {
    /// The time as another machine has it. Where the system's clock agrees with it, it is believed even if it is behind
    /// what was last seen here.
    pub witness: Option<Timestamp>,
    /// Nobody holds a time of this program that would be in the future then.
    pub may_go_back: bool,
    /// Longest step forward: what is kept for a while ages by it.
    pub most: Millis,
}

/// Steady time within a boot, and how it begins in the next one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timeline {
    boot: BootId,
    /// Steady time is the time since boot and this.
    offset_micros: u64,
    floor: Timestamp,
}

impl Timeline {
    /// The timeline that goes on from `mark`. A monotonic clock that went back (a restored machine) is a new boot.
    #[must_use]
    pub fn resume(mark: Option<Mark>, now: Reading, built: Timestamp) -> (Self, Origin) {
        let same = mark.filter(|m| m.boot == now.boot && m.since_boot_micros <= now.since_boot_micros);
        if let Some(mark) = same {
            let timeline = Self {
                boot: now.boot,
                offset_micros: mark.at.0.saturating_sub(mark.since_boot_micros),
                floor: mark.floor.max(built),
            };
            return (timeline, Origin::SameBoot);
        }
        let seen = mark.map_or(Timestamp(0), |m| m.at.max(m.floor));
        let floor = built.max(seen);
        let origin = if now.wall >= floor {
            Origin::SystemClock
        } else if seen >= built {
            Origin::LastSeen
        } else {
            Origin::Build
        };
        let timeline = Self {
            boot: now.boot,
            offset_micros: now.wall.max(floor).0.saturating_sub(now.since_boot_micros),
            floor,
        };
        (timeline, origin)
    }

    /// Steady time.
    #[must_use]
    pub fn now(&self, since_boot_micros: u64) -> Timestamp {
        Timestamp(since_boot_micros.saturating_add(self.offset_micros))
    }

    /// The system's clock, unless it is behind what is known to be over; then steady time.
    #[must_use]
    pub fn wall(&self, now: Reading) -> Timestamp {
        if now.wall < self.floor {
            self.now(now.since_boot_micros)
        } else {
            now.wall
        }
    }

    /// By how much wall time is ahead of steady time, in milliseconds: the system's clock was set meanwhile.
    #[must_use]
    pub fn step_millis(&self, now: Reading) -> i64 {
        self.wall(now).millis_after(self.now(now.since_boot_micros))
    }

    /// Takes wall time over as steady time if they differ by more than [`SKEW_LIMIT`]. True if it did.
    ///
    /// To be called only at rest, when nothing waits and nothing unfinished has a time: then a jump harms nobody.
    pub fn rebase(&mut self, now: Reading, rest: Rest, built: Timestamp) -> bool {
        let agrees = |w: Timestamp| w.0.abs_diff(now.wall.0) <= SKEW_LIMIT.0 * 1_000;
        let mut next = *self;
        if rest.witness.is_some_and(agrees) && now.wall >= built {
            next.floor = next.floor.min(now.wall);
        }
        let step = next.step_millis(now);
        if step.unsigned_abs() <= SKEW_LIMIT.0 || (step < 0 && !rest.may_go_back) || (step > 0 && step.unsigned_abs() > rest.most.0) {
            return false;
        }
        next.offset_micros = next.wall(now).0.saturating_sub(now.since_boot_micros);
        *self = next;
        true
    }

    /// What to keep of the present moment.
    #[must_use]
    pub fn mark(&self, now: Reading) -> Mark {
        Mark {
            boot: self.boot,
            since_boot_micros: now.since_boot_micros,
            at: self.now(now.since_boot_micros),
            floor: self.floor,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000_000;
    const DAY: u64 = 86_400 * SECOND;
    const START: u64 = 2_000_000_000 * SECOND;
    const BUILD: Timestamp = Timestamp(1_900_000_000 * SECOND);

    fn reading(boot: u128, since_boot: u64, wall: u64) -> Reading {
        Reading {
            boot: BootId(boot),
            since_boot_micros: since_boot,
            wall: Timestamp(wall),
        }
    }

    fn rest(witness: Option<u64>) -> Rest {
        Rest {
            witness: witness.map(Timestamp),
            may_go_back: true,
            most: Millis(u64::MAX),
        }
    }

    fn begun() -> Timeline {
        Timeline::resume(None, reading(1, 50 * SECOND, START), BUILD).0
    }

    #[test]
    fn a_clock_that_is_set_by_a_day_changes_no_duration() {
        let timeline = begun();
        let retry_due = Timestamp(START + 60 * SECOND);
        for wall in [START + DAY, START - DAY] {
            let now = reading(1, 51 * SECOND, wall);
            assert_eq!(timeline.now(now.since_boot_micros), Timestamp(START + SECOND), "neither fires …");
            assert!(timeline.now(110 * SECOND) >= retry_due, "… nor is lost");
        }
        let ahead = reading(1, 51 * SECOND, START + DAY + SECOND);
        assert_eq!(timeline.wall(ahead), ahead.wall, "cron follows the system's clock");
        assert_eq!(timeline.step_millis(ahead), 86_400_000);
    }

    #[test]
    fn suspend_counts() {
        // The monotonic clock that is read here goes on in suspend, and so does the wall.
        let timeline = begun();
        let woken = reading(1, 50 * SECOND + DAY, START + DAY);
        assert_eq!(timeline.now(woken.since_boot_micros), Timestamp(START + DAY));
        assert_eq!(timeline.step_millis(woken), 0);
    }

    #[test]
    fn a_restart_in_the_same_boot_goes_by_the_monotonic_clock_whatever_the_wall_says() {
        let mark = begun().mark(reading(1, 60 * SECOND, START));
        for wall in [0, START - DAY, START + DAY] {
            let (timeline, origin) = Timeline::resume(Some(mark), reading(1, 100 * SECOND, wall), BUILD);
            assert_eq!(origin, Origin::SameBoot);
            assert_eq!(timeline.now(100 * SECOND), Timestamp(START + 50 * SECOND));
        }
    }

    #[test]
    fn a_reboot_goes_by_the_wall_and_never_back() {
        let mark = begun().mark(reading(1, 60 * SECOND, START));
        let (timeline, origin) = Timeline::resume(Some(mark), reading(2, SECOND, START + 300 * SECOND), BUILD);
        assert_eq!(
            (timeline.now(SECOND), origin),
            (Timestamp(START + 300 * SECOND), Origin::SystemClock)
        );
        // The wall is behind: what was last seen here is the least that it can be.
        let (timeline, origin) = Timeline::resume(Some(mark), reading(2, SECOND, START - DAY), BUILD);
        assert_eq!((timeline.now(SECOND), origin), (mark.at, Origin::LastSeen));
        // A machine that was restored to an earlier moment of the same boot.
        let (timeline, origin) = Timeline::resume(Some(mark), reading(1, SECOND, START - DAY), BUILD);
        assert_eq!((timeline.now(SECOND), origin), (mark.at, Origin::LastSeen));
    }

    #[test]
    fn without_a_battery_clock_time_is_the_latest_that_is_known() {
        let (timeline, origin) = Timeline::resume(None, reading(1, 5 * SECOND, 5 * SECOND), BUILD);
        assert_eq!((timeline.now(5 * SECOND), origin), (BUILD, Origin::Build));
        let later = reading(1, 65 * SECOND, 65 * SECOND);
        assert_eq!(timeline.wall(later), Timestamp(BUILD.0 + 60 * SECOND), "it advances meanwhile");
        // The network tells the time at last: for cron at once, for what waits from the next moment of rest on.
        let told = reading(1, 70 * SECOND, START);
        assert_eq!(timeline.wall(told), Timestamp(START));
        assert_eq!(timeline.now(70 * SECOND), Timestamp(BUILD.0 + 65 * SECOND));
        let mut rested = timeline;
        assert!(rested.rebase(told, rest(None), BUILD));
        assert_eq!(rested.now(70 * SECOND), Timestamp(START));
        assert!(!rested.rebase(told, rest(None), BUILD), "nothing is left to take over");
        let bounded = Rest {
            most: Millis(3_600_000),
            ..rest(None)
        };
        assert!(!{ timeline }.rebase(told, bounded, BUILD), "further than allowed");
    }

    #[test]
    fn a_clock_that_was_ahead_is_given_up_only_on_the_word_of_another_machine() {
        let (mut timeline, _) = Timeline::resume(None, reading(1, 0, START + 3_650 * DAY), BUILD);
        let mark = timeline.mark(reading(1, SECOND, START + 3_650 * DAY));
        let (again, _) = Timeline::resume(Some(mark), reading(2, 0, START), BUILD);
        timeline = again;
        let now = reading(2, SECOND, START);
        assert!(!timeline.rebase(now, rest(None), BUILD));
        assert!(!timeline.rebase(now, rest(Some(START + 3_650 * DAY)), BUILD));
        let witnessed = rest(Some(START + 2 * SECOND));
        let linked = Rest {
            may_go_back: false,
            ..witnessed
        };
        assert!(!timeline.rebase(now, linked, BUILD));
        assert!(timeline.now(SECOND) > Timestamp(START + 3_649 * DAY));
        assert!(timeline.rebase(now, witnessed, BUILD));
        assert_eq!(timeline.now(SECOND), Timestamp(START));
        assert_eq!(timeline.wall(now), Timestamp(START));
    }

    #[test]
    fn boot_ids_are_read_as_the_system_writes_them() {
        let id = BootId::parse("3b1f6a0e-0f6f-4f0a-9d0e-1f2e3d4c5b6a").unwrap();
        assert_eq!(BootId::parse(&id.to_string()), Some(id));
        assert_eq!(BootId::parse("3b1f"), None);
        assert_eq!(built_seconds(Some("1999999999")), 1_999_999_999);
        assert_eq!(built_seconds(Some("1")), built_seconds(None));
        assert_eq!(built_seconds(Some("garbage")), built_seconds(None));
    }
}

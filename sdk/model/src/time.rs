//! Instants and lengths of time with their unit in the type.

use serde::{Deserialize, Serialize};

/// Microseconds since 1970-01-01T00:00:00Z. Passed in by shells; the pure crates never read a clock.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Timestamp(pub u64);

impl Timestamp {
    /// The instant `later` after this one; saturates at the end of time.
    #[must_use]
    pub fn after(self, later: Millis) -> Self {
        Self(self.0.saturating_add(later.0.saturating_mul(1_000)))
    }

    /// Milliseconds from `earlier` to this instant; zero if `earlier` is later.
    #[must_use]
    pub fn since(self, earlier: Self) -> Millis {
        Millis(self.0.saturating_sub(earlier.0) / 1_000)
    }

    /// Milliseconds from `other` to this instant; negative if `other` is later.
    #[must_use]
    pub fn millis_after(self, other: Self) -> i64 {
        let millis = |micros: u64| i64::try_from(micros / 1_000).unwrap_or(i64::MAX);
        if self >= other {
            millis(self.0 - other.0)
        } else {
            -millis(other.0 - self.0)
        }
    }

    /// Whole milliseconds since 1970.
    #[must_use]
    pub fn as_millis(self) -> u64 {
        self.0 / 1_000
    }
}

/// A length of time in milliseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Millis(pub u64);

impl Millis {
    #[must_use]
    pub fn from_secs(secs: u64) -> Self {
        Self(secs.saturating_mul(1_000))
    }

    #[must_use]
    pub fn as_duration(self) -> std::time::Duration {
        std::time::Duration::from_millis(self.0)
    }
}

impl std::fmt::Display for Millis {
    /// As people write it: `250ms`, `1.5s`, `5m`, `6h`, `7d`.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let ms = self.0;
        let units = [(86_400_000, "d"), (3_600_000, "h"), (60_000, "m")];
        for (size, unit) in units {
            if ms >= size && ms.is_multiple_of(size) {
                return write!(f, "{}{unit}", ms / size);
            }
        }
        if ms < 1_000 {
            write!(f, "{ms}ms")
        } else if ms.is_multiple_of(1_000) {
            write!(f, "{}s", ms / 1_000)
        } else {
            write!(f, "{}.{:03}s", ms / 1_000, ms % 1_000)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_read_as_people_write_them() {
        for (ms, text) in [
            (0, "0ms"),
            (250, "250ms"),
            (1_500, "1.500s"),
            (90_000, "90s"),
            (300_000, "5m"),
            (604_800_000, "7d"),
        ] {
            assert_eq!(Millis(ms).to_string(), text);
        }
    }

    #[test]
    fn since_an_instant_still_to_come_is_zero() {
        assert_eq!(Timestamp(5).since(Timestamp(9)), Millis(0));
    }
}

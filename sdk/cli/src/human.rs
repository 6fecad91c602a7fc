//! Times and sizes as people read them.

use eyot_model::{Millis, Timestamp};
use jiff::tz::TimeZone;

/// `850 ms`, `1.2 s`, `3 m 04 s`, `2 h 05 m`, `3 d 4 h`
#[must_use]
pub(crate) fn duration(time: Millis) -> String {
    let ms = time.0;
    let secs = ms / 1_000;
    match secs {
        0 => format!("{ms} ms"),
        1..=9 => format!("{}.{} s", secs, ms % 1_000 / 100),
        10..=59 => format!("{secs} s"),
        60..=3_599 => format!("{} m {:02} s", secs / 60, secs % 60),
        3_600..=86_399 => format!("{} h {:02} m", secs / 3_600, secs % 3_600 / 60),
        _ => format!("{} d {} h", secs / 86_400, secs % 86_400 / 3_600),
    }
}

/// Microseconds: below a second in milliseconds with one digit.
#[must_use]
pub(crate) fn micros(micros: u64) -> String {
    if micros < 10_000 {
        format!("{}.{} ms", micros / 1_000, micros % 1_000 / 100)
    } else {
        duration(Millis(micros / 1_000))
    }
}

/// `just now`, `40 s ago`, `5 m ago`, `in 50 m`, `3 h ago`, `2 d ago`
#[must_use]
pub(crate) fn age(then: Timestamp, now: Timestamp) -> String {
    let (ms, ahead) = if then > now {
        (then.since(now).0, true)
    } else {
        (now.since(then).0, false)
    };
    let secs = ms / 1_000;
    let text = match secs {
        0..=4 => return if ahead { "in a moment".into() } else { "just now".into() },
        5..=119 => format!("{secs} s"),
        120..=7_199 => format!("{} m", secs / 60),
        7_200..=172_799 => format!("{} h", secs / 3_600),
        _ => format!("{} d", secs / 86_400),
    };
    if ahead { format!("in {text}") } else { format!("{text} ago") }
}

/// `2026-11-22 14:03:07` in the zone given.
#[must_use]
pub(crate) fn instant(at: Timestamp, zone: &TimeZone) -> String {
    match i64::try_from(at.0).ok().and_then(|us| jiff::Timestamp::from_microsecond(us).ok()) {
        Some(time) => time.to_zoned(zone.clone()).strftime("%Y-%m-%d %H:%M:%S").to_string(),
        None => "?".to_owned(),
    }
}

/// `14:03:07.125` in the zone given.
#[must_use]
pub(crate) fn clock(at: Timestamp, zone: &TimeZone) -> String {
    match i64::try_from(at.0).ok().and_then(|us| jiff::Timestamp::from_microsecond(us).ok()) {
        Some(time) => time.to_zoned(zone.clone()).strftime("%H:%M:%S%.3f").to_string(),
        None => "?".to_owned(),
    }
}

/// `512 B`, `1.5 KiB`, `12 MiB`
#[must_use]
pub(crate) fn bytes(n: u64) -> String {
    const UNITS: [&str; 6] = ["KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
    if n < 1_024 {
        return format!("{n} B");
    }
    let mut value = n as f64 / 1_024.0;
    let mut unit = 0;
    while value >= 1_023.95 && unit + 1 < UNITS.len() {
        value /= 1_024.0;
        unit += 1;
    }
    if value < 9.95 {
        format!("{value:.1} {}", UNITS[unit])
    } else {
        format!("{value:.0} {}", UNITS[unit])
    }
}

/// `500m`, `2 cores`
#[must_use]
pub(crate) fn cores(millis: u32) -> String {
    match millis {
        1_000 => "1 core".to_owned(),
        n if n.is_multiple_of(1_000) => format!("{} cores", n / 1_000),
        n => format!("{n}m"),
    }
}

/// `1 task`, `3 tasks`
#[must_use]
pub(crate) fn count(n: usize, one: &str, many: &str) -> String {
    format!("{n} {}", if n == 1 { one } else { many })
}

/// The instant now.
#[must_use]
pub(crate) fn now() -> Timestamp {
    Timestamp(u64::try_from(jiff::Timestamp::now().as_microsecond()).unwrap_or(0))
}

/// A length of time as people write it: `90s`, `5m`, `1h`, `250ms`.
///
/// # Errors
/// When it is none; the message says what it should be.
pub(crate) fn parse_duration(text: &str) -> Result<Millis, String> {
    let wrong = || format!("`{text}` is no length of time; write it as `30s`, `5m` or `1h`");
    let split = text.find(|c: char| !c.is_ascii_digit()).ok_or_else(wrong)?;
    let (number, unit) = text.split_at(split);
    let number: u64 = number.parse().map_err(|_| wrong())?;
    let scale = match unit {
        "ms" => 1,
        "s" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        "d" => 86_400_000,
        _ => return Err(wrong()),
    };
    number.checked_mul(scale).map(Millis).ok_or_else(wrong)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_of_time() {
        for (ms, text) in [
            (0, "0 ms"),
            (999, "999 ms"),
            (1_250, "1.2 s"),
            (59_999, "59 s"),
            (184_000, "3 m 04 s"),
            (7_500_000, "2 h 05 m"),
            (273_600_000, "3 d 4 h"),
        ] {
            assert_eq!(duration(Millis(ms)), text);
        }
        assert_eq!(micros(940), "0.9 ms");
    }

    #[test]
    fn ages() {
        let now = Timestamp(1_000_000_000_000);
        for (back, text) in [
            (1, "just now"),
            (40, "40 s ago"),
            (600, "10 m ago"),
            (7_200, "2 h ago"),
            (200_000, "2 d ago"),
        ] {
            assert_eq!(age(Timestamp(now.0 - back * 1_000_000), now), text);
        }
        assert_eq!(age(Timestamp(now.0 + 3_000 * 1_000_000), now), "in 50 m");
    }

    #[test]
    fn sizes() {
        for (n, text) in [
            (0, "0 B"),
            (1_023, "1023 B"),
            (1_536, "1.5 KiB"),
            (12 << 20, "12 MiB"),
            ((1 << 30) - 1, "1.0 GiB"),
            (u64::MAX, "16 EiB"),
        ] {
            assert_eq!(bytes(n), text);
        }
    }

    #[test]
    fn instants_are_shown_in_the_zone() {
        let zone = TimeZone::fixed(jiff::tz::offset(8));
        assert_eq!(instant(Timestamp(1_700_000_000_000_000), &zone), "2023-11-15 06:13:20");
        assert_eq!(clock(Timestamp(1_700_000_000_125_000), &zone), "06:13:20.125");
        assert_eq!(instant(Timestamp(u64::MAX), &zone), "?");
    }

    #[test]
    fn written_lengths_of_time() {
        assert_eq!(parse_duration("90s"), Ok(Millis(90_000)));
        assert_eq!(parse_duration("250ms"), Ok(Millis(250)));
        for wrong in ["", "5", "m", "5 m", "-1s", "99999999999999999999s", "18446744073709551615d"] {
            assert!(parse_duration(wrong).is_err(), "{wrong}");
        }
    }
}

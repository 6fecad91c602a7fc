//! Quantities, and texts of others, as people read them in reasons.

/// A length of time given in milliseconds: `250ms`, `2.4s`, `3m 20s`, `2h 5m`.
#[must_use]
pub fn time(ms: f64) -> String {
    let ms = ms.clamp(0.0, 1e15);
    if ms < 999.5 {
        return format!("{}ms", ms.round());
    }
    let seconds = ms / 1_000.0;
    if seconds < 59.95 {
        return format!("{seconds:.1}s");
    }
    let whole = seconds.round();
    if whole < 3_600.0 {
        return two(whole, 60.0, "m", "s");
    }
    let minutes = (seconds / 60.0).round();
    if minutes < 1_440.0 {
        return two(minutes, 60.0, "h", "m");
    }
    two((seconds / 3_600.0).round(), 24.0, "d", "h")
}

fn two(value: f64, base: f64, large: &str, small: &str) -> String {
    let rest = value % base;
    let whole = ((value - rest) / base).round();
    if rest < 0.5 {
        format!("{whole}{large}")
    } else {
        format!("{whole}{large} {rest}{small}")
    }
}

/// An amount of data that moves, in decimal units: `4.2 MB`.
#[must_use]
pub fn data(bytes: f64) -> String {
    scaled(bytes, 1_000.0, ["B", "KB", "MB", "GB", "TB"])
}

/// An amount of memory, in binary units: `4 GiB`.
#[must_use]
pub fn memory(bytes: u64) -> String {
    #[allow(clippy::cast_precision_loss)] // shown with one decimal
    scaled(bytes as f64, 1_024.0, ["B", "KiB", "MiB", "GiB", "TiB"])
}

fn scaled(bytes: f64, base: f64, units: [&str; 5]) -> String {
    let mut value = bytes.max(0.0);
    let mut unit = 0;
    while unit + 1 < units.len() && (value * 10.0).round() >= base * 10.0 {
        value /= base;
        unit += 1;
    }
    let text = format!("{value:.1}");
    format!("{} {}", text.strip_suffix(".0").unwrap_or(&text), units[unit])
}

/// Thousandths of a core: `2 cores`, `1 core`, `500m of a core`.
#[must_use]
pub fn cpu(millis: u32) -> String {
    match millis {
        1_000 => "1 core".to_owned(),
        m if m.is_multiple_of(1_000) => format!("{} cores", m / 1_000),
        m => format!("{m}m of a core"),
    }
}

/// A text of others on one line, at most 120 characters.
#[must_use]
pub fn shorten(text: &str) -> String {
    const LONGEST: usize = 120;
    let flat: String = text
        .chars()
        .take(LONGEST + 1)
        .map(|c| if c.is_control() { ' ' } else { c })
        .collect();
    if flat.chars().count() <= LONGEST {
        return flat;
    }
    flat.chars().take(LONGEST - 1).chain(std::iter::once('…')).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_read_as_people_write_them() {
        for (ms, text) in [
            (0.0, "0ms"),
            (0.4, "0ms"),
            (250.0, "250ms"),
            (999.6, "1.0s"),
            (2_430.0, "2.4s"),
            (59_960.0, "1m"),
            (200_000.0, "3m 20s"),
            (3_600_000.0, "1h"),
            (7_500_000.0, "2h 5m"),
            (90_000_000.0, "1d 1h"),
            (f64::INFINITY, "11574074d 2h"),
        ] {
            assert_eq!(time(ms), text);
        }
    }

    #[test]
    fn sizes_read_as_people_write_them() {
        assert_eq!(data(4_200_000.0), "4.2 MB");
        assert_eq!(data(999_960.0), "1 MB");
        assert_eq!(data(12.0), "12 B");
        assert_eq!(memory(4 << 30), "4 GiB");
        assert_eq!(memory(256 << 20), "256 MiB");
        assert_eq!(memory(1_600), "1.6 KiB");
        assert_eq!(memory(u64::MAX), "16777216 TiB");
        assert_eq!(cpu(4_000), "4 cores");
        assert_eq!(cpu(1_000), "1 core");
        assert_eq!(cpu(250), "250m of a core");
    }

    #[test]
    fn texts_of_others_stay_short_and_on_one_line() {
        assert_eq!(shorten("a\nb"), "a b");
        let long = shorten(&"ü".repeat(500));
        assert_eq!(long.chars().count(), 120);
        assert!(long.ends_with('…'));
    }
}

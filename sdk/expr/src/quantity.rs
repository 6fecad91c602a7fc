//! Sizes and times as people write them.

use eyot_model::{Millis, Value};

/// Why a text is no quantity.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum QuantityError {
    #[error("`{0}` is not a quantity such as `500m`, `1.5`, `1MB` or `256Mi`")]
    NotAQuantity(String),
    #[error("`{0}` is not a duration such as `250ms`, `1.5s`, `5m`, `6h` or `7d`")]
    NotADuration(String),
    #[error("`{0}` is too large")]
    TooLarge(String),
}

/// A number with a unit, in thousandths: `500m` is 500, `1` is 1,000, `1MB` is 1,000,000,000.
struct Thousandths(u128);

/// `256Mi`, `1MB`, `500m`, `1.5`: an integer where it is whole, otherwise a float. Units: `m` (thousandths), `k`/`K`,
/// `M`, `G`, `T`, `P` (powers of 1,000) and `Ki` to `Pi` (powers of 1,024), each also with `B`, and `B` alone.
///
/// # Errors
/// When the text is none of these, is negative, or does not fit 64 bits.
pub fn parse_quantity(text: &str) -> Result<Value, QuantityError> {
    let Thousandths(n) = thousandths(text)?;
    let too_large = || QuantityError::TooLarge(shown(text));
    if n % 1000 == 0 {
        return i64::try_from(n / 1000).map(Value::Int).map_err(|_| too_large());
    }
    let whole = u64::try_from(n).map_err(|_| too_large())?;
    #[allow(clippy::cast_precision_loss)] // a fraction is a float anyway
    Ok(Value::Float(whole as f64 / 1000.0))
}

fn thousandths(text: &str) -> Result<Thousandths, QuantityError> {
    let wrong = || QuantityError::NotAQuantity(shown(text));
    let (number, unit) = split(text).ok_or_else(wrong)?;
    let prefix = unit.strip_suffix('B').unwrap_or(unit);
    let scale: u128 = match prefix {
        "" => 1000,
        "m" if unit == "m" => 1,
        "k" | "K" => 1000_u128.pow(2),
        "M" => 1000_u128.pow(3),
        "G" => 1000_u128.pow(4),
        "T" => 1000_u128.pow(5),
        "P" => 1000_u128.pow(6),
        "Ki" => 1000 << 10,
        "Mi" => 1000 << 20,
        "Gi" => 1000 << 30,
        "Ti" => 1000 << 40,
        "Pi" => 1000 << 50,
        _ => return Err(wrong()),
    };
    decimal(number, scale).map(Thousandths).map_err(|e| match e {
        Decimal::Wrong => wrong(),
        Decimal::TooLarge => QuantityError::TooLarge(shown(text)),
    })
}

/// `250ms`, `1.5s`, `5m`, `6h`, `7d`, `2w`, also joined as `1h30m`.
///
/// # Errors
/// When the text is none of these, or longer than 10,000 days.
pub fn parse_duration(text: &str) -> Result<Millis, QuantityError> {
    const LONGEST: u128 = 10_000 * 86_400_000;
    let wrong = || QuantityError::NotADuration(shown(text));
    let mut rest = text;
    let mut total = 0_u128;
    let mut previous = u128::MAX;
    while !rest.is_empty() || previous == u128::MAX {
        let (number, after) = split(rest).ok_or_else(wrong)?;
        let unit_len = after.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(after.len());
        let unit = match &after[..unit_len] {
            "ms" => 1,
            "s" => 1_000,
            "m" | "min" => 60_000,
            "h" => 3_600_000,
            "d" => 86_400_000,
            "w" => 604_800_000,
            _ => return Err(wrong()),
        };
        if unit >= previous {
            return Err(wrong());
        }
        previous = unit;
        total += decimal(number, unit).map_err(|e| match e {
            Decimal::Wrong => wrong(),
            Decimal::TooLarge => QuantityError::TooLarge(shown(text)),
        })?;
        if total > LONGEST {
            return Err(QuantityError::TooLarge(shown(text)));
        }
        rest = &after[unit_len..];
    }
    u64::try_from(total).map(Millis).map_err(|_| QuantityError::TooLarge(shown(text)))
}

/// Digits (with at most one dot) and what follows them.
fn split(text: &str) -> Option<(&str, &str)> {
    let len = text.find(|c: char| !(c.is_ascii_digit() || c == '.')).unwrap_or(text.len());
    let (number, unit) = text.split_at(len);
    (number.starts_with(|c: char| c.is_ascii_digit()) && !number.ends_with('.')).then_some((number, unit))
}

enum Decimal {
    Wrong,
    TooLarge,
}

/// `number * scale`, exact; what is finer than one is an error.
fn decimal(number: &str, scale: u128) -> Result<u128, Decimal> {
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    if fraction.contains('.') {
        return Err(Decimal::Wrong);
    }
    if whole.len() > 19 || fraction.len() > 12 {
        return Err(Decimal::TooLarge);
    }
    let whole: u128 = whole.parse().map_err(|_| Decimal::Wrong)?;
    let part: u128 = if fraction.is_empty() {
        0
    } else {
        fraction.parse().map_err(|_| Decimal::Wrong)?
    };
    let below = 10_u128.pow(u32::try_from(fraction.len()).map_err(|_| Decimal::Wrong)?);
    let whole = whole.checked_mul(scale).ok_or(Decimal::TooLarge)?;
    let part = part.checked_mul(scale).ok_or(Decimal::TooLarge)?;
    if part % below != 0 {
        return Err(Decimal::Wrong);
    }
    Ok(whole + part / below)
}

fn shown(text: &str) -> String {
    text.chars().take(40).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn quantities_read_as_people_write_them() {
        for (text, value) in [
            ("0", Value::Int(0)),
            ("500m", Value::Float(0.5)),
            ("2000m", Value::Int(2)),
            ("1.5", Value::Float(1.5)),
            ("1k", Value::Int(1_000)),
            ("1MB", Value::Int(1_000_000)),
            ("1.5M", Value::Int(1_500_000)),
            ("256Mi", Value::Int(256 << 20)),
            ("4GiB", Value::Int(4 << 30)),
            ("12B", Value::Int(12)),
            ("0.5Ki", Value::Int(512)),
        ] {
            assert_eq!(parse_quantity(text), Ok(value), "{text}");
        }
        for text in ["", "m", "-1", "1e3", "1.", ".5", "1 MB", "1mb", "1.2.3", "500mB", "1Q", "0x10", "١"] {
            assert!(matches!(parse_quantity(text), Err(QuantityError::NotAQuantity(_))), "{text}");
        }
        for text in ["99999999999999999999", "9999999999P"] {
            assert!(matches!(parse_quantity(text), Err(QuantityError::TooLarge(_))), "{text}");
        }
    }

    #[test]
    fn durations_read_as_people_write_them() {
        for (text, ms) in [
            ("0s", 0),
            ("250ms", 250),
            ("1.5s", 1_500),
            ("5m", 300_000),
            ("1h30m", 5_400_000),
            ("7d", 604_800_000),
            ("2w", 1_209_600_000),
        ] {
            assert_eq!(parse_duration(text), Ok(Millis(ms)), "{text}");
        }
        for text in ["", "5", "m", "5 m", "-5m", "5M", "5m5m", "5m1h", "1.0005s", "5mm", "ms"] {
            assert!(matches!(parse_duration(text), Err(QuantityError::NotADuration(_))), "{text}");
        }
        assert!(matches!(parse_duration("10001d"), Err(QuantityError::TooLarge(_))));
    }

    proptest! {
        #[test]
        fn what_the_model_prints_reads_back(ms in 0_u64..800_000_000_000) {
            prop_assert_eq!(parse_duration(&Millis(ms).to_string()), Ok(Millis(ms)));
        }

        #[test]
        fn no_text_panics(text in "\\PC{0,24}") {
            let _ = parse_quantity(&text);
            let _ = parse_duration(&text);
        }
    }
}

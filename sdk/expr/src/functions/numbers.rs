//! Functions that make and take numbers.

use super::{Result, int_of, list_of, take, text_of, wrong};
use crate::ast::Operator;
use crate::error::EvaluateErrorKind;
use crate::meter::Meter;
use crate::operators::{self, finite, overflow};
use crate::quantity::{parse_duration, parse_quantity};
use eyot_model::Value;
use std::borrow::Cow;

type Arguments<'a> = Vec<Cow<'a, Value>>;

const BEYOND_INT: f64 = 9_223_372_036_854_775_808.0;

#[allow(clippy::cast_possible_truncation)] // the range is checked first
fn to_int(f: f64) -> Result {
    if (-BEYOND_INT..BEYOND_INT).contains(&f) {
        Ok(Value::Int(f as i64))
    } else {
        Err(overflow())
    }
}

/// Towards zero for a float; a text must be a whole number.
pub(super) fn int(arguments: Arguments<'_>, _: &Meter) -> Result {
    let [value] = take(arguments)?;
    match &*value {
        Value::Int(n) => Ok(Value::Int(*n)),
        Value::Float(f) => to_int(f.trunc()),
        Value::String(text) => text
            .parse()
            .map(Value::Int)
            .map_err(|_| EvaluateErrorKind::Argument(format!("`{}` is not a whole number", shown(text)))),
        other => Err(wrong("int", "a number or a string", other)),
    }
}

#[allow(clippy::cast_precision_loss)] // what a double is
pub(super) fn double(arguments: Arguments<'_>, _: &Meter) -> Result {
    let [value] = take(arguments)?;
    match &*value {
        Value::Int(n) => Ok(Value::Float(*n as f64)),
        Value::Float(f) => Ok(Value::Float(*f)),
        Value::String(text) => match text.parse::<f64>() {
            Ok(f) => finite(f),
            Err(_) => Err(EvaluateErrorKind::Argument(format!("`{}` is not a number", shown(text)))),
        },
        other => Err(wrong("double", "a number or a string", other)),
    }
}

pub(super) fn quantity(arguments: Arguments<'_>, _: &Meter) -> Result {
    let [text] = take(arguments)?;
    parse_quantity(text_of("quantity", &text)?).map_err(|e| EvaluateErrorKind::Argument(e.to_string()))
}

pub(super) fn duration_ms(arguments: Arguments<'_>, _: &Meter) -> Result {
    let [text] = take(arguments)?;
    let millis = parse_duration(text_of("duration_ms", &text)?).map_err(|e| EvaluateErrorKind::Argument(e.to_string()))?;
    i64::try_from(millis.0).map(Value::Int).map_err(|_| overflow())
}

/// The number as text with so many digits after the point.
#[allow(clippy::cast_precision_loss)] // only integers beyond 2^53, which have no digits after the point
pub(super) fn fixed(arguments: Arguments<'_>, _: &Meter) -> Result {
    let [number, digits] = take(arguments)?;
    let digits = int_of("fixed", &digits)?;
    let digits = usize::try_from(digits)
        .ok()
        .filter(|d| *d <= 20)
        .ok_or_else(|| EvaluateErrorKind::Argument(format!("`fixed` gives 0 to 20 digits, not {digits}")))?;
    match &*number {
        Value::Int(n) if digits == 0 => Ok(Value::String(n.to_string())),
        Value::Int(n) => Ok(Value::String(format!("{n}.{}", "0".repeat(digits)))),
        Value::Float(f) => Ok(Value::String(format!("{f:.digits$}"))),
        other => Err(wrong("fixed", "a number", other)),
    }
}

pub(super) fn abs(arguments: Arguments<'_>, _: &Meter) -> Result {
    let [value] = take(arguments)?;
    match &*value {
        Value::Int(n) => n.checked_abs().map(Value::Int).ok_or_else(overflow),
        Value::Float(f) => Ok(Value::Float(f.abs())),
        other => Err(wrong("abs", "a number", other)),
    }
}

fn rounded(name: &str, arguments: Arguments<'_>, round: fn(f64) -> f64) -> Result {
    let [value] = take(arguments)?;
    match &*value {
        Value::Int(n) => Ok(Value::Int(*n)),
        Value::Float(f) => to_int(round(*f)),
        other => Err(wrong(name, "a number", other)),
    }
}

pub(super) fn floor(arguments: Arguments<'_>, _: &Meter) -> Result {
    rounded("floor", arguments, f64::floor)
}

pub(super) fn ceil(arguments: Arguments<'_>, _: &Meter) -> Result {
    rounded("ceil", arguments, f64::ceil)
}

/// Halves away from zero.
pub(super) fn round(arguments: Arguments<'_>, _: &Meter) -> Result {
    rounded("round", arguments, f64::round)
}

pub(super) fn min(arguments: Arguments<'_>, meter: &Meter) -> Result {
    extreme("min", Operator::Less, &arguments, meter)
}

pub(super) fn max(arguments: Arguments<'_>, meter: &Meter) -> Result {
    extreme("max", Operator::Greater, &arguments, meter)
}

fn extreme(name: &str, better: Operator, arguments: &[Cow<'_, Value>], meter: &Meter) -> Result {
    let candidates: Vec<&Value> = match arguments {
        [one] => list_of(name, one)?.iter().collect(),
        several => several.iter().map(|v| &**v).collect(),
    };
    meter.charge_len(candidates.len())?;
    let mut best: Option<&Value> = None;
    for candidate in candidates {
        best = match best {
            Some(best) if !operators::ordered(better, candidate, best, meter)? => Some(best),
            _ => Some(candidate),
        };
    }
    let best = best.ok_or_else(|| EvaluateErrorKind::Argument(format!("`{name}` of an empty list")))?;
    meter.charge_value(best)?;
    Ok(best.clone())
}

/// 0 for an empty list.
pub(super) fn sum(arguments: Arguments<'_>, meter: &Meter) -> Result {
    let [list] = take(arguments)?;
    let items = list_of("sum", &list)?;
    meter.charge_len(items.len())?;
    items
        .iter()
        .try_fold(Value::Int(0), |total, item| operators::arithmetic(Operator::Add, &total, item))
}

fn shown(text: &str) -> String {
    text.chars().take(40).collect()
}

//! Functions that make and take lists.

use super::{Result, int_of, list_of, take, wrong};
use crate::error::EvaluateErrorKind;
use crate::limits;
use crate::meter::Meter;
use crate::operators;
use eyot_model::Value;
use std::borrow::Cow;
use std::cmp::Ordering;

type Arguments<'a> = Vec<Cow<'a, Value>>;

/// The list as a vector of its own, charged where it had to be copied.
fn owned(function: &str, value: Cow<'_, Value>, meter: &Meter) -> std::result::Result<Vec<Value>, EvaluateErrorKind> {
    if let Cow::Borrowed(borrowed) = &value {
        meter.charge_value(borrowed)?;
    }
    match value.into_owned() {
        Value::List(list) => Ok(list),
        other => Err(wrong(function, "a list", &other)),
    }
}

pub(super) fn range(arguments: Arguments<'_>, meter: &Meter) -> Result {
    let [n] = take(arguments)?;
    let n = int_of("range", &n)?;
    if !(0..=limits::MAX_RANGE).contains(&n) {
        return Err(EvaluateErrorKind::Argument(format!(
            "`range` goes from 0 to {}, not {n}",
            limits::MAX_RANGE
        )));
    }
    meter.charge(n.unsigned_abs())?;
    Ok(Value::List((0..n).map(Value::Int).collect()))
}

pub(super) fn zip(arguments: Arguments<'_>, meter: &Meter) -> Result {
    let [a, b] = take(arguments)?;
    let (a, b) = (owned("zip", a, meter)?, owned("zip", b, meter)?);
    if a.len() != b.len() {
        return Err(EvaluateErrorKind::Argument(format!(
            "`zip` takes lists of the same length, not of {} and {}",
            a.len(),
            b.len()
        )));
    }
    meter.charge_len(a.len())?;
    Ok(Value::List(a.into_iter().zip(b).map(|(a, b)| Value::List(vec![a, b])).collect()))
}

pub(super) fn flatten(arguments: Arguments<'_>, meter: &Meter) -> Result {
    let [lists] = take(arguments)?;
    let mut all = Vec::new();
    for list in owned("flatten", lists, meter)? {
        match list {
            Value::List(items) => {
                meter.charge_len(items.len())?;
                all.extend(items);
            }
            other => return Err(wrong("flatten", "a list of lists", &other)),
        }
    }
    Ok(Value::List(all))
}

pub(super) fn keys(arguments: Arguments<'_>, meter: &Meter) -> Result {
    let [map] = take(arguments)?;
    match &*map {
        Value::Map(map) => {
            meter.charge_len(map.len())?;
            meter.charge_bytes(map.keys().map(String::len).sum())?;
            Ok(Value::List(map.keys().cloned().map(Value::String).collect()))
        }
        other => Err(wrong("keys", "a map", other)),
    }
}

pub(super) fn values(arguments: Arguments<'_>, meter: &Meter) -> Result {
    let [map] = take(arguments)?;
    if let Cow::Borrowed(borrowed) = &map {
        meter.charge_value(borrowed)?;
    }
    match map.into_owned() {
        Value::Map(map) => Ok(Value::List(map.into_values().collect())),
        other => Err(wrong("values", "a map", &other)),
    }
}

/// Numbers among themselves or texts among themselves; stable.
pub(super) fn sort(arguments: Arguments<'_>, meter: &Meter) -> Result {
    let [list] = take(arguments)?;
    let mut list = owned("sort", list, meter)?;
    // Charged ahead by the bound of the sort, then compared with errors kept for after it.
    let rounds = u64::from(list.len().max(2).ilog2()) + 1;
    meter.charge((list.len() as u64).saturating_mul(rounds))?;
    let mut failed = None;
    list.sort_by(|a, b| match operators::order(a, b, meter) {
        Ok(Some(order)) => order,
        Ok(None) => {
            failed.get_or_insert_with(|| EvaluateErrorKind::Type(format!("`sort` cannot order {} and {}", a.type_name(), b.type_name())));
            Ordering::Equal
        }
        Err(kind) => {
            failed.get_or_insert(kind);
            Ordering::Equal
        }
    });
    failed.map_or(Ok(Value::List(list)), Err)
}

/// Without repeats, in order of first appearance.
pub(super) fn distinct(arguments: Arguments<'_>, meter: &Meter) -> Result {
    let [list] = take(arguments)?;
    let mut kept: Vec<Value> = Vec::new();
    for item in owned("distinct", list, meter)? {
        let mut seen = false;
        for earlier in &kept {
            if operators::equal(earlier, &item, meter)? {
                seen = true;
                break;
            }
        }
        if !seen {
            kept.push(item);
        }
    }
    Ok(Value::List(kept))
}

pub(super) fn reverse(arguments: Arguments<'_>, meter: &Meter) -> Result {
    let [list] = take(arguments)?;
    let mut list = owned("reverse", list, meter)?;
    list.reverse();
    Ok(Value::List(list))
}

pub(super) fn slice(arguments: Arguments<'_>, meter: &Meter) -> Result {
    let [list, from, to] = take(arguments)?;
    let items = list_of("slice", &list)?;
    let (from, to) = (int_of("slice", &from)?, int_of("slice", &to)?);
    let part = usize::try_from(from)
        .ok()
        .zip(usize::try_from(to).ok())
        .and_then(|(a, b)| items.get(a..b));
    let part = part.ok_or_else(|| EvaluateErrorKind::Argument(format!("`slice({from}, {to})` is not within a list of {}", items.len())))?;
    part.iter().try_for_each(|v| meter.charge_value(v))?;
    Ok(Value::List(part.to_vec()))
}

//! Operators on values. Integers and floats mix; overflow and numbers that are not finite are errors.

use crate::ast::Operator;
use crate::error::EvaluateErrorKind;
use crate::meter::Meter;
use crate::program::article;
use eyot_model::Value;
use std::borrow::Cow;
use std::cmp::Ordering;

type Result<T> = std::result::Result<T, EvaluateErrorKind>;

/// Equality as CEL has it: values of different types are unequal, numbers compare by value.
pub(crate) fn equal(left: &Value, right: &Value, meter: &Meter) -> Result<bool> {
    meter.charge(1)?;
    Ok(match (left, right) {
        (Value::String(a), Value::String(b)) => {
            meter.charge_bytes(a.len().min(b.len()))?;
            a == b
        }
        (Value::Bytes(a), Value::Bytes(b)) => {
            meter.charge_bytes(a.len().min(b.len()))?;
            a == b
        }
        (Value::List(a), Value::List(b)) => {
            if a.len() != b.len() {
                return Ok(false);
            }
            for (a, b) in a.iter().zip(b) {
                if !equal(a, b, meter)? {
                    return Ok(false);
                }
            }
            true
        }
        (Value::Map(a), Value::Map(b)) => {
            if a.len() != b.len() {
                return Ok(false);
            }
            for ((ka, a), (kb, b)) in a.iter().zip(b) {
                if ka != kb || !equal(a, b, meter)? {
                    return Ok(false);
                }
            }
            true
        }
        (Value::Int(_) | Value::Float(_), Value::Int(_) | Value::Float(_)) => compare_numbers(left, right) == Some(Ordering::Equal),
        _ => left == right,
    })
}

/// How two numbers compare by their exact values; None for NaN and for what is no number.
pub(crate) fn compare_numbers(left: &Value, right: &Value) -> Option<Ordering> {
    match (left, right) {
        (Value::Int(a), Value::Int(b)) => Some(a.cmp(b)),
        (Value::Float(a), Value::Float(b)) => a.partial_cmp(b),
        (Value::Int(a), Value::Float(b)) => compare_mixed(*a, *b),
        (Value::Float(a), Value::Int(b)) => compare_mixed(*b, *a).map(Ordering::reverse),
        _ => None,
    }
}

#[allow(clippy::cast_precision_loss, clippy::cast_possible_truncation)] // the bounds are exact powers of two, and checked first
fn compare_mixed(int: i64, float: f64) -> Option<Ordering> {
    const BEYOND: f64 = 9_223_372_036_854_775_808.0;
    if float.is_nan() {
        return None;
    }
    if float >= BEYOND {
        return Some(Ordering::Less);
    }
    if float < -BEYOND {
        return Some(Ordering::Greater);
    }
    let whole = float.trunc();
    let order = int.cmp(&(whole as i64));
    Some(order.then_with(|| 0.0_f64.partial_cmp(&(float - whole)).unwrap_or(Ordering::Equal)))
}

/// The order of two values of one type; None where there is none.
pub(crate) fn order(left: &Value, right: &Value, meter: &Meter) -> Result<Option<Ordering>> {
    meter.charge(1)?;
    Ok(match (left, right) {
        (Value::String(a), Value::String(b)) => {
            meter.charge_bytes(a.len().min(b.len()))?;
            Some(a.cmp(b))
        }
        (Value::Bytes(a), Value::Bytes(b)) => {
            meter.charge_bytes(a.len().min(b.len()))?;
            Some(a.cmp(b))
        }
        (Value::Bool(a), Value::Bool(b)) => Some(a.cmp(b)),
        _ => compare_numbers(left, right),
    })
}

pub(crate) fn ordered(operator: Operator, left: &Value, right: &Value, meter: &Meter) -> Result<bool> {
    let order = order(left, right, meter)?.ok_or_else(|| does_not_fit(operator, left, right))?;
    Ok(match operator {
        Operator::Less => order.is_lt(),
        Operator::LessEqual => order.is_le(),
        Operator::Greater => order.is_gt(),
        _ => order.is_ge(),
    })
}

/// `left in right`
pub(crate) fn contains(left: &Value, right: &Value, meter: &Meter) -> Result<bool> {
    match (left, right) {
        (_, Value::List(list)) => {
            for item in list {
                if equal(left, item, meter)? {
                    return Ok(true);
                }
            }
            Ok(false)
        }
        (Value::String(key), Value::Map(map)) => Ok(map.contains_key(key)),
        (_, Value::Map(_)) => Ok(false),
        _ => Err(does_not_fit(Operator::In, left, right)),
    }
}

pub(crate) fn negate(value: &Value) -> Result<Value> {
    match value {
        Value::Int(n) => n.checked_neg().map(Value::Int).ok_or_else(overflow),
        Value::Float(f) => Ok(Value::Float(-f)),
        other => Err(EvaluateErrorKind::Type(format!("`-` does not fit {}", article(other.type_name())))),
    }
}

/// Numbers, and what can be joined: texts, bytes, lists.
pub(crate) fn add(left: Cow<'_, Value>, right: Cow<'_, Value>, meter: &Meter) -> Result<Value> {
    // What was made by this evaluation grows in place; what was borrowed is copied first.
    match (&*left, &*right) {
        (Value::String(a), Value::String(b)) => meter.charge_bytes(a.len() + b.len())?,
        (Value::Bytes(a), Value::Bytes(b)) => meter.charge_bytes(a.len() + b.len())?,
        (Value::List(_), Value::List(_)) => {
            if let Cow::Borrowed(value) = &left {
                meter.charge_value(value)?;
            }
            meter.charge_value(&right)?;
        }
        (a, b) => return arithmetic(Operator::Add, a, b),
    }
    let mut sum = left.into_owned();
    match (&mut sum, &*right) {
        (Value::String(a), Value::String(b)) => a.push_str(b),
        (Value::Bytes(a), Value::Bytes(b)) => a.extend_from_slice(b),
        (Value::List(a), Value::List(b)) => a.extend_from_slice(b),
        _ => {}
    }
    Ok(sum)
}

#[allow(clippy::cast_precision_loss)] // CEL's doubles: an integer beyond 2^53 rounds when it meets a float
pub(crate) fn arithmetic(operator: Operator, left: &Value, right: &Value) -> Result<Value> {
    let by_zero = || EvaluateErrorKind::Arithmetic("division by zero".to_owned());
    let (a, b) = match (left, right) {
        (Value::Int(a), Value::Int(b)) => {
            let result = match operator {
                Operator::Add => a.checked_add(*b),
                Operator::Subtract => a.checked_sub(*b),
                Operator::Multiply => a.checked_mul(*b),
                Operator::Divide if *b == 0 => return Err(by_zero()),
                Operator::Divide => a.checked_div(*b),
                Operator::Remainder if *b == 0 => return Err(by_zero()),
                Operator::Remainder => a.checked_rem(*b),
                _ => return Err(does_not_fit(operator, left, right)),
            };
            return result.map(Value::Int).ok_or_else(overflow);
        }
        (Value::Float(a), Value::Float(b)) => (*a, *b),
        (Value::Int(a), Value::Float(b)) => (*a as f64, *b),
        (Value::Float(a), Value::Int(b)) => (*a, *b as f64),
        _ => return Err(does_not_fit(operator, left, right)),
    };
    finite(match operator {
        Operator::Add => a + b,
        Operator::Subtract => a - b,
        Operator::Multiply => a * b,
        Operator::Divide if b == 0.0 => return Err(by_zero()),
        Operator::Divide => a / b,
        _ => return Err(does_not_fit(operator, left, right)),
    })
}

pub(crate) fn finite(number: f64) -> Result<Value> {
    if number.is_finite() {
        Ok(Value::Float(number))
    } else {
        Err(EvaluateErrorKind::Arithmetic("the result is not a finite number".to_owned()))
    }
}

pub(crate) fn overflow() -> EvaluateErrorKind {
    EvaluateErrorKind::Arithmetic("the result does not fit a 64-bit integer".to_owned())
}

fn does_not_fit(operator: Operator, left: &Value, right: &Value) -> EvaluateErrorKind {
    EvaluateErrorKind::Type(format!(
        "`{}` does not fit {} and {}",
        operator.symbol(),
        article(left.type_name()),
        article(right.type_name())
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_compare_by_their_exact_values() {
        for (int, float, order) in [
            (1, 1.0, Ordering::Equal),
            (1, 1.5, Ordering::Less),
            (-1, -1.5, Ordering::Greater),
            (i64::MAX, 9_223_372_036_854_775_808.0, Ordering::Less),
            (i64::MIN, -9_223_372_036_854_775_808.0, Ordering::Equal),
            (9_007_199_254_740_993, 9_007_199_254_740_992.0, Ordering::Greater),
            (0, -0.0, Ordering::Equal),
        ] {
            assert_eq!(compare_mixed(int, float), Some(order), "{int} {float}");
        }
        assert_eq!(compare_mixed(0, f64::NAN), None);
    }
}

//! The bound on the work of one evaluation.

use crate::error::EvaluateErrorKind;
use crate::limits;
use eyot_model::Value;
use std::cell::Cell;

/// Counts work down. Deterministic: it knows no clock.
pub(crate) struct Meter {
    left: Cell<u64>,
}

impl Meter {
    pub(crate) fn new() -> Self {
        Self {
            left: Cell::new(limits::MAX_WORK),
        }
    }

    pub(crate) fn charge(&self, work: u64) -> Result<(), EvaluateErrorKind> {
        match self.left.get().checked_sub(work) {
            Some(left) => {
                self.left.set(left);
                Ok(())
            }
            None => {
                self.left.set(0);
                Err(EvaluateErrorKind::TooCostly)
            }
        }
    }

    pub(crate) fn charge_bytes(&self, bytes: usize) -> Result<(), EvaluateErrorKind> {
        self.charge(units(bytes))
    }

    pub(crate) fn charge_len(&self, elements: usize) -> Result<(), EvaluateErrorKind> {
        self.charge(elements as u64)
    }

    /// Charges what walking or copying the whole value costs, without going on once the meter is empty.
    pub(crate) fn charge_value(&self, value: &Value) -> Result<(), EvaluateErrorKind> {
        self.charge(1)?;
        match value {
            Value::Null | Value::Bool(_) | Value::Int(_) | Value::Float(_) | Value::Blob(_) => Ok(()),
            Value::String(text) => self.charge_bytes(text.len()),
            Value::Bytes(bytes) => self.charge_bytes(bytes.len()),
            Value::List(list) => list.iter().try_for_each(|v| self.charge_value(v)),
            Value::Map(map) => map.iter().try_for_each(|(k, v)| {
                self.charge_bytes(k.len())?;
                self.charge_value(v)
            }),
        }
    }
}

fn units(bytes: usize) -> u64 {
    (bytes / 64) as u64
}

/// Checks that a result is no larger and no deeper than may leave an expression.
pub(crate) fn check_result(value: &Value) -> Result<(), EvaluateErrorKind> {
    fn walk(value: &Value, depth: usize, left: &mut u64) -> Result<(), EvaluateErrorKind> {
        if depth > limits::MAX_RESULT_DEPTH {
            return Err(EvaluateErrorKind::TooDeep);
        }
        let mut take = |n: u64| {
            *left = left.checked_sub(n).ok_or(EvaluateErrorKind::TooLarge)?;
            Ok::<_, EvaluateErrorKind>(())
        };
        match value {
            Value::Null | Value::Bool(_) | Value::Int(_) | Value::Float(_) | Value::Blob(_) => take(1),
            Value::String(text) => take(1 + units(text.len())),
            Value::Bytes(bytes) => take(1 + units(bytes.len())),
            Value::List(list) => {
                take(1)?;
                list.iter().try_for_each(|v| walk(v, depth + 1, left))
            }
            Value::Map(map) => {
                take(1)?;
                for (key, v) in map {
                    *left = left.checked_sub(units(key.len())).ok_or(EvaluateErrorKind::TooLarge)?;
                    walk(v, depth + 1, left)?;
                }
                Ok(())
            }
        }
    }
    let mut left = limits::MAX_RESULT;
    walk(value, 0, &mut left)
}

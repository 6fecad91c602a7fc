//! Fields of records.

use eyot_task::Failure;
use eyot_task::serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};

/// The field at `path`, with dots for fields of fields.
pub(crate) fn get<'a>(record: &'a Value, path: &str) -> Option<&'a Value> {
    record
        .get(path)
        .or_else(|| path.split('.').try_fold(record, |value, name| value.get(name)))
}

/// # Errors
/// Names the `place` where `value` is no number.
pub(crate) fn number(value: &Value, place: &str) -> Result<f64, Failure> {
    value
        .as_f64()
        .ok_or_else(|| Failure::invalid_input(format!("input `{place}`: expected a number, found {}", kind(value))))
}

pub(crate) fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "a list",
        Value::Object(_) => "a map",
    }
}

/// Names of the fields that hold a number in some record and nothing else in any.
pub(crate) fn numeric(records: &[(usize, &Value)]) -> Vec<String> {
    let mut numbers = BTreeSet::new();
    let mut others = BTreeSet::new();
    for (name, value) in records.iter().filter_map(|(_, record)| record.as_object()).flatten() {
        if value.is_number() {
            numbers.insert(name.clone());
        } else if !value.is_null() {
            others.insert(name);
        }
    }
    numbers.into_iter().filter(|name| !others.contains(name)).collect()
}

/// Records with the same value in the field at `path`, in the order in which the values first come.
pub(crate) fn groups<'a>(records: &[(usize, &'a Value)], path: &str) -> Vec<(Value, Vec<(usize, &'a Value)>)> {
    let mut groups: Vec<(Value, Vec<(usize, &Value)>)> = Vec::new();
    let mut places = BTreeMap::new();
    for (at, record) in records {
        let key = get(record, path).cloned().unwrap_or(Value::Null);
        let place = *places.entry(key.to_string()).or_insert_with(|| {
            groups.push((key, Vec::new()));
            groups.len() - 1
        });
        groups[place].1.push((*at, *record));
    }
    groups
}

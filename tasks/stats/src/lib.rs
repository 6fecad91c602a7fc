//! The standard task `eyot/stats`: sums up a list of numbers, or the fields of a list of records, as a whole and by group.
//!
//! ```yaml
//! uses: eyot/stats@1
//! with: {values: "${{ tasks.measure.outputs }}", fields: [temperature], group_by: site}
//! ```
//!
//! Items that are null count as missing, so that the outputs of a `forEach` with failed items can be given as they are. It
//! keeps all numbers in memory; it is no stream processor.

mod field;
mod summary;

pub use summary::Summary;

use eyot_task::prelude::*;
use eyot_task::serde_json::Value;
use std::collections::BTreeMap;
use summary::Series;

#[eyot_task::data]
pub struct Totals {
    /// Items that are not null.
    pub count: u64,
    /// Items that are null.
    pub missing: u64,
    /// Of the numbers, where the items are numbers.
    pub summary: Option<Summary>,
    /// Of each field, where the items are records.
    pub fields: BTreeMap<String, Summary>,
    /// The same for each value of the field `group_by`, in the order in which they first come.
    pub groups: Vec<Group>,
}

#[eyot_task::data]
pub struct Group {
    /// What the field `group_by` holds; null where it is missing.
    pub key: Value,
    pub count: u64,
    pub fields: BTreeMap<String, Summary>,
}

/// Sums up numbers or records.
#[eyot_task::task(name = "eyot/stats", version = "1.0.0", deterministic)]
pub fn stats(
    /// Numbers, or records.
    values: Vec<Value>,
    /// Fields to sum up, with dots for fields of fields; all that hold numbers where none is named.
    #[default]
    fields: Vec<String>,
    /// The field whose values make the groups.
    group_by: Option<String>,
    /// Percentiles to give, 0 to 100.
    #[default = vec![50.0, 90.0, 99.0]]
    percentiles: Vec<f64>,
) -> Result<Totals, Failure> {
    if let Some(wrong) = percentiles.iter().find(|p| !(0.0..=100.0).contains(*p)) {
        return Err(Failure::invalid_input(format!(
            "input `percentiles`: expected 0 to 100, found {wrong}"
        )));
    }
    let present: Vec<(usize, &Value)> = values.iter().enumerate().filter(|(_, value)| !value.is_null()).collect();
    let mut totals = Totals {
        count: present.len() as u64,
        missing: (values.len() - present.len()) as u64,
        summary: None,
        fields: BTreeMap::new(),
        groups: Vec::new(),
    };
    let Some((_, first)) = present.first() else { return Ok(totals) };
    if first.is_number() {
        if !fields.is_empty() || group_by.is_some() {
            return Err(Failure::invalid_input("inputs `fields` and `group_by` need records, found numbers"));
        }
        let numbers = present.iter().map(|(at, value)| field::number(value, &format!("values[{at}]")));
        totals.summary = Series::from(numbers.collect::<Result<Vec<_>, _>>()?).summary(&percentiles, 0);
        return Ok(totals);
    }
    let records = present
        .iter()
        .map(|(at, value)| {
            value.as_object().or_invalid_input(format_args!(
                "input `values[{at}]`: expected a record, found {}",
                field::kind(value)
            ))?;
            Ok((*at, *value))
        })
        .collect::<Result<Vec<_>, Failure>>()?;
    let fields = if fields.is_empty() { field::numeric(&records) } else { fields };
    totals.fields = summaries(&records, &fields, &percentiles)?;
    if let Some(group_by) = group_by {
        for (key, members) in field::groups(&records, &group_by) {
            totals.groups.push(Group {
                key,
                count: members.len() as u64,
                fields: summaries(&members, &fields, &percentiles)?,
            });
        }
    }
    Ok(totals)
}

fn summaries(records: &[(usize, &Value)], fields: &[String], percentiles: &[f64]) -> Result<BTreeMap<String, Summary>, Failure> {
    let mut summaries = BTreeMap::new();
    for field in fields {
        let mut numbers = Vec::new();
        let mut missing = 0;
        for (at, record) in records {
            match field::get(record, field) {
                None | Some(Value::Null) => missing += 1,
                Some(value) => numbers.push(field::number(value, &format!("values[{at}].{field}"))?),
            }
        }
        if let Some(summary) = Series::from(numbers).summary(percentiles, missing) {
            summaries.insert(field.clone(), summary);
        }
    }
    Ok(summaries)
}

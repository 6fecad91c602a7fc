//! Inputs of a run against the declarations of its workflow.

use crate::suggest::did_you_mean;
use eyot_model::{Inputs, Value, ValueType, Workflow};

/// What is wrong with one input.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InputProblem {
    pub name: String,
    /// A lower-case fragment that names the input.
    pub message: String,
    pub help: Option<String>,
}

impl std::fmt::Display for InputProblem {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.message)?;
        match &self.help {
            Some(help) => write!(f, " ({help})"),
            None => Ok(()),
        }
    }
}

/// The inputs that a run starts with: those given, and the defaults of those that are not. A whole number is taken
/// where any number will do, and `224.0` where an integer is wanted.
///
/// # Errors
/// Every input that is missing, unknown or of the wrong type, by name.
pub fn check_inputs(workflow: &Workflow, given: Inputs) -> Result<Inputs, Vec<InputProblem>> {
    let mut problems = Vec::new();
    let mut inputs = Inputs::new();
    for (name, value) in given {
        let Some(decl) = workflow.inputs.get(&name) else {
            let known = workflow.inputs.keys().map(String::as_str);
            let help = did_you_mean(&name, known.clone()).or_else(|| {
                let names: Vec<&str> = known.take(12).collect();
                Some(if names.is_empty() {
                    "the workflow takes none".to_owned()
                } else {
                    format!("it takes {}", names.join(", "))
                })
            });
            let shown: String = name.chars().take(80).collect();
            let message = format!("there is no input `{shown}`");
            problems.push(InputProblem { name, message, help });
            continue;
        };
        let value = fitting(decl.value_type, value);
        if !decl.value_type.admits(&value) {
            let message = format!(
                "input `{name}` must be of type {}, found {}",
                decl.value_type.as_str(),
                value.type_name()
            );
            let help = hint(decl.value_type, &value);
            problems.push(InputProblem { name, message, help });
            continue;
        }
        inputs.insert(name, value);
    }
    for (name, decl) in &workflow.inputs {
        if inputs.contains_key(name) || problems.iter().any(|p| p.name == *name) {
            continue;
        }
        match &decl.default {
            Some(default) => {
                inputs.insert(name.clone(), default.clone());
            }
            None => problems.push(InputProblem {
                name: name.clone(),
                message: format!("input `{name}` ({}) is missing", decl.value_type.as_str()),
                help: decl.description.clone(),
            }),
        }
    }
    if problems.is_empty() {
        Ok(inputs)
    } else {
        problems.sort_by(|a, b| a.name.cmp(&b.name));
        Err(problems)
    }
}

fn fitting(wanted: ValueType, value: Value) -> Value {
    const EXACT: f64 = 9_007_199_254_740_992.0;
    match value {
        #[allow(clippy::cast_possible_truncation)] // whole and within the exact range
        Value::Float(f) if wanted == ValueType::Integer && f.fract() == 0.0 && f.abs() <= EXACT => Value::Int(f as i64),
        other => other,
    }
}

fn hint(wanted: ValueType, value: &Value) -> Option<String> {
    match (wanted, value) {
        (ValueType::Blob, Value::String(_)) => Some("a file is given as `-i name=@path`".to_owned()),
        (ValueType::Integer | ValueType::Number, Value::String(text)) if text.parse::<f64>().is_ok() => {
            Some("give it as a number, without quotes".to_owned())
        }
        _ => None,
    }
}

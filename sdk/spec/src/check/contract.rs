//! What a task is given against what its component declares.

use super::kinds::{Kinds, of_schema, target};
use super::names::Names;
use crate::component::ComponentInfo;
use crate::draft::{Pattern, TaskDraft};
use crate::report::{Report, code};
use crate::suggest::did_you_mean;
use eyot_expr::Program;
use eyot_model::{Outputs, Template, Value};
use serde_json::Value as Json;

pub(crate) fn check(task: &TaskDraft<'_>, uses: &str, component: &ComponentInfo, names: &Names<'_>, report: &mut Report) {
    let root = &component.inputs;
    let schema = target(root, root);
    let Some(properties) = schema.get("properties").and_then(Json::as_object) else {
        return;
    };
    let closed = schema.get("additionalProperties") == Some(&Json::Bool(false));
    for (name, given) in &task.with {
        match properties.get(name) {
            Some(wanted) => fits(name, uses, &given.value, wanted, root, names, report),
            None if closed => {
                let known = properties.keys().map(String::as_str);
                let help = did_you_mean(name, known.clone()).unwrap_or_else(|| {
                    let all: Vec<String> = known.map(|k| format!("`{k}`")).collect();
                    if all.is_empty() {
                        "it takes none".to_owned()
                    } else {
                        format!("it takes {}", all.join(", "))
                    }
                });
                report.error_with(given.place, code::UNKNOWN_INPUT, format!("`{uses}` has no input `{name}`"), help);
            }
            None => {}
        }
    }
    let required = schema.get("required").and_then(Json::as_array);
    for name in required.into_iter().flatten().filter_map(Json::as_str) {
        if task.with.contains_key(name) {
            continue;
        }
        let kinds = properties.get(name).map_or(Kinds::ANY, |s| of_schema(s, root));
        let message = format!("`{uses}` needs the input `{name}` ({})", kinds.words());
        report.error_with(task.with_place, code::MISSING_INPUT, message, format!("add `{name}` under `with`"));
    }
}

/// Outputs that somebody says a task gave, against what its component declares.
///
/// # Errors
/// Every output that is missing, unknown or does not fit, in words.
pub fn check_outputs(component: &ComponentInfo, outputs: &Outputs) -> Result<(), Vec<String>> {
    let root = &component.outputs;
    let schema = target(root, root);
    let Some(properties) = schema.get("properties").and_then(Json::as_object) else {
        return Ok(());
    };
    let mut wrong = Vec::new();
    for (name, value) in outputs {
        match properties.get(name) {
            Some(wanted) => {
                if let Err(Misfit { path, problem }) = literal_fits(value, wanted, root, 0) {
                    wrong.push(format!("output `{name}{path}` {problem}"));
                }
            }
            None if schema.get("additionalProperties") == Some(&Json::Bool(false)) => {
                let help = did_you_mean(name, properties.keys().map(String::as_str));
                let help = help.map(|help| format!(" ({help})")).unwrap_or_default();
                let shown: String = name.chars().take(80).collect();
                wrong.push(format!("there is no output `{shown}`{help}"));
            }
            None => {}
        }
    }
    let required = schema.get("required").and_then(Json::as_array);
    let missing = required
        .into_iter()
        .flatten()
        .filter_map(Json::as_str)
        .filter(|name| !outputs.contains_key(*name));
    wrong.extend(missing.map(|name| format!("output `{name}` is missing")));
    if wrong.is_empty() { Ok(()) } else { Err(wrong) }
}

fn fits(name: &str, uses: &str, given: &Pattern<'_>, wanted: &Json, root: &Json, names: &Names<'_>, report: &mut Report) {
    let kinds = of_schema(wanted, root);
    let found = match &given.template {
        Template::Literal(value) => {
            if let Err(Misfit { path, problem }) = literal_fits(value, wanted, root, 0) {
                let message = format!("`{name}{path}` of `{uses}` {problem}");
                report.error_maybe(given.place, code::WRONG_TYPE, message, hint(value, kinds));
            }
            return;
        }
        Template::Expr(_) => match given.expressions.first() {
            Some(expression) => of_program(&expression.program, names),
            None => Kinds::ANY,
        },
        Template::Text(_) => Kinds::STRING,
        Template::List(_) => Kinds::LIST,
        Template::Map(_) => Kinds::MAP,
    };
    if !kinds.accepting().meets(found) {
        let message = format!("`{name}` of `{uses}` must be {}, this is {}", kinds.words(), found.words());
        report.error(given.place, code::WRONG_TYPE, message);
    }
}

/// The types that the value of an expression may have.
pub(crate) fn of_program(program: &Program, names: &Names<'_>) -> Kinds {
    if let Some(value) = program.as_literal() {
        return Kinds::of_value(value);
    }
    program.as_reference().map_or(Kinds::ANY, |reference| names.kinds(reference))
}

/// What somebody probably meant by a literal that does not fit.
fn hint(value: &Value, wanted: Kinds) -> Option<String> {
    let Value::String(text) = value else { return None };
    if ["inputs.", "tasks.", "run."].iter().any(|root| text.starts_with(root)) {
        return Some(format!("an expression is written `${{{{ {text} }}}}`"));
    }
    let number = wanted.meets(Kinds::INT | Kinds::FLOAT) && text.parse::<f64>().is_ok();
    (number || (wanted.meets(Kinds::BOOL) && matches!(text.as_str(), "true" | "false"))).then(|| format!("leave the quotes out: `{text}`"))
}

/// How deep literals are compared with their schema.
const MAX_DEPTH: usize = 16;

/// Where a literal does not fit, and a fragment that follows its name: `must be an integer, found the string `x``.
struct Misfit {
    path: String,
    problem: String,
}

impl From<String> for Misfit {
    fn from(problem: String) -> Self {
        Self {
            path: String::new(),
            problem,
        }
    }
}

impl Misfit {
    fn within(mut self, step: &str) -> Self {
        self.path.insert_str(0, step);
        self
    }
}

fn literal_fits(value: &Value, schema: &Json, root: &Json, depth: usize) -> Result<(), Misfit> {
    let schema = target(schema, root);
    let kinds = of_schema(schema, root);
    let whole = match value {
        Value::Float(f) => f.fract() == 0.0,
        _ => true,
    };
    let integer_only = kinds.meets(Kinds::INT) && !kinds.meets(Kinds::FLOAT);
    if !kinds.accepting().meets(Kinds::of_value(value)) || (integer_only && !whole) {
        return Err(format!("must be {}, found {}", kinds.words(), shown(value)).into());
    }
    if depth >= MAX_DEPTH || !schema.is_object() {
        return Ok(());
    }
    if let Some(options) = schema.get("enum").and_then(Json::as_array) {
        let json = value.to_json();
        if !options.contains(&json) {
            let words: Vec<String> = options
                .iter()
                .take(12)
                .map(|o| format!("`{}`", o.as_str().map_or_else(|| o.to_string(), str::to_owned)))
                .collect();
            return Err(format!("must be one of {}, found {}", words.join(", "), shown(value)).into());
        }
    }
    for union in ["anyOf", "oneOf"] {
        if let Some(options) = schema.get(union).and_then(Json::as_array) {
            let mut first = None;
            for option in options {
                match literal_fits(value, option, root, depth + 1) {
                    Ok(()) => return Ok(()),
                    // The option of the right type says best what is wrong.
                    Err(e) if of_schema(option, root).accepting().meets(Kinds::of_value(value)) => first = first.or(Some(e)),
                    Err(_) => {}
                }
            }
            return first.map_or(Ok(()), Err);
        }
    }
    bounds(value, schema)?;
    match value {
        Value::List(items) => match schema.get("items") {
            Some(item_schema) => items
                .iter()
                .enumerate()
                .try_for_each(|(n, item)| literal_fits(item, item_schema, root, depth + 1).map_err(|e| e.within(&format!("[{n}]")))),
            None => Ok(()),
        },
        Value::Map(map) => {
            let Some(properties) = schema.get("properties").and_then(Json::as_object) else {
                return Ok(());
            };
            for (key, item) in map {
                match properties.get(key) {
                    Some(property) => literal_fits(item, property, root, depth + 1).map_err(|e| e.within(&format!(".{key}")))?,
                    None if schema.get("additionalProperties") == Some(&Json::Bool(false)) => {
                        return Err(format!("has no field `{key}`").into());
                    }
                    None => {}
                }
            }
            let required = schema.get("required").and_then(Json::as_array);
            match required
                .into_iter()
                .flatten()
                .filter_map(Json::as_str)
                .find(|r| !map.contains_key(*r))
            {
                Some(missing) => Err(format!("needs the field `{missing}`").into()),
                None => Ok(()),
            }
        }
        _ => Ok(()),
    }
}

#[allow(clippy::cast_precision_loss)] // bounds in schemas are small
fn bounds(value: &Value, schema: &Json) -> Result<(), String> {
    let number = match value {
        Value::Int(n) => *n as f64,
        Value::Float(f) => *f,
        _ => return Ok(()),
    };
    let bound = |key: &str| schema.get(key).and_then(Json::as_f64);
    if let Some(least) = bound("minimum").filter(|least| number < *least) {
        return Err(format!("must be at least {least}, found {}", shown(value)));
    }
    if let Some(most) = bound("maximum").filter(|most| number > *most) {
        return Err(format!("must be at most {most}, found {}", shown(value)));
    }
    Ok(())
}

fn shown(value: &Value) -> String {
    let json: String = match value {
        Value::String(text) => text.chars().take(40).collect(),
        other => other.to_json().to_string().chars().take(40).collect(),
    };
    match value {
        Value::Null => "nothing".to_owned(),
        Value::Bool(b) => format!("`{b}`"),
        Value::Int(_) | Value::Float(_) => format!("the number `{json}`"),
        Value::String(_) => format!("the string `{json}`"),
        Value::Bytes(_) => "bytes".to_owned(),
        Value::Blob(_) => "a blob".to_owned(),
        Value::List(_) => format!("the list `{json}`"),
        Value::Map(_) => format!("the map `{json}`"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn outputs_that_an_operator_gives_fit_what_the_component_declares() {
        let component = |outputs: Json| ComponentInfo {
            digest: eyot_model::Digest([0; 32]),
            size: 0,
            inputs: Json::Null,
            outputs,
            idempotent: false,
            needs: Vec::new(),
        };
        let receipt = component(json!({
            "type": "object", "properties": {"receipt": {"type": "string"}}, "required": ["receipt"], "additionalProperties": false
        }));
        let given = |name: &str, value: Value| Outputs::from([(name.to_owned(), value)]);
        assert_eq!(check_outputs(&receipt, &given("receipt", Value::from("A-1"))), Ok(()));
        let wrong = check_outputs(&receipt, &given("receipt", Value::Int(3))).unwrap_err();
        assert!(wrong[0].contains("output `receipt` must be"), "{wrong:?}");
        let wrong = check_outputs(&receipt, &given("reciept", Value::from("A-1"))).unwrap_err();
        assert!(
            wrong[0].contains("receipt") && wrong[1] == "output `receipt` is missing",
            "{wrong:?}"
        );
        assert_eq!(
            check_outputs(&component(Json::Null), &given("anything", Value::Int(3))),
            Ok(()),
            "it does not say"
        );
    }
}

//! What a task's function returns, turned into named outputs.

use crate::{Failure, describe};
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::{Map, Value, json};

/// Outputs by name.
pub type Outputs = Map<String, Value>;

/// Types that a task may return: a struct or map that derives `Serialize` and `JsonSchema`; each field is one output.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be the outputs of a task",
    label = "needs `Serialize` and `JsonSchema`",
    note = "return a struct with `#[eyot_task::data]` on it, or derive both; each field is one named output"
)]
pub trait Output: Serialize + JsonSchema {}
impl<T: Serialize + JsonSchema> Output for T {}

/// What a fallible function returns.
#[diagnostic::on_unimplemented(
    message = "a task cannot return `{Self}`",
    label = "expected `Result<Outputs, Failure>`, or another error that `?` turns into a `Failure`"
)]
pub trait Outcome {
    type Output: Output;

    /// # Errors
    /// What the function said, or that its outputs have no names or cannot be written.
    fn into_outputs(self) -> Result<Outputs, Failure>;
}

impl<T: Output, E: Into<Failure>> Outcome for Result<T, E> {
    type Output = T;

    fn into_outputs(self) -> Result<Outputs, Failure> {
        let outputs = self.map_err(Into::into)?;
        match serde_json::to_value(&outputs).map_err(|e| Failure::permanent(format!("writing the outputs: {e}")))? {
            Value::Null => Ok(Outputs::new()),
            Value::Object(map) if !map.contains_key("$blob") && !map.contains_key("$bytes") => Ok(map),
            other => {
                let found = match other {
                    Value::Bool(_) => "a boolean",
                    Value::Number(_) => "a number",
                    Value::String(_) => "a string",
                    Value::Array(_) => "a list",
                    Value::Null | Value::Object(_) => "a blob or bytes",
                };
                Err(Failure::permanent(format!(
                    "outputs need names: the task returned {found}, not a struct or map"
                )))
            }
        }
    }
}

/// The type that a function which cannot fail is treated as.
#[doc(hidden)]
pub type Unwrapped<T> = Result<T, Failure>;

#[doc(hidden)]
pub fn unwrapped<T>(output: T) -> Unwrapped<T> {
    Ok(output)
}

/// JSON Schema of what a function returns.
#[doc(hidden)]
#[must_use]
pub fn schema_of<R: Outcome>() -> Value {
    let schema = describe::generator().into_root_schema_for::<R::Output>().to_value();
    if schema.get("type").is_some_and(|t| t == "null") {
        return json!({"type": "object", "properties": {}});
    }
    schema
}

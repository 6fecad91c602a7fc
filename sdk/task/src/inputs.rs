//! Named inputs, turned into the parameters of a task's function.

use crate::Failure;
use schemars::JsonSchema;
use serde::de::DeserializeOwned;
use serde_json::Value;
use std::collections::BTreeMap;

/// Longest part of a wrong value that a message repeats, in bytes.
const MAX_QUOTE: usize = 160;

/// Types that may be parameters of a task: those that derive `Deserialize` and `JsonSchema`.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be an input of a task",
    label = "needs `Deserialize` and `JsonSchema`",
    note = "put `#[eyot_task::data]` on the type, or derive both; inputs are owned: `String` and not `&str`"
)]
pub trait Input: DeserializeOwned + JsonSchema {}
impl<T: DeserializeOwned + JsonSchema> Input for T {}

/// The inputs of one attempt.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Inputs(BTreeMap<String, Value>);

impl Inputs {
    /// From values by name.
    #[must_use]
    pub fn new(values: impl IntoIterator<Item = (String, Value)>) -> Self {
        Self(values.into_iter().collect())
    }

    /// Refuses inputs that the task does not know: a slip of the pen would otherwise leave a default in force.
    ///
    /// # Errors
    /// Names the input and the nearest known one.
    pub fn only(&self, known: &[&str]) -> Result<(), Failure> {
        let Some(unknown) = self.0.keys().find(|name| !known.contains(&name.as_str())) else {
            return Ok(());
        };
        let nearest = known.iter().map(|name| (strsim::damerau_levenshtein(name, unknown), name)).min();
        let hint = match nearest {
            Some((distance, name)) if distance <= 1 + name.len() / 4 => format!(", did you mean `{name}`?"),
            _ if known.is_empty() => "; this task takes none".to_owned(),
            _ => format!("; this task takes {}", known.join(", ")),
        };
        Err(Failure::invalid_input(format!("unknown input `{unknown}`{hint}")))
    }

    /// Takes an input that must be there.
    ///
    /// # Errors
    /// Names the input, what was expected and what was found.
    pub fn take<T: Input>(&mut self, name: &str) -> Result<T, Failure> {
        match self.0.remove(name) {
            Some(value) => typed(name, value),
            None => Err(Failure::invalid_input(format!("input `{name}` is missing{}", kind_of::<T>()))),
        }
    }

    /// Takes an input that may be missing or null.
    ///
    /// # Errors
    /// As [`Inputs::take`], where it is there.
    pub fn take_optional<T: Input>(&mut self, name: &str) -> Result<Option<T>, Failure> {
        match self.0.remove(name) {
            None | Some(Value::Null) => Ok(None),
            Some(value) => typed(name, value).map(Some),
        }
    }

    /// Takes an input that has a default.
    ///
    /// # Errors
    /// As [`Inputs::take`], where it is there.
    pub fn take_or<T: Input>(&mut self, name: &str, default: impl FnOnce() -> T) -> Result<T, Failure> {
        Ok(self.take_optional(name)?.unwrap_or_else(default))
    }
}

fn typed<T: Input>(name: &str, value: Value) -> Result<T, Failure> {
    let error = match serde_path_to_error::deserialize::<_, T>(&value) {
        Ok(typed) => return Ok(typed),
        Err(error) => error,
    };
    // Expressions compute in floating point: 224.0 is a width too.
    let whole = with_whole_numbers(value.clone());
    if whole != value
        && let Ok(typed) = serde_json::from_value(whole)
    {
        return Ok(typed);
    }
    let path = error.path().to_string();
    let place = match path.as_str() {
        "." => name.to_owned(),
        path if path.starts_with('[') => format!("{name}{path}"),
        path => format!("{name}.{path}"),
    };
    Err(Failure::invalid_input(format!(
        "input `{place}`: {}",
        expected_and_found(&error.inner().to_string())
    )))
}

/// Serde says "invalid type: string "x", expected u32"; people look for what was expected first.
fn expected_and_found(message: &str) -> String {
    let found = message
        .strip_prefix("invalid type: ")
        .or_else(|| message.strip_prefix("invalid value: "));
    match found.and_then(|rest| rest.rsplit_once(", expected ")) {
        Some((found, expected)) => format!("expected {expected}, found {}", shortened(found)),
        None => shortened(message),
    }
}

fn shortened(text: &str) -> String {
    match text.char_indices().nth(MAX_QUOTE) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

/// " (expected …)" where the schema of `T` says something short.
fn kind_of<T: JsonSchema>() -> String {
    let schema = T::json_schema(&mut crate::describe::generator());
    let word = schema.get("format").or_else(|| schema.get("type")).and_then(Value::as_str);
    word.map(|word| format!(" (expected {word})")).unwrap_or_default()
}

fn with_whole_numbers(value: Value) -> Value {
    /// Beyond it not every whole number is a floating point number.
    const EXACT: f64 = 9_007_199_254_740_992.0;
    match value {
        Value::Number(n) => match n.as_f64().filter(|f| n.is_f64() && f.fract() == 0.0 && f.abs() <= EXACT) {
            Some(whole) => Value::from(whole as i64),
            None => Value::Number(n),
        },
        Value::Array(list) => list.into_iter().map(with_whole_numbers).collect(),
        Value::Object(map) => map.into_iter().map(|(key, value)| (key, with_whole_numbers(value))).collect(),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Blob;
    use serde_json::json;

    fn inputs(json: Value) -> Inputs {
        let Value::Object(map) = json else { panic!("an object") };
        Inputs::new(map)
    }

    #[test]
    fn a_wrong_input_is_named_with_what_was_expected_and_found() {
        let mut given = inputs(json!({"width": "wide", "points": [[1, 2], [3, "x"]], "big": 300, "image": 7}));
        let message = |result: Result<String, Failure>| result.unwrap_err().to_string();
        assert_eq!(
            message(given.take::<u32>("width").map(|v| v.to_string())),
            "input `width`: expected u32, found string \"wide\""
        );
        assert_eq!(
            message(given.take::<Vec<[f64; 2]>>("points").map(|v| format!("{v:?}"))),
            "input `points[1][1]`: expected f64, found string \"x\""
        );
        assert_eq!(
            message(given.take::<u8>("big").map(|v| v.to_string())),
            "input `big`: expected u8, found integer `300`"
        );
        assert_eq!(
            message(given.take::<Blob>("image").map(|v| format!("{v:?}"))),
            "input `image`: expected a blob, found integer `7`"
        );
        assert_eq!(
            message(given.take::<Blob>("photo").map(|v| format!("{v:?}"))),
            "input `photo` is missing (expected blob)"
        );
        assert_eq!(
            message(given.take::<u32>("height").map(|v| v.to_string())),
            "input `height` is missing (expected uint32)"
        );
    }

    #[test]
    fn a_long_wrong_value_is_cut_short() {
        let failure = inputs(json!({"n": "é".repeat(5000)})).take::<u32>("n").unwrap_err();
        assert!(failure.message().len() < 500, "{failure}");
    }

    #[test]
    fn an_unknown_input_is_refused_with_the_nearest_name() {
        let given = inputs(json!({"widht": 1}));
        assert_eq!(
            given.only(&["height", "width"]).unwrap_err().to_string(),
            "unknown input `widht`, did you mean `width`?"
        );
        assert_eq!(
            given.only(&["image", "crop"]).unwrap_err().to_string(),
            "unknown input `widht`; this task takes image, crop"
        );
        given.only(&["widht"]).unwrap();
    }

    #[test]
    fn whole_floating_point_numbers_are_integers_where_integers_are_asked_for() {
        let mut given = inputs(json!({"a": 224.0, "b": 224.0, "c": [1.0, 2.0], "d": 0.5}));
        assert_eq!(given.take::<u32>("a").unwrap(), 224);
        assert_eq!(given.take::<Value>("b").unwrap(), json!(224.0));
        assert_eq!(given.take::<Vec<u8>>("c").unwrap(), [1, 2]);
        assert!(given.take::<u32>("d").is_err());
    }

    #[test]
    fn null_counts_as_missing_where_an_input_may_be_missing() {
        let mut given = inputs(json!({"a": null, "b": 3}));
        assert_eq!(given.take_or("a", || 7).unwrap(), 7);
        assert_eq!(given.take_optional::<u8>("b").unwrap(), Some(3));
        assert_eq!(given.take_optional::<u8>("c").unwrap(), None);
    }
}

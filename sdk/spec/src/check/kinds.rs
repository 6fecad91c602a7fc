//! Types, as far as declarations and JSON Schemas tell them.

use eyot_model::{Value, ValueType};
use serde_json::Value as Json;
use std::ops::BitOr;

/// A set of the types that a value may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Kinds(u16);

impl BitOr for Kinds {
    type Output = Self;
    fn bitor(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

impl Kinds {
    pub(crate) const NONE: Self = Self(0);
    pub(crate) const NULL: Self = Self(1);
    pub(crate) const BOOL: Self = Self(2);
    pub(crate) const INT: Self = Self(4);
    pub(crate) const FLOAT: Self = Self(8);
    pub(crate) const STRING: Self = Self(16);
    pub(crate) const BYTES: Self = Self(32);
    pub(crate) const BLOB: Self = Self(64);
    pub(crate) const LIST: Self = Self(128);
    pub(crate) const MAP: Self = Self(256);
    pub(crate) const ANY: Self = Self(511);

    pub(crate) fn meets(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }

    pub(crate) fn of_type(declared: ValueType) -> Self {
        match declared {
            ValueType::String => Self::STRING,
            ValueType::Integer => Self::INT,
            ValueType::Number => Self::INT | Self::FLOAT,
            ValueType::Boolean => Self::BOOL,
            ValueType::Blob => Self::BLOB | Self::BYTES,
            ValueType::List => Self::LIST,
            ValueType::Object => Self::MAP,
            ValueType::Any => Self::ANY,
        }
    }

    pub(crate) fn of_value(value: &Value) -> Self {
        match value {
            Value::Null => Self::NULL,
            Value::Bool(_) => Self::BOOL,
            Value::Int(_) => Self::INT,
            Value::Float(_) => Self::FLOAT,
            Value::String(_) => Self::STRING,
            Value::Bytes(_) => Self::BYTES,
            Value::Blob(_) => Self::BLOB,
            Value::List(_) => Self::LIST,
            Value::Map(_) => Self::MAP,
        }
    }

    /// What may be given where this is wanted: whole floats are integers, bytes and blobs stand for each other.
    pub(crate) fn accepting(self) -> Self {
        let mut wide = self;
        for group in [Self::INT | Self::FLOAT, Self::BLOB | Self::BYTES] {
            if self.meets(group) {
                wide = wide | group;
            }
        }
        wide
    }

    /// For messages: `an integer or null`.
    pub(crate) fn words(self) -> String {
        if self == Self::ANY {
            return "any value".to_owned();
        }
        let number = Self::INT | Self::FLOAT;
        let mut words = Vec::new();
        let blob = self.meets(Self::BLOB);
        let names = [
            (Self::STRING, "a string"),
            (Self::BOOL, "a boolean"),
            (Self::LIST, "a list"),
            (Self::MAP, "a map"),
        ];
        if blob {
            words.push("a blob");
        } else if self.meets(Self::BYTES) {
            words.push("bytes");
        }
        if Self(self.0 & number.0) == number || Self(self.0 & number.0) == Self::FLOAT {
            words.push("a number");
        } else if self.meets(Self::INT) {
            words.push("an integer");
        }
        words.extend(names.iter().filter(|(kind, _)| self.meets(*kind)).map(|(_, word)| *word));
        if self.meets(Self::NULL) {
            words.push("null");
        }
        match words.split_last() {
            None => "nothing".to_owned(),
            Some((last, [])) => (*last).to_owned(),
            Some((last, rest)) => format!("{} or {last}", rest.join(", ")),
        }
    }
}

/// How far references between schemas are followed.
const MAX_DEPTH: usize = 16;

/// The schema that a schema refers to.
pub(crate) fn target<'j>(schema: &'j Json, root: &'j Json) -> &'j Json {
    let mut schema = schema;
    for _ in 0..MAX_DEPTH {
        let Some(pointer) = schema.get("$ref").and_then(Json::as_str).and_then(|r| r.strip_prefix('#')) else {
            break;
        };
        match root.pointer(pointer) {
            Some(next) => schema = next,
            None => return &Json::Null,
        }
    }
    schema
}

/// The types that a schema admits.
pub(crate) fn of_schema(schema: &Json, root: &Json) -> Kinds {
    of_schema_at(schema, root, 0)
}

fn of_schema_at(schema: &Json, root: &Json, depth: usize) -> Kinds {
    let schema = target(schema, root);
    if depth > MAX_DEPTH || !schema.is_object() {
        return Kinds::ANY;
    }
    match schema.get("format").and_then(Json::as_str) {
        Some("blob") => return Kinds::BLOB,
        Some("bytes") => return Kinds::BYTES,
        _ => {}
    }
    for union in ["anyOf", "oneOf"] {
        if let Some(options) = schema.get(union).and_then(Json::as_array) {
            return options
                .iter()
                .map(|s| of_schema_at(s, root, depth + 1))
                .fold(Kinds::NONE, |a, b| a | b);
        }
    }
    match schema.get("type") {
        Some(Json::String(word)) => of_word(word),
        Some(Json::Array(words)) => words.iter().filter_map(Json::as_str).map(of_word).fold(Kinds::NONE, |a, b| a | b),
        _ => match (schema.get("enum").and_then(Json::as_array), schema.get("const")) {
            (Some(values), _) => values.iter().map(of_json).fold(Kinds::NONE, |a, b| a | b),
            (None, Some(value)) => of_json(value),
            (None, None) => Kinds::ANY,
        },
    }
}

fn of_word(word: &str) -> Kinds {
    match word {
        "null" => Kinds::NULL,
        "boolean" => Kinds::BOOL,
        "integer" => Kinds::INT,
        "number" => Kinds::INT | Kinds::FLOAT,
        "string" => Kinds::STRING,
        "array" => Kinds::LIST,
        // A blob is an object in JSON; a schema that does not say which admits both.
        "object" => Kinds::MAP,
        _ => Kinds::ANY,
    }
}

fn of_json(value: &Json) -> Kinds {
    match value {
        Json::Null => Kinds::NULL,
        Json::Bool(_) => Kinds::BOOL,
        Json::Number(n) if n.is_f64() => Kinds::FLOAT,
        Json::Number(_) => Kinds::INT,
        Json::String(_) => Kinds::STRING,
        Json::Array(_) => Kinds::LIST,
        Json::Object(_) => Kinds::MAP,
    }
}

/// A field that a schema does not declare.
#[derive(Debug)]
pub(crate) struct Missing {
    /// How many fields were there before it.
    pub(crate) depth: usize,
    pub(crate) field: String,
    pub(crate) known: Vec<String>,
}

/// The types of a field of a field … of a value with this schema.
///
/// # Errors
/// The first field that is not declared, where the schema declares fields at all.
pub(crate) fn walk(root: &Json, fields: &[&str]) -> Result<Kinds, Missing> {
    let mut schema = target(root, root);
    for (depth, field) in fields.iter().enumerate() {
        let Some(properties) = schema.get("properties").and_then(Json::as_object) else {
            return Ok(Kinds::ANY);
        };
        match properties.get(*field) {
            Some(next) => schema = target(next, root),
            None if is_open(schema) => return Ok(Kinds::ANY),
            None => {
                return Err(Missing {
                    depth,
                    field: (*field).to_owned(),
                    known: properties.keys().cloned().collect(),
                });
            }
        }
    }
    Ok(of_schema(schema, root))
}

/// Whether fields beyond the declared ones are to be expected.
fn is_open(schema: &Json) -> bool {
    let union = ["anyOf", "oneOf", "allOf", "patternProperties"]
        .iter()
        .any(|k| schema.get(*k).is_some());
    let more = schema.get("additionalProperties").is_some_and(|a| *a != Json::Bool(false));
    union || more
}

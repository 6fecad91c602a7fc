//! The JSON Schema of the language, made of the tables that the reader uses.

use crate::read::{CATALOGUE, Field, GRANT_NAMES, Shape, Table};
use serde_json::{Map, Value, json};

const DURATION: &str = r"^([0-9]+(\.[0-9]+)?(ms|s|m|min|h|d|w))+$";
const QUANTITY: &str = r"^[0-9]+(\.[0-9]+)?([kKMGTP]i?)?B?$";
const CORES: &str = r"^[0-9]+(\.[0-9]+)?m?$";

/// For editors: what a workflow text may hold. Passing it does not mean that the text is a workflow, which [`crate::parse`]
/// decides.
#[must_use]
pub fn json_schema() -> Value {
    let definitions: Map<String, Value> = CATALOGUE
        .iter()
        .map(|(name, table)| ((*name).to_owned(), of_table(table)))
        .collect();
    json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": "https://eyot.dev/v1/workflow.schema.json",
        "title": "Eyot workflow",
        "$ref": "#/$defs/document",
        "$defs": definitions,
    })
}

fn of_table(table: &Table) -> Value {
    let fields = || table.fields.iter().filter(|f| !matches!(f.shape, Shape::Later));
    let properties: Map<String, Value> = fields().map(|f| (f.name.to_owned(), of_field(f))).collect();
    let required: Vec<&str> = fields().filter(|f| f.required).map(|f| f.name).collect();
    json!({"type": "object", "properties": properties, "required": required, "additionalProperties": false})
}

fn of_field(field: &Field) -> Value {
    let mut schema = of_shape(field.shape);
    if let Value::Object(map) = &mut schema {
        map.insert("description".to_owned(), field.about.into());
    }
    schema
}

fn of_shape(shape: Shape) -> Value {
    match shape {
        Shape::Text => json!({"type": ["string", "number"]}),
        Shape::Like(pattern) => json!({"type": "string", "pattern": pattern, "maxLength": crate::limits::MAX_NAME}),
        Shape::OneOf([word]) => json!({"const": word}),
        Shape::OneOf(words) => json!({"enum": words}),
        Shape::Boolean => json!({"type": "boolean"}),
        Shape::Count => json!({"type": "integer", "minimum": 1}),
        Shape::Number => json!({"type": "number"}),
        Shape::Duration => json!({"type": "string", "pattern": DURATION}),
        Shape::Size => json!({"anyOf": [{"type": "string", "pattern": QUANTITY}, {"type": "integer", "minimum": 1}]}),
        Shape::Cores => json!({"anyOf": [{"type": "string", "pattern": CORES}, {"type": "number", "exclusiveMinimum": 0}]}),
        Shape::Condition => json!({"type": ["string", "boolean"]}),
        Shape::Any => json!({}),
        Shape::Items => json!({"type": ["string", "array"]}),
        Shape::Words => json!({"type": "array", "items": {"type": "string"}}),
        Shape::Map(table) => reference(table),
        Shape::WordOrMap(words, table) => json!({"anyOf": [{"enum": words}, reference(table)]}),
        Shape::List(table) => json!({"type": "array", "items": reference(table)}),
        Shape::Named(table) => json!({"type": "object", "additionalProperties": reference(table)}),
        Shape::NamedAny => json!({"type": "object"}),
        Shape::GrantList => json!({"type": "array", "items": {"enum": GRANT_NAMES}, "uniqueItems": true}),
        Shape::Later => json!(false),
    }
}

fn reference(table: &'static Table) -> Value {
    let name = CATALOGUE
        .iter()
        .find(|(_, t)| std::ptr::eq(*t, table))
        .map_or("document", |(name, _)| name);
    json!({"$ref": format!("#/$defs/{name}")})
}

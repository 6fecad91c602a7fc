//! What a task says of itself.

use schemars::generate::SchemaSettings;
use schemars::{JsonSchema, SchemaGenerator};
use serde::Serialize;
use serde_json::{Map, Value, json};

/// What the registry and the checks of workflows know of a task.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Description {
    pub name: String,
    pub version: String,
    /// JSON Schema of an object with the inputs. A blob is `{"type": "object", "format": "blob"}`.
    pub inputs: Value,
    /// JSON Schema of an object with the outputs.
    pub outputs: Value,
    pub idempotent: bool,
    pub deterministic: bool,
    /// Grants that it cannot do without.
    pub needs: Vec<String>,
}

pub(crate) fn generator() -> SchemaGenerator {
    SchemaSettings::draft2020_12()
        .with(|settings| settings.meta_schema = None)
        .into_generator()
}

/// Collects the schema of a task's inputs, one after another.
pub struct InputSchema {
    generator: SchemaGenerator,
    description: String,
    properties: Map<String, Value>,
    required: Vec<String>,
}

impl InputSchema {
    #[must_use]
    pub fn new(description: &str) -> Self {
        Self {
            generator: generator(),
            description: description.to_owned(),
            properties: Map::new(),
            required: Vec::new(),
        }
    }

    /// An input that must be given.
    pub fn required<T: JsonSchema>(&mut self, name: &str, description: &str) {
        self.required.push(name.to_owned());
        self.optional::<T>(name, description);
    }

    /// An input that may be missing.
    pub fn optional<T: JsonSchema>(&mut self, name: &str, description: &str) {
        let mut schema = self.generator.subschema_for::<T>().to_value();
        if let (Value::Object(schema), false) = (&mut schema, description.is_empty()) {
            schema.insert("description".into(), description.into());
        }
        self.properties.insert(name.to_owned(), schema);
    }

    /// An input that is `default` where it is missing.
    pub fn defaulted<T: JsonSchema + Serialize>(&mut self, name: &str, description: &str, default: &T) {
        self.optional::<T>(name, description);
        if let (Some(Value::Object(schema)), Ok(default)) = (self.properties.get_mut(name), serde_json::to_value(default)) {
            schema.insert("default".into(), default);
        }
    }

    #[must_use]
    pub fn finish(mut self) -> Value {
        let mut schema = json!({
            "type": "object",
            "properties": self.properties,
            "required": self.required,
            "additionalProperties": false,
        });
        if let Value::Object(schema) = &mut schema {
            if !self.description.is_empty() {
                schema.insert("description".into(), self.description.into());
            }
            let definitions = self.generator.take_definitions(true);
            if !definitions.is_empty() {
                schema.insert("$defs".into(), definitions.into());
            }
        }
        schema
    }
}

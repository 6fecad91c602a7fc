//! Declared inputs.

use super::Reader;
use super::fields::INPUT;
use crate::report::code;
use crate::text::{Entry, Kind, Node};
use eyot_model::{InputDecl, ValueType};
use std::collections::BTreeMap;

pub(crate) static TYPES: [&str; 8] = ["string", "integer", "number", "boolean", "blob", "list", "object", "any"];

const VALUES: [ValueType; 8] = [
    ValueType::String,
    ValueType::Integer,
    ValueType::Number,
    ValueType::Boolean,
    ValueType::Blob,
    ValueType::List,
    ValueType::Object,
    ValueType::Any,
];

impl Reader<'_, '_> {
    pub(crate) fn inputs(&mut self, node: &Node) -> BTreeMap<String, InputDecl> {
        let mut inputs = BTreeMap::new();
        let entries = match &node.kind {
            Kind::Map(entries) => &entries[..],
            Kind::Scalar(_) if node.is_null() => &[],
            Kind::Scalar(_) | Kind::List(_) => {
                let help = "each input has a name: `site: {type: string}`".to_owned();
                self.expected(node, "a map of inputs", Some(help));
                &[]
            }
        };
        for entry in entries {
            self.field_name(&entry.key, entry.place, "an input");
            // A wrong declaration is a declaration all the same: its name is no second mistake.
            let decl = self.input(entry).unwrap_or(InputDecl {
                value_type: ValueType::Any,
                default: None,
                description: None,
            });
            inputs.insert(entry.key.clone(), decl);
        }
        inputs
    }

    fn input(&mut self, entry: &Entry) -> Option<InputDecl> {
        let (name, node) = (&entry.key, &entry.value);
        if let Some(scalar) = node.text()
            && TYPES.contains(&scalar.text.as_str())
        {
            let help = format!("write `{name}: {{type: {}}}`", scalar.text);
            self.expected(node, "a map for an input", Some(help));
            return None;
        }
        let fields = self.fields(node, &INPUT, entry.place)?;
        let value_type = match fields.get("type") {
            Some(node) => self.choice(node, &TYPES, &VALUES),
            None => None,
        };
        let description = fields.get("description").and_then(|n| self.text(n, "a text")).map(str::to_owned);
        let default = fields.get("default").filter(|n| !n.is_null());
        let default_value = default.and_then(|n| self.literal(n));
        if let (Some(value_type), Some(value), Some(node)) = (value_type, &default_value, default)
            && !value_type.admits(value)
        {
            let message = format!(
                "the default of `{name}` must be of type {}, found {}",
                value_type.as_str(),
                node.describe()
            );
            self.report.error(node.place, code::WRONG_TYPE, message);
        }
        Some(InputDecl {
            value_type: value_type.unwrap_or(ValueType::Any),
            default: default_value,
            description,
        })
    }
}

//! A registry for tests.
#![allow(dead_code, clippy::unwrap_used)]

use eyot_model::Digest;
use eyot_model::api::{Diagnostic, Severity};
use eyot_spec::{ComponentInfo, Components, Parsed, parse};
use serde_json::json;

pub(crate) struct Registry;

impl Components for Registry {
    fn resolve(&self, name: &str) -> Option<ComponentInfo> {
        let info = |inputs, outputs, idempotent, needs: &[&str]| {
            Some(ComponentInfo {
                digest: Digest::of(name.as_bytes()),
                size: 1_000,
                inputs,
                outputs,
                idempotent,
                needs: needs.iter().map(|n| (*n).to_owned()).collect(),
            })
        };
        match name {
            "eyot/image@1" => info(
                json!({
                    "type": "object", "additionalProperties": false, "required": ["image"],
                    "properties": {
                        "image": {"type": "object", "format": "blob"},
                        "width": {"type": ["integer", "null"], "minimum": 1, "maximum": 10000},
                        "filter": {"$ref": "#/$defs/Filter"},
                        "crop": {"type": "object", "properties": {"x": {"type": "integer"}}, "required": ["x"], "additionalProperties": false},
                        "sharpen": {"type": "boolean"},
                    },
                    "$defs": {"Filter": {"type": "string", "enum": ["nearest", "linear"]}},
                }),
                json!({"type": "object", "properties": {
                    "image": {"type": "object", "format": "blob"},
                    "width": {"type": "integer"},
                    "tiles": {"type": "array", "items": {"type": "object", "format": "blob"}},
                    "stats": {"type": "object", "properties": {"mean": {"type": "number"}}},
                }}),
                true,
                &[],
            ),
            "eyot/infer@1" => info(json!(null), json!(null), true, &["inference"]),
            "eyot/pay@2" => info(json!(null), json!(null), false, &[]),
            "eyot/text@1" => info(
                json!({"type": "object"}),
                json!({"type": "object", "properties": {"text": {"type": "string"}}}),
                true,
                &[],
            ),
            _ => None,
        }
    }

    fn names(&self) -> Vec<String> {
        ["eyot/image@1", "eyot/infer@1", "eyot/pay@2", "eyot/text@1"]
            .map(str::to_owned)
            .to_vec()
    }
}

/// A whole text with this `spec`, which begins in line 4 and is indented by two.
pub(crate) fn document(spec: &str) -> String {
    let indented: String = spec.lines().map(|l| format!("  {l}\n")).collect();
    format!("apiVersion: eyot.dev/v1\nkind: Workflow\nmetadata: {{name: test}}\nspec:\n{indented}")
}

/// `line:column code message | help`
pub(crate) fn show(d: &Diagnostic) -> String {
    let help = d.help.as_ref().map_or(String::new(), |h| format!(" | {h}"));
    let warning = if d.severity == Severity::Warning { "warning " } else { "" };
    format!("{}:{} {warning}{} {}{help}", d.line, d.column, d.code, d.message)
}

pub(crate) fn errors(text: &str) -> Vec<String> {
    match parse(text, &Registry) {
        Ok(_) => panic!("no mistake was found in\n{text}"),
        Err(found) => found.iter().map(show).collect(),
    }
}

/// As [`errors`], with the first characters that stand at each place: `6:15 <eyot/imge@1>`.
pub(crate) fn errors_at(text: &str) -> Vec<String> {
    let lines: Vec<&str> = text.lines().collect();
    let found = parse(text, &Registry)
        .err()
        .unwrap_or_else(|| panic!("no mistake was found in\n{text}"));
    found
        .iter()
        .map(|d| {
            let line = lines.get(d.line as usize - 1).copied().unwrap_or("");
            let here: String = line.chars().skip(d.column as usize - 1).take(12).collect();
            let shown = show(d);
            let (place, rest) = shown.split_once(' ').unwrap();
            format!("{place} <{here}> {rest}")
        })
        .collect()
}

pub(crate) fn parsed(text: &str) -> Parsed {
    parse(text, &Registry).unwrap_or_else(|found| panic!("{}\n{text}", found.iter().map(show).collect::<Vec<_>>().join("\n")))
}

//! The tree of a text.

use crate::Place;
use eyot_model::Value;

#[derive(Clone, Debug)]
pub(crate) struct Node {
    pub(crate) place: Place,
    pub(crate) kind: Kind,
}

#[derive(Clone, Debug)]
pub(crate) enum Kind {
    Scalar(Scalar),
    List(Vec<Node>),
    /// In order of the text, keys unique.
    Map(Vec<Entry>),
}

#[derive(Clone, Debug)]
pub(crate) struct Entry {
    pub(crate) key: String,
    pub(crate) place: Place,
    pub(crate) value: Node,
}

#[derive(Clone, Debug)]
pub(crate) struct Scalar {
    /// After quotes, escapes and folding.
    pub(crate) text: String,
    pub(crate) style: Style,
    pub(crate) resolved: Resolved,
    /// Byte offset where it begins in the source: at its quote, or at the content of a block.
    pub(crate) start: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Style {
    Plain,
    Single,
    Double,
    /// `|` or `>`
    Block,
}

/// What the scalar means by YAML 1.2's core schema.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Resolved {
    Null,
    Bool(bool),
    Int(i64),
    Float(f64),
    Text,
}

impl Node {
    pub(crate) fn is_null(&self) -> bool {
        matches!(&self.kind, Kind::Scalar(s) if s.resolved == Resolved::Null)
    }

    pub(crate) fn scalar(&self) -> Option<&Scalar> {
        match &self.kind {
            Kind::Scalar(scalar) => Some(scalar),
            Kind::List(_) | Kind::Map(_) => None,
        }
    }

    /// The text of a string.
    pub(crate) fn text(&self) -> Option<&Scalar> {
        self.scalar().filter(|s| s.resolved == Resolved::Text)
    }

    /// For messages: `the number `5``, `the list `[a, b]``, `nothing`.
    pub(crate) fn describe(&self) -> String {
        const LONGEST: usize = 40;
        let word = match &self.kind {
            Kind::Scalar(scalar) => match scalar.resolved {
                Resolved::Null => return "nothing".to_owned(),
                Resolved::Bool(b) => return format!("`{b}`"),
                Resolved::Int(_) | Resolved::Float(_) => "the number",
                Resolved::Text => "the string",
            },
            Kind::List(_) => "the list",
            Kind::Map(_) => "the map",
        };
        let mut shown = String::new();
        self.show(&mut shown, LONGEST);
        if shown.chars().count() > LONGEST {
            shown = shown.chars().take(LONGEST).chain(std::iter::once('…')).collect();
        }
        format!("{word} `{}`", shown.replace('\n', " "))
    }

    /// Writes flow style until it is longer than asked for.
    fn show(&self, out: &mut String, longest: usize) {
        match &self.kind {
            Kind::Scalar(scalar) => out.push_str(&scalar.text),
            Kind::List(items) => {
                out.push('[');
                for (n, item) in items.iter().enumerate() {
                    if out.len() > longest {
                        return;
                    }
                    out.push_str(if n > 0 { ", " } else { "" });
                    item.show(out, longest);
                }
                out.push(']');
            }
            Kind::Map(entries) => {
                out.push('{');
                for (n, entry) in entries.iter().enumerate() {
                    if out.len() > longest {
                        return;
                    }
                    out.push_str(if n > 0 { ", " } else { "" });
                    out.push_str(&entry.key);
                    out.push_str(": ");
                    entry.value.show(out, longest);
                }
                out.push('}');
            }
        }
    }

    /// How much it is, itself included: nodes, and bytes of text in them.
    pub(crate) fn extent(&self) -> (usize, usize) {
        let sum = |(nodes, bytes): (usize, usize), (more, longer): (usize, usize)| (nodes + more, bytes + longer);
        match &self.kind {
            Kind::Scalar(scalar) => (1, scalar.text.len()),
            Kind::List(items) => items.iter().map(Self::extent).fold((1, 0), sum),
            Kind::Map(entries) => entries.iter().map(|e| sum((1, e.key.len()), e.value.extent())).fold((1, 0), sum),
        }
    }
}

impl Scalar {
    pub(crate) fn value(&self) -> Value {
        match self.resolved {
            Resolved::Null => Value::Null,
            Resolved::Bool(b) => Value::Bool(b),
            Resolved::Int(n) => Value::Int(n),
            Resolved::Float(f) => Value::Float(f),
            Resolved::Text => Value::String(self.text.clone()),
        }
    }
}

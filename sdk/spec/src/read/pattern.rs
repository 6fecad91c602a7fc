//! Values with holes, and bare expressions.

use super::Reader;
use super::hole::{Piece, Unclosed, split};
use crate::Place;
use crate::draft::{Expression, Origin, Pattern};
use crate::report::code;
use crate::text::{Kind, Node, Resolved, Scalar};
use eyot_expr::{ParseError, Program};
use eyot_model::{Expr, Template, TextPart, Value};
use std::collections::BTreeMap;

impl Reader<'_, '_> {
    /// A bare expression; `${{ }}` around the whole of it does no harm.
    pub(crate) fn condition<'t>(&mut self, node: &'t Node) -> Option<Expression<'t>> {
        let Some(scalar) = node.scalar().filter(|s| s.resolved != Resolved::Null) else {
            self.expected(node, "a CEL expression such as `inputs.count > 3`", None);
            return None;
        };
        if !matches!(scalar.resolved, Resolved::Text) {
            let program = Program::parse(&scalar.text).ok()?;
            let origin = Origin::At(node.place);
            return Some(Expression { program, origin });
        }
        match split(&scalar.text) {
            Ok(pieces) => {
                let mut holes = pieces.iter().filter_map(|p| match p {
                    Piece::Hole { source, at } => Some((source, *at)),
                    Piece::Text(_) => None,
                });
                let blank = |p: &Piece| matches!(p, Piece::Text(t) if t.trim().is_empty());
                if let Some((source, at)) = holes.next()
                    && pieces.iter().all(|p| blank(p) || matches!(p, Piece::Hole { .. }))
                    && holes.next().is_none()
                {
                    return self.expression(scalar, source, at);
                }
                self.expression(scalar, &scalar.text, 0)
            }
            Err(unclosed) => {
                self.unclosed(scalar, unclosed);
                None
            }
        }
    }

    pub(crate) fn expression<'t>(&mut self, scalar: &'t Scalar, source: &str, at: usize) -> Option<Expression<'t>> {
        let origin = Origin::Within(scalar, at);
        if let Some(program) = self.programs.get(source) {
            let program = program.clone();
            return Some(Expression { program, origin });
        }
        match Program::parse(source) {
            Ok(program) => {
                self.programs.insert(source.to_owned(), program.clone());
                Some(Expression { program, origin })
            }
            Err(error) => {
                self.parse_error(scalar, at, error);
                None
            }
        }
    }

    fn parse_error(&mut self, scalar: &Scalar, at: usize, error: ParseError) {
        let place = self.source.place_in(scalar, at + error.offset);
        self.report.error_maybe(place, code::EXPRESSION, error.message, error.help);
    }

    fn unclosed(&mut self, scalar: &Scalar, Unclosed(at): Unclosed) {
        let place = self.source.place_in(scalar, at);
        self.report.error_with(
            place,
            code::EXPRESSION,
            "this `${{` has no `}}`",
            "close it, or write `$${{` for the characters themselves",
        );
    }

    /// Any value, holes in its strings. None, and a report of it, where one of them is wrong.
    pub(crate) fn pattern<'t>(&mut self, node: &'t Node) -> Option<Pattern<'t>> {
        let mut expressions = Vec::new();
        let template = self.template(node, &mut expressions)?;
        Some(Pattern {
            template,
            place: node.place,
            expressions,
        })
    }

    fn template<'t>(&mut self, node: &'t Node, into: &mut Vec<Expression<'t>>) -> Option<Template> {
        match &node.kind {
            Kind::Scalar(scalar) if scalar.resolved == Resolved::Text => self.text_template(scalar, into),
            Kind::Scalar(scalar) => Some(Template::Literal(scalar.value())),
            Kind::List(items) => {
                // All of them, so that every mistake is found.
                let templates: Vec<_> = items.iter().map(|i| self.template(i, into)).collect();
                templates.into_iter().collect::<Option<Vec<_>>>().map(list_template)
            }
            Kind::Map(entries) if entries.iter().any(|e| e.key == "$blob" || e.key == "$bytes") => {
                self.literal(node).map(Template::Literal)
            }
            Kind::Map(entries) => {
                let templates: Vec<_> = entries.iter().map(|e| (e.key.clone(), self.template(&e.value, into))).collect();
                let map: Option<BTreeMap<_, _>> = templates.into_iter().map(|(k, t)| Some((k, t?))).collect();
                map.map(map_template)
            }
        }
    }

    fn text_template<'t>(&mut self, scalar: &'t Scalar, into: &mut Vec<Expression<'t>>) -> Option<Template> {
        if !scalar.text.contains("${{") {
            return Some(Template::Literal(Value::String(scalar.text.clone())));
        }
        let pieces = match split(&scalar.text) {
            Ok(pieces) => pieces,
            Err(unclosed) => {
                self.unclosed(scalar, unclosed);
                return None;
            }
        };
        let mut parts = Vec::with_capacity(pieces.len());
        let mut wrong = false;
        for piece in pieces {
            match piece {
                Piece::Text(text) => parts.push(TextPart::Text(text)),
                Piece::Hole { source, at } => match self.expression(scalar, &source, at) {
                    Some(expression) => {
                        into.push(expression);
                        parts.push(TextPart::Expr(Expr {
                            source: source.trim().to_owned(),
                        }));
                    }
                    None => wrong = true,
                },
            }
        }
        if wrong {
            return None;
        }
        Some(match &mut parts[..] {
            [TextPart::Text(text)] => Template::Literal(Value::String(std::mem::take(text))),
            [TextPart::Expr(expr)] => Template::Expr(expr.clone()),
            _ => Template::Text(parts),
        })
    }

    /// A value without holes; `${{` in it is text.
    pub(crate) fn literal(&mut self, node: &Node) -> Option<Value> {
        match literal(node) {
            Ok(value) => Some(value),
            Err((place, message)) => {
                self.report.error(place, code::INVALID_VALUE, message);
                None
            }
        }
    }
}

/// A value as it stands.
pub(crate) fn literal(node: &Node) -> Result<Value, (Place, String)> {
    Value::from_json(to_json(node)).map_err(|error| (node.place, error.to_string()))
}

fn to_json(node: &Node) -> serde_json::Value {
    match &node.kind {
        Kind::Scalar(scalar) => match scalar.resolved {
            Resolved::Null => serde_json::Value::Null,
            Resolved::Bool(b) => b.into(),
            Resolved::Int(n) => n.into(),
            Resolved::Float(f) => f.into(),
            Resolved::Text => scalar.text.as_str().into(),
        },
        Kind::List(items) => items.iter().map(to_json).collect(),
        Kind::Map(entries) => entries.iter().map(|e| (e.key.clone(), to_json(&e.value))).collect(),
    }
}

/// What has no holes is one literal.
fn list_template(items: Vec<Template>) -> Template {
    if !items.iter().all(|t| matches!(t, Template::Literal(_))) {
        return Template::List(items);
    }
    let values = items.into_iter().filter_map(|t| match t {
        Template::Literal(value) => Some(value),
        _ => None,
    });
    Template::Literal(Value::List(values.collect()))
}

fn map_template(entries: BTreeMap<String, Template>) -> Template {
    if !entries.values().all(|t| matches!(t, Template::Literal(_))) {
        return Template::Map(entries);
    }
    let values = entries.into_iter().filter_map(|(k, t)| match t {
        Template::Literal(value) => Some((k, value)),
        _ => None,
    });
    Template::Literal(Value::Map(values.collect()))
}

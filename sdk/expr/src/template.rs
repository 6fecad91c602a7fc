//! Values with holes, ready to be filled in.

use crate::error::{EvaluateError, EvaluateErrorKind, ParseError};
use crate::evaluate::Stop;
use crate::fold::{Folded, fold_known};
use crate::limits;
use crate::program::Program;
use crate::reference::Reference;
use crate::scope::Scope;
use eyot_model::{Template, TextPart, Value};
use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

/// An [`eyot_model::Template`] with its expressions parsed.
#[derive(Clone, Debug)]
pub struct CompiledTemplate {
    shape: Shape,
    references: BTreeSet<Reference>,
}

#[derive(Clone, Debug)]
enum Shape {
    Literal(Value),
    Expr(Program),
    Text(Vec<Part>),
    List(Vec<Shape>),
    Map(BTreeMap<String, Shape>),
}

#[derive(Clone, Debug)]
enum Part {
    Text(String),
    Expr(Program),
}

impl CompiledTemplate {
    /// # Errors
    /// When one of its expressions cannot be parsed.
    pub fn compile(template: &Template) -> Result<Self, ParseError> {
        let mut references = BTreeSet::new();
        let shape = compile(template, &mut references)?;
        Ok(Self { shape, references })
    }

    /// The names that its expressions use.
    #[must_use]
    pub fn references(&self) -> &BTreeSet<Reference> {
        &self.references
    }

    /// Whether it has no holes.
    #[must_use]
    pub fn is_literal(&self) -> bool {
        matches!(self.shape, Shape::Literal(_))
    }

    /// The value of a template without holes.
    #[must_use]
    pub fn as_literal(&self) -> Option<&Value> {
        match &self.shape {
            Shape::Literal(value) => Some(value),
            Shape::Expr(_) | Shape::Text(_) | Shape::List(_) | Shape::Map(_) => None,
        }
    }

    /// Fills the holes in.
    ///
    /// # Errors
    /// When one of the expressions fails, or a text grows too large.
    pub fn render(&self, scope: &Scope<'_>) -> Result<Value, EvaluateError> {
        fill(&self.shape, scope, Program::evaluate_cow)
    }

    /// As [`Self::render`] with only some names known, as [`fold_known`] does for one expression.
    #[must_use]
    pub fn fold(&self, scope: &Scope<'_>) -> Folded {
        fold(&self.shape, scope)
    }
}

fn compile(template: &Template, references: &mut BTreeSet<Reference>) -> Result<Shape, ParseError> {
    let mut program = |source: &str| {
        let program = Program::parse(source)?;
        references.extend(program.references().iter().cloned());
        Ok::<_, ParseError>(program)
    };
    Ok(match template {
        Template::Literal(value) => Shape::Literal(value.clone()),
        Template::Expr(expr) => Shape::Expr(program(&expr.source)?),
        Template::Text(parts) => Shape::Text(
            parts
                .iter()
                .map(|part| match part {
                    TextPart::Text(text) => Ok(Part::Text(text.clone())),
                    TextPart::Expr(expr) => program(&expr.source).map(Part::Expr),
                })
                .collect::<Result<_, _>>()?,
        ),
        Template::List(items) => {
            let shapes = items.iter().map(|t| compile(t, references)).collect::<Result<Vec<_>, _>>()?;
            literal_list(shapes)
        }
        Template::Map(entries) => {
            let shapes = entries
                .iter()
                .map(|(k, t)| Ok((k.clone(), compile(t, references)?)))
                .collect::<Result<BTreeMap<_, _>, ParseError>>()?;
            literal_map(shapes)
        }
    })
}

/// A list whose elements have no holes is a literal itself.
fn literal_list(shapes: Vec<Shape>) -> Shape {
    if !shapes.iter().all(|s| matches!(s, Shape::Literal(_))) {
        return Shape::List(shapes);
    }
    Shape::Literal(Value::List(
        shapes
            .into_iter()
            .filter_map(|s| match s {
                Shape::Literal(value) => Some(value),
                _ => None,
            })
            .collect(),
    ))
}

fn literal_map(shapes: BTreeMap<String, Shape>) -> Shape {
    if !shapes.values().all(|s| matches!(s, Shape::Literal(_))) {
        return Shape::Map(shapes);
    }
    Shape::Literal(Value::Map(
        shapes
            .into_iter()
            .filter_map(|(k, s)| match s {
                Shape::Literal(value) => Some((k, value)),
                _ => None,
            })
            .collect(),
    ))
}

/// Fills a shape in by a way of evaluating its programs.
fn fill<'v, E: From<EvaluateError>>(
    shape: &'v Shape,
    scope: &'v Scope<'_>,
    evaluate: fn(&'v Program, &'v Scope<'_>) -> Result<Cow<'v, Value>, E>,
) -> Result<Value, E> {
    Ok(match shape {
        Shape::Literal(value) => value.clone(),
        Shape::Expr(program) => evaluate(program, scope)?.into_owned(),
        Shape::Text(parts) => {
            let mut text = String::new();
            for part in parts {
                match part {
                    Part::Text(literal) => text.push_str(literal),
                    Part::Expr(program) => {
                        text.push_str(&as_text(&*evaluate(program, scope)?));
                        if text.len() as u64 / 64 > limits::MAX_RESULT {
                            return Err(program.error(EvaluateErrorKind::TooLarge).into());
                        }
                    }
                }
            }
            Value::String(text)
        }
        Shape::List(items) => Value::List(items.iter().map(|s| fill(s, scope, evaluate)).collect::<Result<_, E>>()?),
        Shape::Map(entries) => Value::Map(
            entries
                .iter()
                .map(|(k, s)| Ok((k.clone(), fill(s, scope, evaluate)?)))
                .collect::<Result<_, E>>()?,
        ),
    })
}

/// Why a fold has no value.
enum Open {
    Unknown,
    Error(EvaluateError),
}

impl From<EvaluateError> for Open {
    fn from(error: EvaluateError) -> Self {
        Self::Error(error)
    }
}

/// An error in one hole is an error of the whole, an unknown elsewhere notwithstanding: nothing in a template can
/// make up for it.
fn fold(shape: &Shape, scope: &Scope<'_>) -> Folded {
    let mut error = None;
    visit(shape, &mut |program| {
        if let Folded::Error(e) = fold_known(program, scope) {
            error.get_or_insert(e);
        }
    });
    if let Some(error) = error {
        return Folded::Error(error);
    }
    let filled = fill(shape, scope, |program, scope| {
        program.run(scope, true).map_err(|stop| match stop {
            Stop::Unknown => Open::Unknown,
            Stop::Fault(fault) => Open::Error(program.fault(fault)),
        })
    });
    match filled {
        Ok(value) => Folded::Known(value),
        Err(Open::Unknown) => Folded::Unknown,
        Err(Open::Error(error)) => Folded::Error(error),
    }
}

fn visit(shape: &Shape, see: &mut dyn FnMut(&Program)) {
    match shape {
        Shape::Literal(_) => {}
        Shape::Expr(program) => see(program),
        Shape::Text(parts) => {
            for part in parts {
                if let Part::Expr(program) = part {
                    see(program);
                }
            }
        }
        Shape::List(items) => items.iter().for_each(|s| visit(s, see)),
        Shape::Map(entries) => entries.values().for_each(|s| visit(s, see)),
    }
}

/// How a value stands in a text: strings as they are, everything else as JSON.
pub(crate) fn as_text(value: &Value) -> Cow<'_, str> {
    match value {
        Value::String(text) => Cow::Borrowed(text),
        other => Cow::Owned(other.to_json().to_string()),
    }
}

//! One expression, parsed.

use crate::ast::{Kind, Node};
use crate::error::{EvaluateError, EvaluateErrorKind, Fault, ParseError};
use crate::evaluate::{Evaluation, Stop};
use crate::meter::check_result;
use crate::parse;
use crate::reference::Reference;
use crate::scope::Scope;
use eyot_model::Value;
use std::borrow::Cow;
use std::collections::BTreeSet;
use std::sync::Arc;

/// An expression, parsed once. Cheap to clone; can be evaluated on many threads at once.
#[derive(Clone, Debug)]
pub struct Program {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    source: Arc<str>,
    root: Node,
    references: BTreeSet<Reference>,
    placed: Vec<(Reference, usize)>,
}

impl Program {
    /// # Errors
    /// When the source is not CEL, calls an unknown function, or is over a limit.
    pub fn parse(source: &str) -> Result<Self, ParseError> {
        let parsed = match parse::plain_path(source) {
            Some(path) => path,
            None => parse::parse(source)?,
        };
        Ok(Self {
            inner: Arc::new(Inner {
                source: source.into(),
                root: parsed.root,
                references: parsed.references.iter().map(|(r, _)| r.clone()).collect(),
                placed: parsed.references,
            }),
        })
    }

    #[must_use]
    pub fn source(&self) -> &str {
        &self.inner.source
    }

    /// The names that it uses, each with the constant fields selected from it. Variables of comprehensions are left out.
    #[must_use]
    pub fn references(&self) -> &BTreeSet<Reference> {
        &self.inner.references
    }

    /// The same with the byte offset of the first use in the source, in order of place.
    #[must_use]
    pub fn placed_references(&self) -> &[(Reference, usize)] {
        &self.inner.placed
    }

    /// Whether it does nothing but select a value: evaluating it copies that value and nothing else.
    #[must_use]
    pub fn is_path(&self) -> bool {
        matches!(self.inner.root.kind, Kind::Path(_))
    }

    /// The reference that it is, where it is nothing but a name and constant fields.
    #[must_use]
    pub fn as_reference(&self) -> Option<&Reference> {
        let (Kind::Path(path), [(reference, _)]) = (&self.inner.root.kind, &self.inner.placed[..]) else {
            return None;
        };
        (reference.path.len() == path.steps.len() + 1).then_some(reference)
    }

    /// The value of a literal (`5m` is none: that is not CEL).
    #[must_use]
    pub fn as_literal(&self) -> Option<&Value> {
        match &self.inner.root.kind {
            Kind::Literal(value) => Some(value),
            _ => None,
        }
    }

    /// # Errors
    /// When a name or a field is not there, an operation does not fit its values, or a limit is reached.
    pub fn evaluate(&self, scope: &Scope<'_>) -> Result<Value, EvaluateError> {
        self.evaluate_cow(scope).map(Cow::into_owned)
    }

    /// As [`Self::evaluate`], but a value that is only selected is not copied.
    ///
    /// # Errors
    /// As [`Self::evaluate`].
    pub fn evaluate_cow<'v>(&'v self, scope: &'v Scope<'_>) -> Result<Cow<'v, Value>, EvaluateError> {
        match self.run(scope, false) {
            Ok(value) => Ok(value),
            Err(Stop::Fault(fault)) => Err(EvaluateError::new(&self.inner.source, fault)),
            // Nothing is unknown outside of a fold.
            Err(Stop::Unknown) => Err(self.error(EvaluateErrorKind::UnknownName(self.inner.source.to_string()))),
        }
    }

    /// # Errors
    /// As [`Self::evaluate`], and when the result is anything but a boolean.
    pub fn evaluate_bool(&self, scope: &Scope<'_>) -> Result<bool, EvaluateError> {
        match &*self.evaluate_cow(scope)? {
            Value::Bool(b) => Ok(*b),
            other => Err(self.not_a_condition(other)),
        }
    }

    pub(crate) fn not_a_condition(&self, value: &Value) -> EvaluateError {
        let message = format!("a condition must be true or false, not {}", article(value.type_name()));
        self.error(EvaluateErrorKind::Type(message))
    }

    pub(crate) fn error(&self, kind: EvaluateErrorKind) -> EvaluateError {
        EvaluateError::new(
            &self.inner.source,
            Fault {
                kind,
                offset: self.inner.root.at as usize,
            },
        )
    }

    pub(crate) fn fault(&self, fault: Fault) -> EvaluateError {
        EvaluateError::new(&self.inner.source, fault)
    }

    pub(crate) fn run<'v>(&'v self, scope: &'v Scope<'_>, fold: bool) -> Result<Cow<'v, Value>, Stop> {
        let value = Evaluation::new(scope, fold).node(&self.inner.root, None)?;
        if let Cow::Owned(made) = &value {
            check_result(made).map_err(|kind| Stop::Fault(kind.at(self.inner.root.at)))?;
        }
        Ok(value)
    }
}

impl PartialEq for Program {
    fn eq(&self, other: &Self) -> bool {
        self.inner.source == other.inner.source
    }
}
impl Eq for Program {}

/// `a string`, `an integer`.
pub(crate) fn article(word: &str) -> String {
    let an = word.starts_with(['a', 'e', 'i', 'o', 'u']);
    match word {
        "null" | "bytes" => word.to_owned(),
        _ if an => format!("an {word}"),
        _ => format!("a {word}"),
    }
}

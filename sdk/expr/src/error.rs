//! Why an expression cannot be parsed or evaluated.

use std::sync::Arc;

/// Why a text is not an expression, and where in it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct ParseError {
    /// A lower-case fragment.
    pub message: String,
    /// What to write instead.
    pub help: Option<String>,
    /// Byte offset within the source.
    pub offset: usize,
    /// Counts from 1, in characters from the start of the source (line breaks count as one).
    pub column: usize,
}

impl ParseError {
    pub(crate) fn new(source: &str, offset: usize, message: impl Into<String>) -> Self {
        let mut offset = offset.min(source.len());
        while !source.is_char_boundary(offset) {
            offset -= 1;
        }
        Self {
            message: message.into(),
            help: None,
            offset,
            column: source[..offset].chars().count() + 1,
        }
    }

    pub(crate) fn with_help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }
}

/// Why an evaluation failed. The message names the expression.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{kind} in `{}`", shorten(.source_text))]
pub struct EvaluateError {
    pub kind: EvaluateErrorKind,
    /// Byte offset within the source.
    pub offset: usize,
    source_text: Arc<str>,
}

impl EvaluateError {
    pub(crate) fn new(source: &Arc<str>, fault: Fault) -> Self {
        Self {
            kind: fault.kind,
            offset: fault.offset,
            source_text: Arc::clone(source),
        }
    }

    /// The source of the expression that failed.
    #[must_use]
    pub fn source_text(&self) -> &str {
        &self.source_text
    }
}

/// An error inside the evaluator, before it knows the source.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Fault {
    pub(crate) kind: EvaluateErrorKind,
    pub(crate) offset: usize,
}

/// What went wrong.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EvaluateErrorKind {
    #[error("nothing is called `{0}`")]
    UnknownName(String),
    /// `path` is what the field was looked for in.
    #[error("`{path}` has no field `{field}`{}", has(.fields))]
    MissingField { path: String, field: String, fields: Vec<String> },
    #[error("index {index} is outside a list of {len}")]
    OutOfBounds { index: i64, len: usize },
    /// An operation on values that it is not for.
    #[error("{0}")]
    Type(String),
    /// Overflow, division by zero, or a number that is not finite.
    #[error("{0}")]
    Arithmetic(String),
    /// An argument of the right type that a function cannot use.
    #[error("{0}")]
    Argument(String),
    #[error("evaluation takes more than {limit} steps", limit = crate::limits::MAX_WORK)]
    TooCostly,
    #[error("the result is larger than an expression may make")]
    TooLarge,
    #[error("the result is nested deeper than {limit} levels", limit = crate::limits::MAX_RESULT_DEPTH)]
    TooDeep,
}

impl EvaluateErrorKind {
    pub(crate) fn at(self, offset: u32) -> Fault {
        Fault {
            kind: self,
            offset: offset as usize,
        }
    }
}

fn has(fields: &[String]) -> String {
    if fields.is_empty() {
        String::new()
    } else {
        format!(" (it has {})", fields.join(", "))
    }
}

fn shorten(source: &str) -> String {
    const LONGEST: usize = 120;
    let flat: String = source.split_whitespace().collect::<Vec<_>>().join(" ");
    if flat.chars().count() <= LONGEST {
        return flat;
    }
    flat.chars().take(LONGEST).chain(std::iter::once('…')).collect()
}

//! Evaluation with only some of the names known: what the planner can say before a run begins.

use crate::error::EvaluateError;
use crate::evaluate::Stop;
use crate::program::Program;
use crate::scope::Scope;
use eyot_model::Value;

/// What is known of an expression's value.
#[derive(Clone, Debug, PartialEq)]
pub enum Folded {
    /// It has this value, whatever the unknown names turn out to be.
    Known(Value),
    Unknown,
    /// It fails, whatever the unknown names turn out to be.
    Error(EvaluateError),
}

impl Folded {
    /// The value where it is known to be a boolean.
    #[must_use]
    pub fn as_bool(&self) -> Option<bool> {
        match self {
            Self::Known(Value::Bool(b)) => Some(*b),
            Self::Known(_) | Self::Unknown | Self::Error(_) => None,
        }
    }
}

/// Evaluates with the names of `scope`; every other name is unknown. A known false decides `&&` and a known true `||`
/// and `exists` even where the rest is unknown, on either side. See [`Scope::bind_partial`] for names known in part.
#[must_use]
pub fn fold_known(program: &Program, scope: &Scope<'_>) -> Folded {
    match program.run(scope, true) {
        Ok(value) => Folded::Known(value.into_owned()),
        Err(Stop::Unknown) => Folded::Unknown,
        Err(Stop::Fault(fault)) => Folded::Error(program.fault(fault)),
    }
}

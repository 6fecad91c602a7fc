//! Expressions of the workflow language: CEL, read and evaluated under a deterministic bound.
//!
//! A [`Program`] is one expression, parsed once and evaluated any number of times against a [`Scope`] of named
//! [`eyot_model::Value`]s. [`CompiledTemplate`] is a value with `${{ }}` holes. [`fold_known`] evaluates with only some
//! of the names known, for the planner.
//!
//! The language is CEL as the cel.dev specification has it, on the types of [`eyot_model::Value`]: no unsigned integers,
//! protocol buffers, timestamps or durations; integers and floats mix in arithmetic, as JSON does not tell `1` from
//! `1.0`; a float that is not finite is an error. Our own functions are listed in [`FUNCTIONS`]. The crate `cel` is the
//! reference that the tests compare with; it does not run in the product, because it has no bound on cost.
//!
//! What it promises: parsing and evaluation never panic and never recurse deeper than [`limits`] allow; the same
//! program on the same values costs the same everywhere, so the cloud and every agent agree on what is too costly;
//! a missing field, a wrong type or an overflow is an error, never null or false.
//!
//! What it does not do: read clocks, randomness, files or the network; know which names a workflow may use (that is
//! `eyot-spec`).

mod ast;
mod error;
mod evaluate;
mod fold;
mod functions;
pub mod limits;
mod meter;
mod operators;
mod parse;
mod program;
mod quantity;
mod reference;
mod scope;
mod template;
mod token;

pub use error::{EvaluateError, EvaluateErrorKind, ParseError};
pub use fold::{Folded, fold_known};
pub use functions::FUNCTIONS;
pub use program::Program;
pub use quantity::{QuantityError, parse_duration, parse_quantity};
pub use reference::Reference;
pub use scope::Scope;
pub use template::CompiledTemplate;

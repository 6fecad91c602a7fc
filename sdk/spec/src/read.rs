//! From the tree to a draft: known fields, right types, well-formed values.

mod fields;
mod hole;
mod inputs;
mod names;
mod pattern;
mod policy;
mod scalar;
mod task;
mod trigger;
mod workflow;

pub(crate) use fields::{CATALOGUE, Field, Shape, Table};
pub(crate) use task::{GRANT_NAMES, grant_named};
pub(crate) use workflow::workflow;

use crate::report::Report;
use crate::text::Source;
use eyot_expr::Program;
use std::collections::HashMap;

/// What every part of the reader works with.
pub(crate) struct Reader<'r, 's> {
    source: &'s Source<'s>,
    report: &'r mut Report,
    /// Large workflows repeat the same few expressions.
    programs: HashMap<String, Program>,
}

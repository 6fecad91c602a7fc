//! Reading workflow texts: YAML or JSON in, an [`eyot_model::Workflow`] or everything that is wrong with it out.
//!
//! [`parse`] reads a text against the [`Components`] that exist and reports all mistakes at once, each with its line,
//! its column, what was found and what to write instead. [`check_inputs`] holds the inputs of a run against the
//! declarations, [`check_outputs`] the outputs of a task against its component, and [`needs`] what tasks need against an
//! agent. [`json_schema`] describes the language to editors; it comes from the same tables that the reader uses.
//!
//! It knows no disk and no network: who calls it has the text, and answers for the registry. It does not decide where
//! or when tasks run.

mod check;
mod component;
mod draft;
mod file_pattern;
mod inputs;
pub mod limits;
pub mod needs;
mod read;
mod registry;
mod report;
mod schedule;
mod schema;
mod suggest;
mod text;
pub mod words;

pub use check::check_outputs;
pub use component::{ComponentInfo, Components, Unchecked};
pub use file_pattern::{FilePattern, FilePatternError};
pub use inputs::{InputProblem, check_inputs};
pub use registry::{Registered, Registry, Version, direct_version, is_component_name, source_digest};
pub use schedule::{Schedule, ScheduleError};
pub use schema::json_schema;

use eyot_model::Workflow;
use eyot_model::api::Diagnostic;
use report::Report;
use text::Source;

/// A text that is a workflow.
#[derive(Clone, Debug, PartialEq)]
pub struct Parsed {
    pub workflow: Workflow,
    /// What is probably not meant, in order of place.
    pub warnings: Vec<Diagnostic>,
    pub positions: Positions,
}

/// Where in the text things stand.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Positions {
    /// The name of each task, by its index.
    pub tasks: Vec<Place>,
}

/// A place in a text.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Place {
    /// Counts from 1.
    pub line: u32,
    /// Counts from 1, in characters.
    pub column: u32,
}

/// Reads a workflow. Component names are resolved by `known`, which [`Unchecked`] leaves open.
///
/// # Errors
/// Everything that is wrong, in order of place, at most [`limits::MAX_DIAGNOSTICS`].
pub fn parse(text: &str, known: &dyn Components) -> Result<Parsed, Vec<Diagnostic>> {
    let mut report = Report::default();
    let Some(source) = Source::new(text, &mut report) else {
        return Err(report.into_diagnostics());
    };
    let Some(root) = text::read(&source, &mut report) else {
        return Err(report.into_diagnostics());
    };
    let draft = read::workflow(&source, &root, &mut report);
    let parsed = draft.and_then(|draft| check::check(&source, draft, known, &mut report));
    match parsed {
        Some(mut parsed) if !report.has_errors() => {
            parsed.warnings = report.into_diagnostics();
            Ok(parsed)
        }
        _ => Err(report.into_diagnostics()),
    }
}

//! The workflow language, as far as this command needs it: by the text alone, without a registry.

use eyot_model::Workflow;
use eyot_model::api::Diagnostic;

/// A text, read.
#[derive(Debug)]
pub(crate) struct Parsed {
    /// None where the text is no workflow.
    pub(crate) workflow: Option<Workflow>,
    /// By place: what is wrong, or, of a workflow, what is probably not meant.
    pub(crate) diagnostics: Vec<Diagnostic>,
}

#[must_use]
pub(crate) fn parse(text: &str) -> Parsed {
    match eyot_spec::parse(text, &eyot_spec::Unchecked) {
        Ok(parsed) => Parsed {
            workflow: Some(parsed.workflow),
            diagnostics: parsed.warnings,
        },
        Err(diagnostics) => Parsed {
            workflow: None,
            diagnostics,
        },
    }
}

//! Collecting what is wrong.

use crate::{Place, limits};
use eyot_model::api::{Diagnostic, Severity};

/// Stable codes of diagnostics.
pub(crate) mod code {
    pub(crate) const SYNTAX: &str = "syntax";
    pub(crate) const TOO_LARGE: &str = "too-large";
    pub(crate) const DUPLICATE_KEY: &str = "duplicate-key";
    pub(crate) const UNKNOWN_FIELD: &str = "unknown-field";
    pub(crate) const MISSING_FIELD: &str = "missing-field";
    pub(crate) const WRONG_TYPE: &str = "wrong-type";
    pub(crate) const INVALID_VALUE: &str = "invalid-value";
    pub(crate) const INVALID_NAME: &str = "invalid-name";
    pub(crate) const NOT_SUPPORTED_YET: &str = "not-supported-yet";
    pub(crate) const EXPRESSION: &str = "expression";
    pub(crate) const UNKNOWN_REFERENCE: &str = "unknown-reference";
    pub(crate) const CYCLE: &str = "cycle";
    pub(crate) const NEVER_RUNS: &str = "never-runs";
    pub(crate) const ALWAYS_RUNS: &str = "always-runs";
    pub(crate) const UNKNOWN_COMPONENT: &str = "unknown-component";
    pub(crate) const UNKNOWN_INPUT: &str = "unknown-input";
    pub(crate) const MISSING_INPUT: &str = "missing-input";
    pub(crate) const UNKNOWN_OUTPUT: &str = "unknown-output";
    pub(crate) const MISSING_GRANT: &str = "missing-grant";
    pub(crate) const UNSAFE_REASSIGN: &str = "unsafe-reassign";
}

#[derive(Debug, Default)]
pub(crate) struct Report {
    found: Vec<Diagnostic>,
    errors: usize,
}

impl Report {
    pub(crate) fn error(&mut self, place: Place, code: &str, message: impl Into<String>) {
        self.add(place, Severity::Error, code, message.into(), None);
    }

    pub(crate) fn error_with(&mut self, place: Place, code: &str, message: impl Into<String>, help: impl Into<String>) {
        self.add(place, Severity::Error, code, message.into(), Some(help.into()));
    }

    /// With a help where there is one.
    pub(crate) fn error_maybe(&mut self, place: Place, code: &str, message: impl Into<String>, help: Option<String>) {
        self.add(place, Severity::Error, code, message.into(), help);
    }

    pub(crate) fn warning(&mut self, place: Place, code: &str, message: impl Into<String>, help: impl Into<String>) {
        self.add(place, Severity::Warning, code, message.into(), Some(help.into()));
    }

    pub(crate) fn has_errors(&self) -> bool {
        self.errors > 0
    }

    fn add(&mut self, place: Place, severity: Severity, code: &str, message: String, help: Option<String>) {
        // Kept beyond the limit for a while, because they do not come in order of place.
        if self.found.len() >= limits::MAX_DIAGNOSTICS * 40 && severity == Severity::Warning {
            return;
        }
        self.errors += usize::from(severity == Severity::Error);
        if self.found.len() < limits::MAX_DIAGNOSTICS * 40 {
            self.found.push(Diagnostic {
                line: place.line,
                column: place.column,
                severity,
                code: code.to_owned(),
                message,
                help,
            });
        }
    }

    /// In order of place, without repeats, errors rather than warnings where there are too many.
    pub(crate) fn into_diagnostics(mut self) -> Vec<Diagnostic> {
        self.found.sort();
        self.found.dedup();
        if self.found.len() > limits::MAX_DIAGNOSTICS && self.errors > 0 {
            self.found.retain(|d| d.severity == Severity::Error);
        }
        self.found.truncate(limits::MAX_DIAGNOSTICS);
        self.found
    }
}

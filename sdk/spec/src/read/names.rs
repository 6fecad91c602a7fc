//! Names that authors choose.

use super::Reader;
use crate::report::code;
use crate::{Place, limits};

/// Names that mean something in expressions.
pub(crate) const BOUND: [&str; 9] = ["inputs", "tasks", "run", "agent", "index", "error", "attempt", "outputs", "event"];

impl Reader<'_, '_> {
    /// Of a workflow or namespace: part of addresses, so no underscore.
    pub(crate) fn dashed_name(&mut self, name: &str, place: Place, what: &str) {
        let ok = name.starts_with(|c: char| c.is_ascii_lowercase())
            && name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
            && !name.ends_with('-')
            && name.len() <= limits::MAX_NAME;
        if !ok {
            let rule = "lower-case letters, digits and `-`";
            self.bad_name(name, place, what, rule, '-');
        }
    }

    /// Of a task.
    pub(crate) fn task_name(&mut self, name: &str, place: Place) -> bool {
        let ok = name.starts_with(|c: char| c.is_ascii_lowercase())
            && name
                .bytes()
                .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-' || b == b'_')
            && name.len() <= limits::MAX_NAME;
        if !ok {
            let rule = "lower-case letters, digits, `-` and `_`";
            self.bad_name(name, place, "a task", rule, '-');
        }
        ok
    }

    /// Of an input or output: anything that can follow a dot in an expression.
    pub(crate) fn field_name(&mut self, name: &str, place: Place, what: &str) -> bool {
        let ok = name.starts_with(|c: char| c.is_ascii_alphabetic())
            && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
            && name.len() <= limits::MAX_NAME;
        if !ok {
            let rule = "letters, digits and `_`";
            self.bad_name(name, place, what, rule, '_');
        }
        ok
    }

    fn bad_name(&mut self, name: &str, place: Place, what: &str, rule: &str, joint: char) {
        let shown: String = name.chars().take(80).collect();
        let message = format!("`{shown}` is no name for {what}");
        let mut help = format!(
            "a name begins with a letter, has {rule} only, and at most {} characters",
            limits::MAX_NAME
        );
        let better: String = name
            .chars()
            .map(|c| if c.is_ascii_alphanumeric() || c == joint { c } else { joint })
            .collect();
        let better = if rule.starts_with("lower") {
            better.to_ascii_lowercase()
        } else {
            better
        };
        let better = better.trim_matches(joint);
        if better != name && better.starts_with(|c: char| c.is_ascii_alphabetic()) && better.len() <= limits::MAX_NAME {
            help = format!("{help}: `{better}`");
        }
        self.report.error_with(place, code::INVALID_NAME, message, help);
    }

    /// Of an item: a variable.
    pub(crate) fn variable(&mut self, name: &str, place: Place) -> bool {
        if BOUND.contains(&name) {
            let message = format!("`{name}` already means something in expressions");
            self.report
                .error_with(place, code::INVALID_NAME, message, "choose another name, such as `item`");
            return false;
        }
        let ok = name.starts_with(|c: char| c.is_ascii_lowercase())
            && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
            && name.len() <= limits::MAX_NAME
            && eyot_expr::Program::parse(name).is_ok_and(|p| p.is_path());
        if !ok {
            let rule = "letters, digits and `_`";
            self.bad_name(name, place, "an item", rule, '_');
        }
        ok
    }
}

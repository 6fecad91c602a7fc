//! Single values: texts, numbers, times, sizes, choices.

use super::Reader;
use crate::report::code;
use crate::suggest::{did_you_mean, one_of};
use crate::text::{Kind, Node, Resolved, Style};
use eyot_expr::{QuantityError, parse_duration, parse_quantity};
use eyot_model::{Millis, Value};

impl Reader<'_, '_> {
    pub(crate) fn expected(&mut self, node: &Node, what: &str, help: Option<String>) {
        let message = format!("expected {what}, found {}", node.describe());
        self.report.error_maybe(node.place, code::WRONG_TYPE, message, help);
    }

    /// A text; a plain number or word is taken as it is written (`version: 1.10`).
    pub(crate) fn text<'t>(&mut self, node: &'t Node, what: &str) -> Option<&'t str> {
        match &node.kind {
            Kind::Scalar(scalar) if scalar.resolved != Resolved::Null => Some(&scalar.text),
            Kind::Scalar(_) | Kind::List(_) | Kind::Map(_) => {
                self.expected(node, what, None);
                None
            }
        }
    }

    pub(crate) fn boolean(&mut self, node: &Node) -> Option<bool> {
        if let Some(Resolved::Bool(b)) = node.scalar().map(|s| s.resolved) {
            return Some(b);
        }
        let help = node.text().and_then(|s| match s.text.to_ascii_lowercase().as_str() {
            "yes" | "on" | "y" | "true" => Some(format!("YAML 1.2 reads `{}` as a string: write `true`", s.text)),
            "no" | "off" | "n" | "false" => Some(format!("YAML 1.2 reads `{}` as a string: write `false`", s.text)),
            _ => None,
        });
        self.expected(node, "`true` or `false`", help);
        None
    }

    /// A whole number from 1 to `most`.
    pub(crate) fn count(&mut self, node: &Node, most: u32) -> Option<u32> {
        if let Some(Resolved::Int(n)) = node.scalar().map(|s| s.resolved) {
            if let Ok(count) = u32::try_from(n)
                && (1..=most).contains(&count)
            {
                return Some(count);
            }
            let message = format!("expected a whole number from 1 to {most}, found {n}");
            self.report.error(node.place, code::INVALID_VALUE, message);
            return None;
        }
        let help = quoted_number(node);
        self.expected(node, &format!("a whole number from 1 to {most}"), help);
        None
    }

    #[allow(clippy::cast_precision_loss)] // no number here is large
    pub(crate) fn number(&mut self, node: &Node, from: f64, to: f64) -> Option<f64> {
        let number = match node.scalar().map(|s| s.resolved) {
            Some(Resolved::Int(n)) => n as f64,
            Some(Resolved::Float(f)) => f,
            _ => {
                let help = quoted_number(node);
                self.expected(node, &format!("a number from {from} to {to}"), help);
                return None;
            }
        };
        if (from..=to).contains(&number) {
            return Some(number);
        }
        let message = format!("expected a number from {from} to {to}, found {number}");
        self.report.error(node.place, code::INVALID_VALUE, message);
        None
    }

    pub(crate) fn duration(&mut self, node: &Node) -> Option<Millis> {
        const WHAT: &str = "a duration such as `5m`";
        let Some(scalar) = node.text() else {
            let help = match node.scalar().map(|s| (s.resolved, s.text.as_str())) {
                Some((Resolved::Int(_) | Resolved::Float(_), text)) => Some(format!(
                    "a duration has a unit: `{text}s` is seconds, `{text}m` minutes, `{text}ms` milliseconds"
                )),
                _ => None,
            };
            self.expected(node, WHAT, help);
            return None;
        };
        match parse_duration(&scalar.text) {
            Ok(duration) => Some(duration),
            Err(QuantityError::TooLarge(text)) => {
                self.report
                    .error_with(node.place, code::INVALID_VALUE, format!("`{text}` is too long"), "at most 10000d");
                None
            }
            Err(_) => {
                let help = "units are ms, s, m, h, d and w: `250ms`, `1.5s`, `5m`, `1h30m`, `7d`".to_owned();
                self.expected(node, WHAT, Some(help));
                None
            }
        }
    }

    /// A duration longer than nothing.
    pub(crate) fn positive_duration(&mut self, node: &Node) -> Option<Millis> {
        let duration = self.duration(node)?;
        if duration == Millis(0) {
            let message = "the duration must be longer than nothing";
            self.report.error(node.place, code::INVALID_VALUE, message);
            return None;
        }
        Some(duration)
    }

    /// Bytes, at least one.
    pub(crate) fn size(&mut self, node: &Node) -> Option<u64> {
        let help = || Some("units are B, k, M, G and Ki, Mi, Gi: `256Mi`, `1GB`".to_owned());
        match self.quantity(node, "a size such as `256Mi`", help)? {
            Value::Int(n) if n > 0 => u64::try_from(n).ok(),
            _ => {
                let message = format!("expected a whole number of bytes, more than none, found {}", node.describe());
                self.report.error(node.place, code::INVALID_VALUE, message);
                None
            }
        }
    }

    /// Thousandths of a core, at least one.
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, clippy::cast_precision_loss)] // the range is checked
    pub(crate) fn cores(&mut self, node: &Node) -> Option<u32> {
        let help = || Some("`500m` is half a core, `2` is two".to_owned());
        let cores = match self.quantity(node, "a number of cores such as `500m`", help)? {
            Value::Int(n) => n as f64,
            Value::Float(f) => f,
            _ => return None,
        };
        let millis = (cores * 1000.0).round();
        if (1.0..=1_000_000.0).contains(&millis) {
            return Some(millis as u32);
        }
        let message = format!("expected between 1m and 1000 cores, found {}", node.describe());
        self.report.error(node.place, code::INVALID_VALUE, message);
        None
    }

    fn quantity(&mut self, node: &Node, what: &str, help: impl Fn() -> Option<String>) -> Option<Value> {
        let quantity = match &node.kind {
            Kind::Scalar(s) if !matches!(s.resolved, Resolved::Null | Resolved::Bool(_)) => parse_quantity(&s.text).ok(),
            Kind::Scalar(_) | Kind::List(_) | Kind::Map(_) => None,
        };
        if quantity.is_none() {
            self.expected(node, what, help());
        }
        quantity
    }

    /// One of a few words.
    pub(crate) fn choice<T: Copy>(&mut self, node: &Node, words: &[&str], values: &[T]) -> Option<T> {
        let Some(text) = node.scalar().filter(|s| s.resolved != Resolved::Null).map(|s| s.text.as_str()) else {
            self.expected(node, &one_of(words), None);
            return None;
        };
        if let Some(at) = words.iter().position(|w| *w == text) {
            return values.get(at).copied();
        }
        let message = format!("expected {}, found {}", one_of(words), node.describe());
        let help = did_you_mean(text, words.iter().copied());
        self.report.error_maybe(node.place, code::INVALID_VALUE, message, help);
        None
    }

    /// The elements of a list; nothing is an empty list.
    pub(crate) fn list<'t>(&mut self, node: &'t Node, what: &str) -> &'t [Node] {
        match &node.kind {
            Kind::List(items) => items,
            Kind::Scalar(_) if node.is_null() => &[],
            Kind::Scalar(s) => {
                let help = format!("a list is written `[{}]`", s.text.chars().take(40).collect::<String>());
                self.expected(node, what, Some(help));
                &[]
            }
            Kind::Map(_) => {
                self.expected(node, what, None);
                &[]
            }
        }
    }
}

fn quoted_number(node: &Node) -> Option<String> {
    node.text()
        .filter(|s| s.style != Style::Plain && s.text.parse::<f64>().is_ok())
        .map(|s| format!("leave the quotes out: `{}`", s.text))
}

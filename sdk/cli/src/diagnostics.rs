//! What is wrong in a workflow, shown where it is wrong.

use crate::paint::{Paint, clean};
use eyot_model::api::{Diagnostic, Severity};

/// Most characters of a source line that are shown.
const LINE_LIMIT: usize = 160;

/// Each diagnostic with file, line, column, the source line, a mark under the place, and the help.
#[must_use]
pub(crate) fn render(diagnostics: &[Diagnostic], file: &str, source: &str, paint: Paint) -> String {
    let lines: Vec<&str> = source.lines().collect();
    let mut out = String::new();
    for diagnostic in diagnostics {
        one(diagnostic, file, &lines, paint, &mut out);
    }
    out
}

/// `3 errors, 1 warning`
#[must_use]
pub(crate) fn summary(diagnostics: &[Diagnostic]) -> String {
    let errors = diagnostics.iter().filter(|d| d.severity == Severity::Error).count();
    let warnings = diagnostics.len() - errors;
    let part = |n: usize, one: &str| match n {
        0 => None,
        1 => Some(format!("1 {one}")),
        n => Some(format!("{n} {one}s")),
    };
    let parts: Vec<String> = [part(errors, "error"), part(warnings, "warning")].into_iter().flatten().collect();
    parts.join(", ")
}

fn one(diagnostic: &Diagnostic, file: &str, lines: &[&str], paint: Paint, out: &mut String) {
    let (word, coloured): (_, fn(Paint, &str) -> String) = match diagnostic.severity {
        Severity::Error => ("error", Paint::red),
        Severity::Warning => ("warning", Paint::yellow),
    };
    let title = coloured(paint, &format!("{word}[{}]", diagnostic.code));
    out.push_str(&format!("{title}{}\n", paint.bold(&format!(": {}", clean(&diagnostic.message)))));
    let number = diagnostic.line.to_string();
    let gutter = " ".repeat(number.len());
    let place = format!("{}:{}:{}", clean(file), diagnostic.line, diagnostic.column);
    out.push_str(&format!("{gutter}{} {place}\n", paint.blue("-->")));
    let line = (diagnostic.line as usize).checked_sub(1).and_then(|at| lines.get(at));
    let bar = paint.blue("|");
    if let Some(line) = line {
        let (text, mark) = excerpt(line, diagnostic.column as usize);
        out.push_str(&format!("{gutter} {bar}\n{} {bar} {text}\n", paint.blue(&number)));
        out.push_str(&format!("{gutter} {bar} {}\n", coloured(paint, &mark)));
    }
    if let Some(help) = &diagnostic.help {
        out.push_str(&format!("{gutter} {} {} {}\n", paint.blue("="), paint.bold("help:"), clean(help)));
    }
    out.push('\n');
}

/// The part of the line around the column (which counts from 1), and the mark that goes under it.
fn excerpt(line: &str, column: usize) -> (String, String) {
    let chars: Vec<char> = clean(line).replace('\t', " ").trim_end().chars().collect();
    let at = column.saturating_sub(1).min(chars.len());
    let from = if at > LINE_LIMIT / 2 && chars.len() > LINE_LIMIT {
        at - LINE_LIMIT / 2
    } else {
        0
    };
    let to = chars.len().min(from + LINE_LIMIT);
    let mut text: String = chars[from..to].iter().collect();
    let mut lead = at - from;
    if from > 0 {
        text.insert(0, '…');
        lead += 1;
    }
    if to < chars.len() {
        text.push('…');
    }
    (text, format!("{}{}", " ".repeat(lead), "^".repeat(extent(&chars[at..to]))))
}

/// How many characters the thing at the place takes: a quoted text, a word, else one.
fn extent(rest: &[char]) -> usize {
    match rest.first() {
        Some(quote @ ('"' | '\'')) => rest[1..].iter().position(|c| c == quote).map_or(1, |n| n + 2),
        Some(first) if is_word(*first) => rest.iter().take_while(|c| is_word(**c)).count(),
        _ => 1,
    }
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || matches!(c, '_' | '-' | '.' | '/' | '@')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn diagnostic(line: u32, column: u32, help: Option<&str>) -> Diagnostic {
        Diagnostic {
            line,
            column,
            severity: Severity::Error,
            code: "unknown-field".into(),
            message: "unknown field `need`".into(),
            help: help.map(str::to_owned),
        }
    }

    #[test]
    fn shows_the_place() {
        let source = "spec:\n  tasks:\n    b:\n      need: [a]\n";
        let text = render(
            &[diagnostic(4, 7, Some("did you mean `needs`?"))],
            "w.yaml",
            source,
            Paint::default(),
        );
        let want = "\
error[unknown-field]: unknown field `need`
 --> w.yaml:4:7
  |
4 |       need: [a]
  |       ^^^^
  = help: did you mean `needs`?

";
        assert_eq!(text, want);
    }

    #[test]
    fn places_that_are_not_there_and_long_lines_do_no_harm() {
        for (line, column) in [(0, 0), (1, 0), (1, 999), (9, 1), (u32::MAX, u32::MAX)] {
            let text = render(&[diagnostic(line, column, None)], "w", "a: \u{1f600}\"x\n", Paint::default());
            assert!(text.starts_with("error"), "{text}");
        }
        let long = format!("{}word{}", "a ".repeat(500), " b".repeat(500));
        let text = render(&[diagnostic(1, 1001, None)], "w", &long, Paint::default());
        let lines: Vec<&str> = text.lines().collect();
        assert!(lines[3].chars().count() < 200);
        let at = lines[4].chars().position(|c| c == '^').unwrap();
        let marked: String = lines[3].chars().skip(at).take(4).collect();
        assert_eq!((marked.as_str(), lines[4].matches('^').count()), ("word", 4));
    }

    #[test]
    fn counts_by_severity() {
        let mut warning = diagnostic(1, 1, None);
        warning.severity = Severity::Warning;
        assert_eq!(summary(&[diagnostic(1, 1, None), warning]), "1 error, 1 warning");
    }
}

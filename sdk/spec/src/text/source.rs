//! The text itself, and the way from a place in a string's value back to its place in the text.

use super::node::{Scalar, Style};
use crate::report::{Report, code};
use crate::{Place, limits};

pub(crate) struct Source<'t> {
    pub(crate) text: &'t str,
    /// Byte offset of the beginning of each line.
    lines: Vec<usize>,
}

impl<'t> Source<'t> {
    /// None, and a report of it, for a text that is too long.
    pub(crate) fn new(text: &'t str, report: &mut Report) -> Option<Self> {
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        if text.len() > limits::MAX_TEXT_BYTES {
            let message = format!("the text is {} bytes long, at most {} are read", text.len(), limits::MAX_TEXT_BYTES);
            report.error(Place { line: 1, column: 1 }, code::TOO_LARGE, message);
            return None;
        }
        let bytes = text.as_bytes();
        let mut lines = vec![0];
        for (at, byte) in bytes.iter().enumerate() {
            let ends = *byte == b'\n' || (*byte == b'\r' && bytes.get(at + 1) != Some(&b'\n'));
            if ends {
                lines.push(at + 1);
            }
        }
        Some(Self { text, lines })
    }

    /// The byte offset of a line (from 1) and a column in characters (from 0).
    pub(crate) fn offset(&self, line: usize, column: usize) -> usize {
        let Some(&start) = self.lines.get(line.saturating_sub(1)) else {
            return self.text.len();
        };
        let rest = &self.text[start..];
        rest.char_indices().nth(column).map_or(self.text.len(), |(at, _)| start + at)
    }

    pub(crate) fn place(&self, offset: usize) -> Place {
        let line = self.lines.partition_point(|start| *start <= offset);
        let start = self.lines.get(line.saturating_sub(1)).copied().unwrap_or(0);
        let column = self.text.get(start..offset).map_or(0, |before| before.chars().count());
        Place {
            line: u32::try_from(line).unwrap_or(u32::MAX),
            column: u32::try_from(column + 1).unwrap_or(u32::MAX),
        }
    }

    /// Where the byte `offset` of a scalar's value stands in the text; where the scalar begins if that cannot be told.
    pub(crate) fn place_in(&self, scalar: &Scalar, offset: usize) -> Place {
        let walked = scalar
            .text
            .get(..offset)
            .and_then(|before| Walk::new(self.text, scalar).over(before));
        self.place(walked.unwrap_or(scalar.start))
    }
}

/// Goes along the written form of a scalar while its value is read.
struct Walk<'t> {
    text: &'t str,
    at: usize,
    style: Style,
    /// Spaces at the beginning of each line of a block.
    indent: usize,
}

impl<'t> Walk<'t> {
    fn new(text: &'t str, scalar: &Scalar) -> Self {
        let mut walk = Self {
            text,
            at: scalar.start,
            style: scalar.style,
            indent: 0,
        };
        match scalar.style {
            Style::Plain => {}
            Style::Single | Style::Double => walk.at += 1,
            // A block begins where its content does, behind the indentation.
            Style::Block => walk.indent = text[..scalar.start].bytes().rev().take_while(|b| *b == b' ').count(),
        }
        walk
    }

    fn rest(&self) -> &'t str {
        self.text.get(self.at..).unwrap_or("")
    }

    fn skip_line(&mut self) {
        self.at += self.rest().find('\n').map_or(self.rest().len(), |n| n + 1);
    }

    fn skip_indent(&mut self) {
        let spaces = self.rest().bytes().take_while(|b| *b == b' ').count();
        self.at += spaces.min(self.indent);
    }

    /// Where the value stands after `before`; None where value and text do not fit together.
    fn over(mut self, before: &str) -> Option<usize> {
        for c in before.chars() {
            self.step(c)?;
        }
        Some(self.at)
    }

    fn step(&mut self, c: char) -> Option<()> {
        if self.style == Style::Double && self.rest().starts_with('\\') {
            return self.escape();
        }
        let breaks = self.rest().trim_start_matches([' ', '\t']).starts_with(['\n', '\r']);
        if breaks && (c == '\n' || c == ' ') && (self.style == Style::Block || !self.rest().starts_with(c) || c == '\n') {
            return self.line_break(c);
        }
        if !self.rest().starts_with(c) {
            return None;
        }
        self.at += c.len_utf8();
        if self.style == Style::Single && c == '\'' {
            self.at += 1;
        }
        Some(())
    }

    fn line_break(&mut self, c: char) -> Option<()> {
        if self.style == Style::Block {
            if c == ' ' && self.rest().starts_with(' ') {
                self.at += 1;
                return Some(());
            }
            self.skip_line();
            self.skip_indent();
            return Some(());
        }
        // Outside of blocks, lines are folded: all the white space around the break is one character.
        let rest = self.rest();
        self.at += rest.len() - rest.trim_start().len();
        Some(())
    }

    fn escape(&mut self) -> Option<()> {
        let mut chars = self.rest().chars();
        chars.next();
        let len = match chars.next()? {
            'x' => 4,
            'u' => 6,
            'U' => 10,
            c => 1 + c.len_utf8(),
        };
        self.at += len;
        self.text.is_char_boundary(self.at).then_some(())
    }
}

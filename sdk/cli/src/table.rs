//! Tables whose columns line up.

use crate::paint::{Paint, clean, width};

/// Where the text of a column stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Align {
    Left,
    Right,
}

/// A table for people: a dim head, two spaces between columns, no lines.
#[derive(Debug)]
pub(crate) struct Table {
    head: Vec<(&'static str, Align)>,
    rows: Vec<Vec<String>>,
}

impl Table {
    #[must_use]
    pub(crate) fn new(head: &[(&'static str, Align)]) -> Self {
        Self {
            head: head.to_vec(),
            rows: Vec::new(),
        }
    }

    /// All columns to the left.
    #[must_use]
    pub(crate) fn left(head: &[&'static str]) -> Self {
        Self::new(&head.iter().map(|h| (*h, Align::Left)).collect::<Vec<_>>())
    }

    /// One cell for each column. Cells may hold colour, so text from elsewhere is cleaned by the caller.
    pub(crate) fn row(&mut self, cells: Vec<String>) {
        self.rows.push(cells);
    }

    #[must_use]
    pub(crate) fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    #[must_use]
    pub(crate) fn render(&self, paint: Paint, indent: &str) -> String {
        let mut widths: Vec<usize> = self.head.iter().map(|(h, _)| width(h)).collect();
        for row in &self.rows {
            for (at, cell) in row.iter().enumerate() {
                if let Some(w) = widths.get_mut(at) {
                    *w = (*w).max(width(cell));
                }
            }
        }
        let mut out = String::new();
        let head: Vec<String> = self.head.iter().map(|(h, _)| paint.dim(h)).collect();
        if self.head.iter().any(|(h, _)| !h.is_empty()) {
            self.line(&head, &widths, indent, &mut out);
        }
        for row in &self.rows {
            self.line(row, &widths, indent, &mut out);
        }
        out
    }

    fn line(&self, cells: &[String], widths: &[usize], indent: &str, out: &mut String) {
        let mut line = String::from(indent);
        for (at, cell) in cells.iter().enumerate() {
            let (Some(total), Some((_, align))) = (widths.get(at), self.head.get(at)) else {
                continue;
            };
            let pad = " ".repeat(total.saturating_sub(width(cell)));
            if at > 0 {
                line.push_str("  ");
            }
            match align {
                Align::Left => line.push_str(&format!("{cell}{pad}")),
                Align::Right => line.push_str(&format!("{pad}{cell}")),
            }
        }
        out.push_str(line.trim_end());
        out.push('\n');
    }
}

/// Text from elsewhere as one cell: no control characters, cut at `limit` characters.
#[must_use]
pub(crate) fn cell(text: &str, limit: usize) -> String {
    let text = clean(text).replace(['\n', '\t'], " ");
    if text.chars().count() <= limit {
        return text;
    }
    let mut cut: String = text.chars().take(limit.saturating_sub(1)).collect();
    cut.push('…');
    cut
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_line_up_whatever_the_colour() {
        for on in [false, true] {
            let paint = Paint { on };
            let mut table = Table::new(&[("NAME", Align::Left), ("SIZE", Align::Right), ("", Align::Left)]);
            table.row(vec![paint.green("a"), "1".into(), "x".into()]);
            table.row(vec!["größer".into(), "12345".into(), String::new()]);
            let text = table.render(paint, "  ");
            let plain: Vec<usize> = text.lines().map(width).collect();
            assert_eq!(plain, [15, 18, 15], "{text}");
        }
    }

    #[test]
    fn a_long_cell_is_cut() {
        assert_eq!(cell("abc\ndef", 20), "abc def");
        assert_eq!(cell("abcdef", 4), "abc…");
    }
}

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

    /// For a terminal of so many columns: what is too wide for it goes without the columns that are empty, and then with
    /// shorter first cells, `shorten` making one.
    #[must_use]
    pub(crate) fn narrow(mut self, columns: Option<usize>, shorten: impl Fn(&str) -> String) -> Self {
        let fits = |table: &Self| columns.is_none_or(|columns| table.width() <= columns);
        if !fits(&self) {
            let filled: Vec<bool> = (0..self.head.len())
                .map(|at| self.rows.iter().any(|row| row.get(at).is_some_and(|cell| !cell.is_empty())))
                .collect();
            let keep = |at: &usize| filled.get(*at).copied().unwrap_or(true);
            self.head = (0..).zip(self.head).filter(|(at, _)| keep(at)).map(|(_, head)| head).collect();
            for row in &mut self.rows {
                *row = (0..)
                    .zip(std::mem::take(row))
                    .filter(|(at, _)| keep(at))
                    .map(|(_, cell)| cell)
                    .collect();
            }
        }
        if !fits(&self) {
            self.rows
                .iter_mut()
                .filter_map(|row| row.first_mut())
                .for_each(|cell| *cell = shorten(cell));
        }
        self
    }

    /// For a terminal of so many columns: a table that is too wide for it goes without some of the columns of `droppable`, in order
    /// and as few of them as possible, and with cells of `shrinkable` that are cut, none to less than the width that comes with
    /// it. Columns are named by their heads; those that are cut hold no colour.
    #[must_use]
    pub(crate) fn fit(mut self, columns: Option<usize>, shrinkable: &[(&str, usize)], droppable: &[&str]) -> Self {
        let Some(columns) = columns.filter(|columns| self.width() > *columns) else {
            return self;
        };
        let least = |table: &Self| {
            let mut spare = 0;
            for (name, least) in shrinkable {
                spare += table.width_of(name).saturating_sub((*least).max(width(name)));
            }
            table.width() - spare
        };
        for name in droppable {
            if least(&self) <= columns {
                break;
            }
            if let Some(at) = self.place_of(name) {
                self.head.remove(at);
                self.rows
                    .iter_mut()
                    .filter(|row| at < row.len())
                    .for_each(|row| drop(row.remove(at)));
            }
        }
        for (name, least) in shrinkable {
            let over = self.width().saturating_sub(columns);
            let wanted = self.width_of(name).saturating_sub(over).max(*least);
            if let Some(at) = self.place_of(name).filter(|_| over > 0) {
                let cells = self.rows.iter_mut().filter_map(|row| row.get_mut(at));
                cells.for_each(|text| *text = cell(text, wanted));
            }
        }
        self
    }

    fn place_of(&self, name: &str) -> Option<usize> {
        self.head.iter().position(|(head, _)| *head == name)
    }

    fn width_of(&self, name: &str) -> usize {
        self.place_of(name).and_then(|at| self.widths().get(at).copied()).unwrap_or(0)
    }

    fn widths(&self) -> Vec<usize> {
        let mut widths: Vec<usize> = self.head.iter().map(|(h, _)| width(h)).collect();
        for row in &self.rows {
            for (at, cell) in row.iter().enumerate() {
                if let Some(w) = widths.get_mut(at) {
                    *w = (*w).max(width(cell));
                }
            }
        }
        widths
    }

    fn width(&self) -> usize {
        let widths = self.widths();
        widths.iter().sum::<usize>() + 2 * widths.len().saturating_sub(1)
    }

    #[must_use]
    pub(crate) fn render(&self, paint: Paint, indent: &str) -> String {
        let widths = self.widths();
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
    fn a_narrow_terminal_gets_fewer_columns_and_shorter_ids() {
        let table = || {
            let mut table = Table::left(&["RUN", "BY", "STATE"]);
            table.row(vec!["r-0123456789".into(), String::new(), "running".into()]);
            table
        };
        let shown = |columns| {
            let table = table().narrow(columns, |id| id.chars().take(6).collect());
            table.render(Paint { on: false }, "").lines().last().unwrap_or_default().to_owned()
        };
        assert_eq!(shown(None), "r-0123456789      running");
        assert_eq!(shown(Some(25)), "r-0123456789      running");
        assert_eq!(shown(Some(24)), "r-0123456789  running");
        assert_eq!(shown(Some(16)), "r-0123  running");
    }

    #[test]
    fn a_table_is_cut_to_fit_and_only_then_loses_columns() {
        let shown = |columns| {
            let mut table = Table::left(&["RUN", "BY", "WHY"]);
            table.row(vec!["r-012345".into(), "camera-in-the-hall".into(), "it waits".into()]);
            let table = table.fit(Some(columns), &[("BY", 6)], &["BY"]);
            table.render(Paint { on: false }, "").lines().last().unwrap_or_default().to_owned()
        };
        assert_eq!(shown(38), "r-012345  camera-in-the-hall  it waits");
        assert_eq!(shown(37), "r-012345  camera-in-the-ha…  it waits");
        assert_eq!(shown(26), "r-012345  camer…  it waits");
        assert_eq!(shown(25), "r-012345  it waits");
    }

    #[test]
    fn a_long_cell_is_cut() {
        assert_eq!(cell("abc\ndef", 20), "abc def");
        assert_eq!(cell("abcdef", 4), "abc…");
    }
}

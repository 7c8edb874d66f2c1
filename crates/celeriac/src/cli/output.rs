//! What a command prints: a table for people, or one JSON document.

use std::fmt::Write as _;
use std::io::{self, IsTerminal as _, Write as _};

use serde_json::Value;

/// Where a command prints to, and how.
#[derive(Debug, Clone, Copy)]
pub(super) struct Output {
    json: bool,
}

impl Output {
    pub(super) fn new(json: bool) -> Self {
        Self { json }
    }

    pub(super) fn is_json(self) -> bool {
        self.json
    }

    /// Prints `document` for machines, or what `text` makes for people.
    pub(super) fn print(self, document: &Value, text: impl FnOnce() -> String) -> io::Result<()> {
        if self.json {
            print_line(&format!("{document:#}"))
        } else {
            print_line(&text())
        }
    }
}

/// Prints one line, or several. A reader that has gone away, like `head`, is no error.
pub(super) fn print_line(text: &str) -> io::Result<()> {
    match writeln!(io::stdout().lock(), "{text}") {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        written => written,
    }
}

/// Whether a person watches standard error, so that a progress bar makes sense.
pub(super) fn is_watched() -> bool {
    io::stderr().is_terminal()
}

/// A table with aligned columns and no borders.
#[derive(Debug)]
pub(super) struct Table {
    header: Vec<&'static str>,
    rows: Vec<Vec<String>>,
}

impl Table {
    /// An empty table. A column whose heading starts with `#` is set flush right, and the mark is
    /// not shown.
    pub(super) fn new(header: &[&'static str]) -> Self {
        Self {
            header: header.to_vec(),
            rows: Vec::new(),
        }
    }

    pub(super) fn row(&mut self, cells: impl IntoIterator<Item = String>) {
        let cells: Vec<_> = cells.into_iter().map(|cell| printable(&cell)).collect();
        debug_assert_eq!(cells.len(), self.header.len());
        self.rows.push(cells);
    }

    /// The table as text, or `nothing` if it has no row.
    pub(super) fn text(&self, nothing: &str) -> String {
        if self.rows.is_empty() {
            return nothing.to_owned();
        }
        let headings = self
            .header
            .iter()
            .map(|name| name.trim_start_matches('#').to_owned());
        let headings: Vec<_> = headings.collect();
        let widths: Vec<_> = (0..headings.len())
            .map(|column| {
                let cells = self.rows.iter().map(|row| width(&row[column]));
                cells.max().unwrap_or(0).max(width(&headings[column]))
            })
            .collect();
        let lines = std::iter::once(&headings).chain(&self.rows);
        lines
            .map(|row| self.line(row, &widths))
            .collect::<Vec<_>>()
            .join("\n")
    }

    fn line(&self, row: &[String], widths: &[usize]) -> String {
        let mut line = String::new();
        for ((cell, name), &wide) in row.iter().zip(&self.header).zip(widths) {
            if !line.is_empty() {
                line.push_str("  ");
            }
            let gap = " ".repeat(wide - width(cell));
            // Writing to a string cannot fail.
            let _ = if name.starts_with('#') {
                write!(line, "{gap}{cell}")
            } else {
                write!(line, "{cell}{gap}")
            };
        }
        line.trim_end().to_owned()
    }
}

fn width(text: &str) -> usize {
    text.chars().count()
}

/// `text` without anything that could steer a terminal: it may come from somebody's message.
pub(super) fn printable(text: &str) -> String {
    text.chars()
        .map(|c| {
            if c.is_control() {
                c.escape_default().to_string()
            } else {
                c.to_string()
            }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_aligned_and_numbers_flush_right() {
        let mut table = Table::new(&["QUEUE", "#READY", "STATE"]);
        table.row(["fast".into(), "7".into(), "x".into()]);
        table.row(["очередь".into(), "12345678".into(), String::new()]);
        assert_eq!(
            table.text("none"),
            "QUEUE       READY  STATE\n\
             fast            7  x\n\
             очередь  12345678"
        );
        assert_eq!(Table::new(&["A"]).text("none"), "none");
    }

    #[test]
    fn control_characters_cannot_steer_the_terminal() {
        let mut table = Table::new(&["A"]);
        table.row(["x\u{1b}[2Jy\nz".into()]);
        assert_eq!(table.text(""), "A\nx\\u{1b}[2Jy\\nz");
    }
}

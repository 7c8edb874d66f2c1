//! What others wrote, made fit for one line of a log or of an error.

use std::fmt::{self, Write as _};

/// After so many characters the rest is left out.
const MOST: usize = 500;

/// Shows a value in one line: control characters are escaped, and a long text is cut.
///
/// Names and errors that come with a message may hold anything, such as a line end and what looks
/// like another line of the log.
///
/// ```
/// use celeriac_core::Brief;
///
/// assert_eq!(Brief("red\n\u{1b}[31m").to_string(), r"red\n\u{1b}[31m");
/// assert_eq!(Brief("x".repeat(1_000_000)).to_string().chars().count(), 501);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Brief<T>(pub T);

impl<T: fmt::Display> fmt::Display for Brief<T> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut line = Line {
            out: formatter,
            left: MOST,
        };
        match write!(line, "{}", self.0) {
            Err(_) if line.left == 0 => line.out.write_char('…'),
            written => written,
        }
    }
}

/// Takes characters until there are too many, which is an error.
struct Line<'a, 'b> {
    out: &'a mut fmt::Formatter<'b>,
    left: usize,
}

impl fmt::Write for Line<'_, '_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for character in text.chars() {
            self.left = self.left.checked_sub(1).ok_or(fmt::Error)?;
            if character.is_control() || is_unseen(character) {
                write!(self.out, "{}", character.escape_default())?;
            } else {
                self.out.write_char(character)?;
            }
        }
        Ok(())
    }
}

/// Whether it ends a line or turns the direction of what follows, without being a control character.
fn is_unseen(character: char) -> bool {
    matches!(character, '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_short_and_printable_is_shown_as_it_is() {
        assert_eq!(Brief("`ž` \"a\" \\").to_string(), "`ž` \"a\" \\");
        let most = "x".repeat(MOST);
        assert_eq!(Brief(&most).to_string(), most);
    }

    #[test]
    fn what_would_forge_a_line_is_escaped_and_what_is_long_is_cut() {
        assert_eq!(
            Brief("a\r\nb\u{2028}c\u{202e}").to_string(),
            r"a\r\nb\u{2028}c\u{202e}"
        );
        let shown = Brief("x".repeat(MOST + 1)).to_string();
        assert!(shown.ends_with("x…") && shown.chars().count() == MOST + 1);
    }
}

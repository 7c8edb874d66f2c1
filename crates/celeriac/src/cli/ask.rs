//! Asks before something is lost for good.

use std::io::{self, BufRead as _, IsTerminal as _, Write as _};

use super::exit::{Exit, Failure};

/// Whether the user agrees; `yes` is agreement given in advance.
///
/// # Errors
///
/// A usage error if nobody is there to ask.
pub(super) fn agreed(question: &str, yes: bool) -> Result<bool, Failure> {
    if yes {
        return Ok(true);
    }
    if !io::stdin().is_terminal() {
        return Err(Failure::new(
            Exit::Usage,
            "this cannot be undone, and nobody is here to ask",
        )
        .help("pass --yes to do it without being asked"));
    }
    let mut terminal = io::stderr().lock();
    write!(terminal, "{question} [y/N] ")?;
    terminal.flush()?;
    let mut answer = String::new();
    io::stdin().lock().read_line(&mut answer)?;
    Ok(matches!(answer.trim(), "y" | "Y" | "yes"))
}

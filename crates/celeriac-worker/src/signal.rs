//! Signals by their names, as this system counts them.

/// Those that end a process or tell it something.
const SIGNALS: [(&str, i32); 9] = [
    ("HUP", 1),
    ("INT", 2),
    ("QUIT", 3),
    ("ABRT", 6),
    ("KILL", 9),
    ("USR1", 10),
    ("USR2", 12),
    ("ALRM", 14),
    ("TERM", TERM),
];

/// The number of SIGTERM.
pub(crate) const TERM: i32 = 15;

/// The number of a signal: `SIGTERM`, `term`.
pub(crate) fn number(name: &str) -> Option<i32> {
    let name = name.to_ascii_uppercase();
    let name = name.strip_prefix("SIG").unwrap_or(&name);
    let mut signals = SIGNALS.iter();
    let found = signals.find(|(known, _)| *known == name);
    found.map(|(_, number)| *number)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signal_is_known_by_either_name() {
        for name in ["SIGTERM", "TERM", "term"] {
            assert_eq!(number(name), Some(TERM));
        }
        assert_eq!(number("SIGNAL"), None);
    }
}

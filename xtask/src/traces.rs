//! Finds what belongs to one machine or one occasion and not to the project.
//!
//! A path of somebody's machine, the address of a package registry or a word about how the text
//! came about means nothing to the next reader, and may not even be true for them.

use std::fs;
use std::path::Path;
use std::process::Command;

use crate::Result;

/// What must not appear, and why.
const TRACES: &[(&str, &str)] = &[
    ("/work/", "a path of one machine"),
    ("/root/", "a path of one machine"),
    ("/home/", "a path of one machine"),
    ("crates.io", "the address of a package registry"),
    ("pypi.org", "the address of a package registry"),
    ("pythonhosted.org", "the address of a package registry"),
    ("npmjs.", "the address of a package registry"),
    ("debian.org", "the address of a package registry"),
    ("golang.org", "the address of a package registry"),
    ("this session", "about how the text came about"),
    ("previous session", "about how the text came about"),
    ("last session", "about how the text came about"),
    ("the founder", "about how the text came about"),
    ("as an ai", "about how the text came about"),
    ("language model", "about how the text came about"),
];

/// The file that has to spell them out, and those that cargo writes.
const EXEMPT: &[&str] = &["xtask/src/traces.rs", "Cargo.lock"];

/// The traces in the files that git tracks or would add, one line each.
pub(crate) fn find(root: &Path) -> Result<Vec<String>> {
    let output = Command::new("git")
        .args([
            "ls-files",
            "-z",
            "--cached",
            "--others",
            "--exclude-standard",
        ])
        .current_dir(root)
        .output()
        .map_err(|error| format!("cannot run git: {error}"))?;
    if !output.status.success() {
        return Err(String::from_utf8_lossy(&output.stderr).into());
    }
    let mut found = Vec::new();
    for path in String::from_utf8(output.stdout)?.split_terminator('\0') {
        // A file that is deleted but still tracked, or that holds no text, has no lines to read.
        let exempt = EXEMPT.iter().any(|file| Path::new(path).ends_with(file));
        if exempt || !root.join(path).is_file() {
            continue;
        }
        if let Ok(text) = String::from_utf8(fs::read(root.join(path))?) {
            found.extend(in_text(path, &text));
        }
    }
    Ok(found)
}

fn in_text(path: &str, text: &str) -> Vec<String> {
    let mut found = Vec::new();
    for (index, line) in text.lines().enumerate() {
        let lower = line.to_lowercase();
        for (trace, kind) in TRACES {
            if lower.contains(trace) {
                found.push(format!("{path}:{}: `{trace}`: {kind}", index + 1));
            }
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_trace_is_named_with_its_line() {
        let text = "Everything is fine here.\nSee /Work/notes for more.\n";
        assert_eq!(
            in_text("README.md", text),
            ["README.md:2: `/work/`: a path of one machine"]
        );
    }

    #[test]
    fn ordinary_text_has_none() {
        assert!(in_text("a.rs", "the worker/child pair opens a database session\n").is_empty());
    }
}

//! The table of flags of "Moving from `celery worker`" is that of the program.

use std::collections::BTreeSet;
use std::fs;

use crate::support::{On, Project};

const PAGE: &str = concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/../../docs/moving-from-celery.md"
);

/// The flags in the first column of the page's tables, in all their spellings.
fn documented() -> BTreeSet<String> {
    let page = fs::read_to_string(PAGE).unwrap();
    let rows = page.lines().filter_map(|line| line.strip_prefix("| `-"));
    let column = rows.map(|row| format!("`-{}", row.split('|').next().unwrap_or_default()));
    let mut flags = BTreeSet::new();
    for cell in column {
        let spelled = cell.split('`').filter(|part| part.starts_with('-'));
        flags.extend(spelled.map(|flag| flag.split([' ', '=']).next().unwrap().to_owned()));
    }
    flags
}

/// The flags that `--help` shows.
fn understood() -> BTreeSet<String> {
    let project = Project::new("plain", On::Redis);
    let output = project.command("-A proj worker --help").output().unwrap();
    let help = String::from_utf8(output.stdout).unwrap();
    let lines = help
        .lines()
        .map(str::trim_start)
        .filter(|line| line.starts_with('-'));
    let words = lines.flat_map(|line| line.split([' ', ',']));
    let flags = words.filter(|word| word.starts_with('-') && word.len() > 1);
    flags.map(str::to_owned).collect()
}

#[test]
fn every_flag_is_in_the_table_and_the_table_has_no_other() {
    let (mut documented, understood) = (documented(), understood());
    assert!(documented.len() > 60, "{documented:?}");
    // Old spellings, which help does not show.
    for alias in [
        "--events",
        "--discard",
        "--schedule",
        "--no-execv",
        "--force-execv",
        "--autoreload",
        "--no-execution-pool",
        "--maxtasksperchild",
    ] {
        assert!(documented.remove(alias), "{alias} is not in the table");
    }
    let missing: Vec<_> = understood.difference(&documented).collect();
    let invented: Vec<_> = documented.difference(&understood).collect();
    assert!(
        missing.is_empty() && invented.is_empty(),
        "{missing:?} {invented:?}"
    );
}

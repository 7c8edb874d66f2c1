//! Which crate may depend on which, as ARCHITECTURE.md draws it.
//!
//! # Invariants
//!
//! - Core depends on no other member, and roles (worker, drivers, executor) depend on core and on
//!   the wire format, so that each can be read and replaced without the others.
//! - The testkit is for tests only, and for what is measured as they test it.

use std::path::Path;
use std::{fs, io};

use crate::workspace::{Edge, Package};

/// A member, the members it may depend on, and those its tests may besides.
type Rule = (
    &'static str,
    &'static [&'static str],
    &'static [&'static str],
);

const ROLES: &[&str] = &[
    "celeriac-core",
    "celeriac-drivers",
    "celeriac-executor",
    "celeriac-health",
    "celeriac-macros",
    "celeriac-otel",
    "celeriac-sync",
    "celeriac-wire",
    "celeriac-worker",
];

/// Every edge there may be.
const ALLOWED: &[Rule] = &[
    ("celeriac-core", &[], &[]),
    ("celeriac-macros", &["celeriac-core"], &[]),
    (
        "celeriac-executor",
        &["celeriac-core"],
        &["celeriac-testkit"],
    ),
    ("celeriac-sync", &[], &["celeriac-testkit"]),
    ("celeriac-wire", &["celeriac-core"], &[]),
    (
        "celeriac-drivers",
        &["celeriac-core", "celeriac-wire"],
        &["celeriac-testkit"],
    ),
    (
        "celeriac-worker",
        &["celeriac-core", "celeriac-wire"],
        &["celeriac-drivers", "celeriac-executor", "celeriac-testkit"],
    ),
    (
        "celeriac-health",
        &["celeriac-core", "celeriac-worker"],
        &["celeriac-drivers", "celeriac-testkit"],
    ),
    ("celeriac-otel", &["celeriac-core", "celeriac-worker"], &[]),
    ("celeriac", ROLES, &["celeriac-testkit"]),
    (
        "celeriac-python",
        &["celeriac-core", "celeriac-wire"],
        &["celeriac-drivers", "celeriac-testkit", "celeriac-worker"],
    ),
    (
        "celeriac-cli",
        &[
            "celeriac",
            "celeriac-core",
            "celeriac-drivers",
            "celeriac-health",
            "celeriac-otel",
            "celeriac-python",
            "celeriac-worker",
        ],
        &["celeriac-testkit"],
    ),
    ("celeriac-testkit", &["celeriac-core"], &[]),
    ("celeriac-examples", &["celeriac"], &["celeriac-testkit"]),
    (
        "celeriac-bench",
        &[
            "celeriac",
            "celeriac-core",
            "celeriac-drivers",
            "celeriac-executor",
            "celeriac-sync",
            "celeriac-testkit",
            "celeriac-wire",
        ],
        &[],
    ),
    ("xtask", &[], &[]),
];

/// What `packages` hold against the rules, one sentence each.
pub(crate) fn violations(packages: &[Package]) -> Vec<String> {
    packages
        .iter()
        .flat_map(|package| {
            let Some((_, normal, dev)) = ALLOWED.iter().find(|rule| rule.0 == package.name) else {
                return vec![format!(
                    "{} is not in the map: say in xtask/src/graph.rs what it may depend on",
                    package.name
                )];
            };
            let allowed = |edge: &&Edge| {
                let to = edge.to.as_str();
                normal.contains(&to) || (edge.dev && dev.contains(&to))
            };
            package
                .edges
                .iter()
                .filter(|edge| !allowed(edge))
                .map(|edge| {
                    let tests = if edge.dev { "the tests of " } else { "" };
                    format!("{tests}{} must not depend on {}", package.name, edge.to)
                })
                .collect()
        })
        .collect()
}

/// The members that have no code yet.
pub(crate) fn empty(packages: &[Package]) -> io::Result<Vec<String>> {
    let mut found = Vec::new();
    for package in packages {
        if !has_code(&package.folder.join("src"))? {
            found.push(format!("{} is empty", package.name));
        }
    }
    Ok(found)
}

fn has_code(folder: &Path) -> io::Result<bool> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        let found = if path.is_dir() {
            has_code(&path)?
        } else if path.extension().is_some_and(|ending| ending == "rs") {
            holds_code(&fs::read_to_string(path)?)
        } else {
            false
        };
        if found {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Whether `source` is more than comments, attributes and an empty `main`.
fn holds_code(source: &str) -> bool {
    source.lines().map(str::trim).any(|line| {
        !(line.is_empty()
            || line.starts_with("//")
            || line.starts_with("#!")
            || line.replace(' ', "") == "fnmain(){}")
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workspace::Workspace;

    fn package(name: &str, edges: &[(&str, bool)]) -> Package {
        Package {
            name: name.to_owned(),
            folder: "nowhere".into(),
            features: Vec::new(),
            edges: edges
                .iter()
                .map(|(to, dev)| Edge {
                    to: (*to).to_owned(),
                    dev: *dev,
                })
                .collect(),
        }
    }

    #[test]
    fn the_edges_of_this_workspace_are_allowed() {
        let workspace = Workspace::load().unwrap();
        assert!(workspace.package("celeriac-core").is_some());
        assert_eq!(violations(&workspace.packages), Vec::<String>::new());
    }

    #[test]
    fn a_forbidden_edge_is_found() {
        let packages = [
            package("celeriac-core", &[]),
            package("celeriac-executor", &[("celeriac-core", false)]),
            package(
                "celeriac-worker",
                &[("celeriac-core", false), ("celeriac-drivers", false)],
            ),
        ];
        assert_eq!(
            violations(&packages),
            ["celeriac-worker must not depend on celeriac-drivers"]
        );
    }

    #[test]
    fn the_testkit_is_for_tests_only() {
        let of_tests = package("celeriac-drivers", &[("celeriac-testkit", true)]);
        let of_all = package("celeriac-drivers", &[("celeriac-testkit", false)]);
        assert!(violations(&[of_tests]).is_empty());
        assert_eq!(
            violations(&[of_all]),
            ["celeriac-drivers must not depend on celeriac-testkit"]
        );
    }

    #[test]
    fn tests_are_bound_by_the_map_too() {
        let packages = [package("celeriac-core", &[("celeriac", true)])];
        assert_eq!(
            violations(&packages),
            ["the tests of celeriac-core must not depend on celeriac"]
        );
    }

    #[test]
    fn a_crate_that_the_map_does_not_know_is_refused() {
        let found = violations(&[package("celeriac-utils", &[])]);
        assert!(
            found[0].starts_with("celeriac-utils is not in the map"),
            "{found:?}"
        );
    }

    #[test]
    fn comments_and_an_empty_main_are_no_code() {
        assert!(!holds_code(
            "//! Soon.\n#![forbid(unsafe_code)]\n\nfn main() {}\n"
        ));
        assert!(holds_code("//! Now.\npub fn run() {}\n"));
    }
}

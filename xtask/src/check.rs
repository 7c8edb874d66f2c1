//! `cargo xtask check`: everything about the source that needs no test run.
//!
//! Lints come before documentation and features because they find most mistakes soonest. All steps
//! run with the same compiler flags, so that what one has built the next one uses.

use std::process::{Command, ExitCode};

use crate::steps::{Program, Step, Work};
use crate::workspace::{Workspace, cargo_has};
use crate::{Result, graph, steps, traces};

/// The crates whose features are for users to choose.
const FEATURED: &[&str] = &["celeriac", "celeriac-drivers"];

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Only these steps; all if none is named.
    #[arg(value_name = "STEP")]
    only: Vec<String>,
    /// Run the later steps too when one has failed.
    #[arg(long)]
    keep_going: bool,
}

pub(crate) fn run(args: &Args, workspace: &Workspace) -> Result<ExitCode> {
    let mut steps = all(workspace);
    let names: Vec<_> = steps.iter().map(|step| step.name.clone()).collect();
    if let Some(unknown) = args.only.iter().find(|name| !names.contains(name)) {
        return Err(format!("no step `{unknown}`; there are {}", names.join(", ")).into());
    }
    steps.retain(|step| args.only.is_empty() || args.only.contains(&step.name));
    steps::run(&steps, &workspace.root, args.keep_going)
}

fn all(workspace: &Workspace) -> Vec<Step<'_>> {
    let mut steps = vec![
        ours("traces", || {
            none_of(
                &traces::find(&workspace.root)?,
                "no path or address of one machine",
            )
        }),
        ours("crates", || {
            let mut found = graph::violations(&workspace.packages);
            found.extend(graph::empty(&workspace.packages)?);
            none_of(&found, &format!("{} crates", workspace.packages.len()))
        }),
        program("fmt", Program::cargo(["fmt", "--all", "--check"])),
        // A workspace of its own; to compile it would take longer than all the rest.
        program(
            "fmt-peers",
            Program::cargo([
                "fmt",
                "--check",
                "--manifest-path",
                "bench/peers/rust/Cargo.toml",
            ]),
        ),
        program(
            "clippy",
            Program::cargo([
                "clippy",
                "--quiet",
                "--workspace",
                "--all-targets",
                "--",
                "--deny=warnings",
            ]),
        ),
        program(
            "doc",
            Program::cargo(["doc", "--quiet", "--workspace", "--no-deps", "--lib"])
                .with("RUSTDOCFLAGS", "--deny=warnings"),
        ),
    ];
    for name in FEATURED {
        for feature in workspace.package(name).map_or(&[][..], |p| &p.features) {
            steps.push(alone(name, feature));
        }
    }
    steps.push(licences());
    steps.push(types());
    steps
}

/// One feature of one crate, with no other switched on.
fn alone(package: &str, feature: &str) -> Step<'static> {
    program(
        &format!("{package}/{feature}"),
        Program::cargo([
            "clippy",
            "--quiet",
            "--package",
            package,
            "--lib",
            "--no-default-features",
            "--features",
            feature,
            "--",
            "--deny=warnings",
        ]),
    )
}

fn licences() -> Step<'static> {
    if cargo_has("deny") {
        program(
            "deny",
            Program::cargo([
                "deny",
                "--workspace",
                "check",
                "bans",
                "licenses",
                "sources",
            ]),
        )
    } else {
        Step {
            name: "deny".to_owned(),
            work: Work::Skipped("needs `cargo install cargo-deny`"),
        }
    }
}

/// The types of the Python that travels in the worker.
fn types() -> Step<'static> {
    let found = Command::new("mypy").arg("--version").output();
    if found.is_ok_and(|output| output.status.success()) {
        program(
            "mypy",
            Program::other("mypy", ["--config-file", "python/mypy.ini"]),
        )
    } else {
        Step {
            name: "mypy".to_owned(),
            work: Work::Skipped("needs `pip install mypy`"),
        }
    }
}

fn program(name: &str, program: Program) -> Step<'static> {
    Step {
        name: name.to_owned(),
        work: Work::Program(program),
    }
}

fn ours<'a>(name: &str, check: impl Fn() -> Result<String> + 'a) -> Step<'a> {
    Step {
        name: name.to_owned(),
        work: Work::Ours(Box::new(check)),
    }
}

/// `remark` if nothing was found, else all of it as an error.
fn none_of(found: &[String], remark: &str) -> Result<String> {
    if found.is_empty() {
        Ok(remark.to_owned())
    } else {
        Err(found.join("\n").into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_feature_of_the_facade_and_of_the_drivers_is_built_alone() {
        let workspace = Workspace::load().unwrap();
        let names: Vec<_> = all(&workspace).into_iter().map(|step| step.name).collect();
        for expected in [
            "celeriac/macros",
            "celeriac/sqlite",
            "celeriac-drivers/sqlite",
        ] {
            assert!(names.iter().any(|name| name == expected), "{names:?}");
        }
    }

    #[test]
    fn an_unknown_step_is_refused_with_the_list() {
        let workspace = Workspace::load().unwrap();
        let args = Args {
            only: vec!["lints".to_owned()],
            keep_going: false,
        };
        let error = run(&args, &workspace).unwrap_err().to_string();
        assert!(
            error.starts_with("no step `lints`; there are traces"),
            "{error}"
        );
    }
}

//! What the developers of celeriac run: `cargo xtask check | test | servers | bench`.
//!
//! The README, the machines that check a change and people all call these commands, so that
//! "it passes here" means the same for everybody.

#![forbid(unsafe_code)]
#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a command for people at a terminal"
)]

mod bench;
mod check;
mod graph;
mod interrupts;
mod peers;
mod servers;
mod steps;
mod test;
mod traces;
mod workspace;

use std::error::Error;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::workspace::Workspace;

/// What a step of these commands gives; the error is for a person to read.
type Result<T = ()> = std::result::Result<T, Box<dyn Error>>;

#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask", about, long_about = None)]
struct Args {
    #[command(subcommand)]
    command: Command,
}

/// The chores of the celeriac workspace.
#[derive(Subcommand)]
enum Command {
    /// Formatting, lints, documentation, features, crate graph, licences and traces.
    Check(check::Args),
    /// All tests, those in the documentation too.
    Test(test::Args),
    /// The servers that the tests need, until Ctrl-C.
    Servers,
    /// Our speed beside a peer's, measured in the same run.
    Bench(bench::Args),
}

fn main() -> ExitCode {
    let args = Args::parse();
    let done = Workspace::load().and_then(|workspace| match &args.command {
        Command::Check(args) => check::run(args, &workspace),
        Command::Test(args) => test::run(args, &workspace),
        Command::Servers => servers::run(&workspace),
        Command::Bench(args) => bench::run(args, &workspace),
    });
    match done {
        Ok(code) => code,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

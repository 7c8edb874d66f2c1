//! The `celeriac` command: sends calls to any app and looks after queues.
//!
//! It has no task of its own, so it serves none; a program with tasks carries the same command line
//! by calling [`celeriac::cli::main`].
#![forbid(unsafe_code)]

use std::process::ExitCode;

fn main() -> ExitCode {
    celeriac::cli::main()
}

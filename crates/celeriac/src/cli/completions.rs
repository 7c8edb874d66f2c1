//! `completions SHELL`: prints a completion script.

use std::io;
use std::path::Path;

use clap::{Args, CommandFactory as _};
use clap_complete::Shell;

use super::{Cli, Exit};

#[derive(Debug, Args)]
pub(super) struct CompletionsArgs {
    /// The shell
    shell: Shell,
}

#[expect(
    clippy::needless_pass_by_value,
    reason = "as every command takes its arguments"
)]
pub(super) fn run(args: CompletionsArgs) -> Exit {
    let path = std::env::args_os().next().unwrap_or_default();
    let name = Path::new(&path).file_name().map_or_else(
        || "celeriac".to_owned(),
        |name| name.to_string_lossy().into_owned(),
    );
    clap_complete::generate(args.shell, &mut Cli::command(), name, &mut io::stdout());
    Exit::Done
}

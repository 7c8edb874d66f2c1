//! The `celeriac` command.
//!
//! `celeriac -A proj …` is the command line of a Celery app in Python: its `worker` runs the app's tasks,
//! and what is not ours is handed over to the app's own `celery`. Without an app it sends calls to any
//! program and looks after queues, by the command line that every program of celeriac carries.
#![forbid(unsafe_code)]

mod celery;

use std::env;
use std::process::ExitCode;

use celery::words::{Meant, meant};

fn main() -> ExitCode {
    let words: Vec<_> = env::args_os().collect();
    match meant(&words, |name| env::var_os(name)) {
        Meant::Ours => celeriac::cli::run(words),
        Meant::Worker(words) => celery::worker(words),
        Meant::Celery(call) => celery::hand_over(&call),
    }
}

//! The `celeriac` command, by itself and with apps of Celery's in Python.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod bad_input;
mod command;
mod differential;
mod ends;
mod flags;
mod frameworks;
mod moving;
mod operated;
mod package;
mod process;
mod results;
mod start;
mod support;

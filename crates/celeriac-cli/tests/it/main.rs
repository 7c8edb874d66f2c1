//! The `celeriac` command, by itself and with apps of Celery's in Python.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod alerts;
mod bad_input;
mod command;
mod differential;
mod encrypted;
mod ends;
mod flags;
mod fleet;
mod flower;
mod frameworks;
mod health;
mod logs;
mod moving;
mod noise;
mod operated;
mod package;
mod process;
mod queues;
mod results;
mod stacks;
mod start;
mod support;
mod top;
mod traces;

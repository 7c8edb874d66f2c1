//! A program whose queues are bound to an exchange, and that carries celeriac's command line.
//!
//! ```sh
//! export CELERIAC_ON=redis://localhost
//! cargo run --example exchanges -- send note log.txt --route 'note=news'
//! cargo run --example exchanges -- worker -Q archive
//! ```
#![forbid(unsafe_code)]

use std::fs::OpenOptions;
use std::io::Write as _;
use std::process::ExitCode;

use celeriac::cli::Program;
use celeriac::{BoxError, Exchange, Queue};

/// Adds a line to the file `log`.
#[celeriac::task(name = "note", results = "ignore")]
fn note(log: String) -> Result<(), BoxError> {
    let mut file = OpenOptions::new().create(true).append(true).open(log)?;
    writeln!(file, "noted")?;
    Ok(())
}

fn main() -> ExitCode {
    let world = Exchange::topic("world");
    let news = Queue::new("news").bind(world.clone(), "news.today");
    let archive = Queue::new("archive").bind(world, "news.*");
    Program::default().queues([news, archive]).main()
}

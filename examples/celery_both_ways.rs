//! A client in Rust asks a Celery worker in Python, and a Celery client in Python asks a worker in
//! Rust, through one broker.
//!
//! ```text
//! python3 -m venv env && env/bin/pip install 'celery[redis]'
//! cargo run --release --example celery_both_ways -- --on redis://localhost --python env/bin/python
//! ```
//!
//! Coming from Python: `app.send(add::call(6, 7))` is `add.delay(6, 7)`, and a handle is an
//! `AsyncResult`. Messages and results are Celery's own, so neither side can tell what the other is
//! written in: move one task of an app to Rust, under its old name, and its callers stay as they are.

use std::path::PathBuf;

use celeriac_examples::{Common, Result, Site};
use clap::Parser;
use tokio::process::Command;

/// What Python asks for, by its name. It has a queue of its own, from which only workers take that
/// have it.
#[celeriac::task(name = "rust.multiply", queue = "rust")]
fn multiply(a: i64, b: i64) -> i64 {
    a * b
}

/// A task of Python's, as Rust has to know it to call it: its name and its types.
#[celeriac::task(name = "python.add")]
fn add(a: i64, b: i64) -> i64 {
    unreachable!("Python adds {a} and {b}: it alone takes from the queue")
}

/// Lets Rust and Python call each other's tasks
#[derive(Parser)]
struct Args {
    #[command(flatten)]
    common: Common,
    /// A Python that has Celery
    #[arg(long, default_value = "python3")]
    python: PathBuf,
}

#[celeriac::main]
async fn main() -> Result {
    let args = Args::parse();
    let Some(celeriac::Place::Broker(url)) = &args.common.on else {
        return Err("both have to reach a broker: add --on redis://… or --on amqp://…".into());
    };
    // Starts a worker in this program too, for the queues that its tasks name.
    let site = Site::open(&args.common, "threads").await?;
    let python = || {
        let mut command = Command::new(&args.python);
        command
            .current_dir(env!("CARGO_MANIFEST_DIR"))
            .env("BROKER", url.expose())
            .env("PYTHONDONTWRITEBYTECODE", "1")
            .env("PYTHONWARNINGS", "ignore")
            .kill_on_drop(true);
        command
    };

    let mut worker = python()
        .args(["-m", "celery", "--quiet", "--app", "celery_both_ways"])
        .args(["worker", "--queues", "python", "--pool", "threads"])
        .args(["--loglevel", "ERROR", "--without-mingle"])
        .stdout(std::process::Stdio::null())
        .spawn()
        .map_err(|error| format!("cannot run {}: {error}", args.python.display()))?;

    let mut asked = site.app.send(add::call(6, 7).queue("python")).await?;
    let sum = tokio::select! {
        sum = asked.get() => sum?,
        ended = worker.wait() => {
            return Err(format!("Python's worker stopped ({}); does it have Celery?", ended?).into());
        }
    };
    println!("Rust asked Python: 6 + 7 = {sum}");

    let client = python().arg("celery_both_ways.py").output().await?;
    if !client.status.success() {
        return Err(String::from_utf8_lossy(&client.stderr).into());
    }
    print!("{}", String::from_utf8_lossy(&client.stdout));

    worker.kill().await?;
    site.finish("asked both ways").await?;
    Ok(())
}

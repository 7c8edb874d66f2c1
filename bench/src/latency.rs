//! One task at a time, through a worker that has gone to sleep.

use std::error::Error;
use std::thread;
use std::time::{Duration, Instant};

use celeriac::blocking::App;

use crate::repetitions::Report;
use crate::tasks::empty;

const LATENCIES: usize = 200;

/// So long nothing happens before a latency is taken, that everybody has gone to sleep.
const IDLE: Duration = Duration::from_millis(20);

/// From sending to the result, as the worker of `app` is there already.
pub(crate) fn measure(app: &App) -> Result<Report, Box<dyn Error + Send + Sync>> {
    app.send(empty::call(0))?.wait()?;
    let mut took = Vec::new();
    for _ in 0..LATENCIES {
        thread::sleep(IDLE);
        let begun = Instant::now();
        app.send(empty::call(0))?.wait()?;
        took.push(begun.elapsed());
    }
    Ok(Report::new(1, took))
}

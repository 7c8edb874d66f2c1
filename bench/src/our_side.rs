//! Our side of every measure of speed.

use std::collections::BTreeSet;
use std::ops::RangeInclusive;
use std::time::Instant;

use celeriac::blocking::App;
use celeriac::{Bytes, Result, ShutdownMode, TaskError};

use crate::repetitions::Report;
use crate::tasks::{echo, empty, is_prime, process, sleep_1s, sum};
use crate::work::{self, EMPTY_TASKS};

/// As many as the Python peers take, which need seconds for them.
const SINGLE_TASKS: u32 = 30_000;

const BODIES: u32 = 1_000;
const BODY_SIZE_BYTES: usize = 1_000_000;

const SLEEPS: u32 = 10_000;

/// Runs what `measure` names.
pub(crate) fn run(measure: &str) -> Result<Option<Report>> {
    Ok(Some(match measure {
        "primes" => primes(&App::on("threads")?)?,
        "sum" => sums(&App::on("threads")?)?,
        "empty-threads" => empties(&App::on("threads")?, EMPTY_TASKS, None)?,
        "empty-threads-1" => empties(&App::on("threads")?, EMPTY_TASKS, Some(1))?,
        "empty-processes" => empties(&App::on("processes")?, EMPTY_TASKS, None)?,
        "empty-processes-1" => empties(&App::on("processes")?, SINGLE_TASKS, Some(1))?,
        "bodies" => bodies(&App::on("processes")?)?,
        "cold-start" => cold_start()?,
        "hybrid" => hybrid(&App::on("processes=4*coroutines=2500")?)?,
        _ => return Ok(None),
    }))
}

fn primes(app: &App) -> Result<Report> {
    let candidates = work::candidates();
    Report::of(work::CANDIDATES, || {
        let answers = app.map::<is_prime>(candidates.iter().copied());
        let answers: Vec<bool> = answers.collect::<Result<_, TaskError>>()?;
        let primes = answers.iter().filter(|prime| **prime).count();
        assert_eq!(primes, work::PRIMES);
        Ok(())
    })
}

fn sums(app: &App) -> Result<Report> {
    Report::of(1, || {
        let ranges = work::ranges().into_iter().map(RangeInclusive::into_inner);
        let total: u64 = app.map::<sum>(ranges).sum::<Result<_, TaskError>>()?;
        assert_eq!(total, work::SUM);
        Ok(())
    })
}

fn empties(app: &App, tasks: u32, chunk_size: Option<usize>) -> Result<Report> {
    Report::of(tasks, || {
        let mut map = app.map_unordered::<empty>(0..tasks);
        if let Some(size) = chunk_size {
            map = map.chunk_size(size);
        }
        let results: Vec<()> = map.collect::<Result<_, TaskError>>()?;
        assert_eq!(results.len(), tasks as usize);
        Ok(())
    })
}

fn bodies(app: &App) -> Result<Report> {
    let body = Bytes::from(vec![0; BODY_SIZE_BYTES]);
    Report::of(BODIES, || {
        let bodies = (0..BODIES).map(|_| body.clone());
        let mut received = 0;
        for echoed in app.map::<echo>(bodies).chunk_size(1) {
            assert_eq!(echoed?.len(), BODY_SIZE_BYTES);
            received += 1;
        }
        assert_eq!(received, BODIES);
        Ok(())
    })
}

fn hybrid(app: &App) -> Result<Report> {
    Report::of(1, || {
        let slept: Vec<()> = app
            .map_unordered::<sleep_1s>(0..SLEEPS)
            .collect::<Result<_, TaskError>>()?;
        assert_eq!(slept.len(), SLEEPS as usize);
        Ok(())
    })
}

/// From nothing until each of two children has run a task.
fn cold_start() -> Result<Report> {
    let mut took = Vec::new();
    for _ in 0..10 {
        let begun = Instant::now();
        let app = App::on("processes=2")?;
        let mut children = BTreeSet::new();
        for child in app.map_unordered::<process>(0..).chunk_size(1) {
            children.insert(child?);
            if children.len() == 2 {
                break;
            }
        }
        took.push(begun.elapsed());
        app.shutdown(ShutdownMode::CancelQueued);
    }
    Ok(Report::new(1, took))
}

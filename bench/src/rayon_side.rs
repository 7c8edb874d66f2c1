//! The peer of the thread pool: rayon, on its own pool of one thread per core.

use std::convert::Infallible;
use std::sync::mpsc;

use rayon::prelude::*;

use crate::repetitions::Report;
use crate::work::{self, EMPTY_TASKS, is_prime, sum};

/// Runs what `measure` names, if rayon has something to set against it.
pub(crate) fn run(measure: &str) -> Option<Report> {
    let report = match measure {
        "primes" => primes(),
        "sum" => sums(),
        "empty-threads" | "empty-threads-1" => empties(),
        _ => return None,
    };
    match report {
        Ok(report) => Some(report),
    }
}

fn primes() -> Result<Report, Infallible> {
    let candidates = work::candidates();
    Report::of(work::CANDIDATES, || {
        let answers: Vec<_> = candidates.par_iter().map(|n| is_prime(*n)).collect();
        let primes = answers.iter().filter(|prime| **prime).count();
        assert_eq!(primes, work::PRIMES);
        Ok(())
    })
}

fn sums() -> Result<Report, Infallible> {
    Report::of(1, || {
        let total: u64 = work::ranges().into_par_iter().map(sum).sum();
        assert_eq!(total, work::SUM);
        Ok(())
    })
}

fn empties() -> Result<Report, Infallible> {
    Report::of(EMPTY_TASKS, || {
        let (sender, receiver) = mpsc::channel();
        for _ in 0..EMPTY_TASKS {
            let sender = sender.clone();
            rayon::spawn(move || sender.send(()).expect("the receiver outlives the senders"));
        }
        drop(sender);
        let results: Vec<()> = receiver.into_iter().collect();
        assert_eq!(results.len(), EMPTY_TASKS as usize);
        Ok(())
    })
}

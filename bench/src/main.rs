//! What `cargo xtask bench` runs: `celeriac-bench MEASURE SIDE`.
//!
//! A side is `ours` or a peer that does the same work with the same number of threads. It prints one
//! line of JSON, the work of one repetition and the seconds of each; `peers/pools.py` and `peers/sharing.py`
//! do the same for what Python's standard library has, and `peers/celery_side.py` for Celery.

#![forbid(unsafe_code)]
#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a program that reports to another"
)]

mod brokers;
mod cluster;
mod faults;
mod latency;
mod marks;
mod our_side;
mod parts_side;
mod rayon_side;
mod repetitions;
mod sharing;
mod sqlite_side;
mod std_side;
mod tasks;
mod work;
mod worker;

use std::error::Error;
use std::process::ExitCode;

use crate::faults::power_cut;

#[celeriac::main]
fn main() -> Result<ExitCode, Box<dyn Error + Send + Sync>> {
    let args: Vec<_> = std::env::args().skip(1).collect();
    let args: Vec<_> = args.iter().map(String::as_str).collect();
    let report = match args[..] {
        [worker::WORKER, url, place] => return work(url, place, false),
        [worker::WORKER, url, place, worker::UNTIL_IDLE] => return work(url, place, true),
        [power_cut::SENDER, url] => return Ok(power_cut::send(url).map(|()| ExitCode::SUCCESS)?),
        [power_cut::READER, url] => return power_cut::read(url).map(|()| ExitCode::SUCCESS),
        [sharing::OTHER, part, shared] => {
            return sharing::play(part, shared).map(|()| ExitCode::SUCCESS);
        }
        [measure, "ours"]
            if ["process-", "thread-"]
                .iter()
                .any(|of| measure.starts_with(of)) =>
        {
            sharing::run(measure)?.map(|report| report.to_string())
        }
        [cluster::MANAGER, address] => return cluster::serve(address),
        [measure, "ours"]
            if ["manager-", "cluster-"]
                .iter()
                .any(|of| measure.starts_with(of)) =>
        {
            cluster::run(measure)?.map(|report| report.to_string())
        }
        [measure, "ours"] if measure.starts_with("sqlite") => {
            sqlite_side::run(measure)?.map(|report| report.to_string())
        }
        [measure, "ours"] => match (faults::run(measure)?, brokers::run(measure)?) {
            (Some(counts), _) => Some(counts.to_string()),
            (None, Some(report)) => Some(report),
            (None, None) => our_side::run(measure)?.map(|report| report.to_string()),
        },
        [measure, "parts"] => parts_side::run(measure).map(|report| report.to_string()),
        [measure, "quiet"] => brokers::quiet(measure)?,
        [measure, "rayon"] => rayon_side::run(measure).map(|report| report.to_string()),
        [measure, "std"] => std_side::run(measure).map(|report| report.to_string()),
        [measure, "silent"] => brokers::silent(measure)?,
        _ => None,
    };
    Ok(if let Some(report) = report {
        println!("{report}");
        ExitCode::SUCCESS
    } else {
        eprintln!("error: no such measure; `cargo xtask bench --list` names them");
        ExitCode::from(2)
    })
}

fn work(
    url: &str,
    place: &str,
    stop_when_idle: bool,
) -> Result<ExitCode, Box<dyn Error + Send + Sync>> {
    worker::run(url, place, stop_when_idle).map(|()| ExitCode::SUCCESS)
}

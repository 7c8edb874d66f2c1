//! What `cargo xtask bench` runs: `celeriac-bench MEASURE SIDE`.
//!
//! A side is `ours` or a peer that does the same work with the same number of threads. It prints one
//! line of JSON, the work of one repetition and the seconds of each; `peers/pools.py` does the same
//! for what Python's standard library has.

#![forbid(unsafe_code)]
#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a program that reports to another"
)]

mod rayon_side;
mod repetitions;
mod work;

use std::process::ExitCode;

fn main() -> ExitCode {
    let args: Vec<_> = std::env::args().skip(1).collect();
    let args: Vec<_> = args.iter().map(String::as_str).collect();
    let report = match args[..] {
        [measure, "rayon"] => rayon_side::run(measure),
        _ => None,
    };
    if let Some(report) = report {
        println!("{report}");
        ExitCode::SUCCESS
    } else {
        eprintln!("error: no such measure; `cargo xtask bench --list` names them");
        ExitCode::from(2)
    }
}

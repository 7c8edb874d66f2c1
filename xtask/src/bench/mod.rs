//! `cargo xtask bench`: our figure and the peer's, taken in turn in the same run.
//!
//! Each side is a program that prints one line of JSON (see [`sample`]). They are started afresh
//! in every round, ours and each peer's after one another, so that what else the machine does meets
//! all of them alike.

mod bullmq;
mod catalogue;
mod choice;
mod measure;
mod sample;
mod servers;
mod sides;
mod table;

use std::fs;
use std::process::{Command, ExitCode};

use self::catalogue::measures;
use self::measure::{Figure, Measure, Peer};
use self::sample::{Count, Samples};
use self::sides::Sides;
use self::table::Row;
use crate::Result;
use crate::interrupts::Interrupts;
use crate::workspace::Workspace;

/// Where `--markdown` puts the table.
const DOCUMENT: &str = "docs/benchmarks.md";

#[derive(clap::Args)]
pub(crate) struct Args {
    /// What to measure, as `--list` names it; everything if nothing is named.
    #[arg(value_name = "NAME")]
    names: Vec<String>,
    /// Name the measures and their targets, and measure nothing.
    #[arg(long)]
    list: bool,
    /// Put the figures into docs/benchmarks.md too.
    #[arg(long)]
    markdown: bool,
    /// How often each side is started.
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..))]
    rounds: u32,
}

pub(crate) fn run(args: &Args, workspace: &Workspace) -> Result<ExitCode> {
    let chosen = choice::picked(&args.names)?;
    if args.list {
        for measure in chosen {
            println!("{:18} {}", measure.name, measure.title);
        }
        return Ok(ExitCode::SUCCESS);
    }
    let interrupts = Interrupts::watch()?;
    let mut sides = Sides::build(workspace, &interrupts, &chosen)?;
    let mut rows = Vec::new();
    let mut failed = Vec::new();
    for measure in chosen {
        sides.servers.arrange(measure.servers)?;
        match rows_of(measure, &sides, args.rounds) {
            Ok(found) => rows.extend(found),
            Err(error) if interrupts.came() => return Err(error),
            // What the others have shown took minutes, and is worth something without it.
            Err(error) => {
                eprintln!("error: {}: {error}", measure.name);
                failed.push(measure.name);
            }
        }
    }
    sides.servers.arrange(false)?;
    println!("\n{}", table::plain(&rows));
    if args.markdown {
        let path = workspace.root.join(DOCUMENT);
        let names: Vec<_> = measures().map(|measure| measure.name).collect();
        let document = table::put_into(&fs::read_to_string(&path)?, &rows, &names, &machine())?;
        fs::write(&path, document)?;
        println!("{DOCUMENT} is up to date");
    }
    for left_out in &sides.left_out {
        println!("left out: {left_out}");
    }
    let verdicts: Vec<_> = rows.iter().filter_map(Row::met).collect();
    let met = verdicts.iter().filter(|met| **met).count();
    println!("{met} of {} targets met", verdicts.len());
    if !failed.is_empty() {
        println!("not measured: {}", failed.join(", "));
    }
    Ok(if met == verdicts.len() && failed.is_empty() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// Runs all sides of a measure.
fn rows_of(measure: &Measure, sides: &Sides, rounds: u32) -> Result<Vec<Row>> {
    if measure.figure == Figure::Counts {
        eprintln!("{}: {}", measure.name, measure.title);
        let output = sides.ours(measure)?;
        let counts = Count::read_all(&output).ok_or_else(|| no_report(measure, &output))?;
        return Ok(counts
            .iter()
            .map(|count| Row::counted(measure, count))
            .collect());
    }
    let read = |output: String| Samples::read(&output).ok_or_else(|| no_report(measure, &output));
    let mut ours = Samples::default();
    let peers: Vec<&Peer> = measure.peers.iter().filter(|it| sides.has(it)).collect();
    let mut theirs = vec![Samples::default(); peers.len()];
    for round in 1..=rounds {
        eprintln!("{}: round {round} of {rounds}", measure.name);
        ours.add(read(sides.ours(measure)?)?);
        for (peer, samples) in peers.iter().zip(&mut theirs) {
            samples.add(read(sides.peer(measure, peer)?)?);
        }
    }
    let alone = (measure.target.is_some() || peers.is_empty()).then(|| Row::alone(measure, &ours));
    let beside = peers.iter().zip(&theirs);
    let beside = beside.map(|(peer, samples)| Row::beside(measure, &ours, peer, samples));
    Ok(alone.into_iter().chain(beside).collect())
}

fn no_report(measure: &Measure, output: &str) -> String {
    format!(
        "{} reported nothing that can be read: {output}",
        measure.name
    )
}

/// One sentence on the machine and the tools of this run.
fn machine() -> String {
    let first_line = |program: &str| {
        let output = Command::new(program).arg("--version").output().ok()?;
        let text = String::from_utf8(output.stdout).ok()?;
        Some(text.lines().next()?.to_owned())
    };
    let processor = fs::read_to_string("/proc/cpuinfo").ok().and_then(|text| {
        let line = text.lines().find(|line| line.starts_with("model name"))?;
        Some(line.split_once(':')?.1.trim().to_owned())
    });
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let unknown = || "unknown".to_owned();
    format!(
        "Last run on {cores} cores of {}, {}, {}, Node {}.",
        processor.unwrap_or_else(unknown),
        first_line("rustc").unwrap_or_else(unknown),
        first_line("python3").unwrap_or_else(unknown),
        first_line("node").unwrap_or_else(unknown)
    )
}

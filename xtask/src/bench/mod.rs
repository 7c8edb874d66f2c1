//! `cargo xtask bench`: our figure and the peer's, taken in turn in the same run.
//!
//! Each side is a program that prints one line of JSON (see [`sample`]). They are started afresh
//! in every round, ours and each peer's after one another, so that what else the machine does meets
//! all of them alike.

mod catalogue;
mod measure;
mod sample;
mod table;

use std::fs;
use std::path::PathBuf;
use std::process::{Command, ExitCode, Stdio};

use self::catalogue::MEASURES;
use self::measure::{Figure, Language, Measure};
use self::sample::{Count, Samples};
use self::table::Row;
use crate::Result;
use crate::steps::Program;
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
    let measures = catalogue::picked(&args.names)?;
    if args.list {
        for measure in measures {
            println!("{:18} {}", measure.name, measure.title);
        }
        return Ok(ExitCode::SUCCESS);
    }
    let sides = Sides::build(workspace)?;
    let mut rows = Vec::new();
    for measure in measures {
        rows.extend(rows_of(measure, &sides, args.rounds)?);
    }
    println!("\n{}", table::plain(&rows));
    if args.markdown {
        let path = workspace.root.join(DOCUMENT);
        let names: Vec<_> = MEASURES.iter().map(|measure| measure.name).collect();
        let document = table::put_into(&fs::read_to_string(&path)?, &rows, &names, &machine())?;
        fs::write(&path, document)?;
        println!("{DOCUMENT} is up to date");
    }
    let missed = rows.iter().filter(|row| !row.met()).count();
    println!("{} of {} targets met", rows.len() - missed, rows.len());
    Ok(if missed == 0 {
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
    let mut theirs = vec![Samples::default(); measure.peers.len()];
    for round in 1..=rounds {
        eprintln!("{}: round {round} of {rounds}", measure.name);
        ours.add(read(sides.ours(measure)?)?);
        for (peer, samples) in measure.peers.iter().zip(&mut theirs) {
            samples.add(read(sides.peer(measure, peer.language, peer.side)?)?);
        }
    }
    let alone =
        (measure.target.is_some() || measure.peers.is_empty()).then(|| Row::alone(measure, &ours));
    let beside = measure.peers.iter().zip(&theirs);
    let beside = beside.map(|(peer, samples)| Row::beside(measure, &ours, peer, samples));
    Ok(alone.into_iter().chain(beside).collect())
}

fn no_report(measure: &Measure, output: &str) -> String {
    format!(
        "{} reported nothing that can be read: {output}",
        measure.name
    )
}

/// The programs that are measured.
struct Sides {
    ours: PathBuf,
    python: PathBuf,
}

impl Sides {
    /// Builds the bench program as users build theirs, for release.
    fn build(workspace: &Workspace) -> Result<Self> {
        let build = Program::cargo(["build", "--release", "--package", "celeriac-bench"]);
        let mut command = build.command(&workspace.root);
        let output = command
            .arg("--message-format=json-render-diagnostics")
            .stderr(Stdio::inherit())
            .output()?;
        if !output.status.success() {
            return Err(format!("`{}` failed", build.shown()).into());
        }
        let messages = String::from_utf8(output.stdout)?;
        let executable = messages
            .lines()
            .filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok())
            .filter_map(|message| Some(PathBuf::from(message["executable"].as_str()?)))
            .next_back();
        Ok(Self {
            ours: executable.ok_or("cargo built no bench program")?,
            python: workspace.root.join("bench/peers/pools.py"),
        })
    }

    fn ours(&self, measure: &Measure) -> Result<String> {
        report(Command::new(&self.ours).args([measure.name, "ours"]))
    }

    fn peer(&self, measure: &Measure, language: Language, side: &str) -> Result<String> {
        let mut command = match language {
            Language::Rust => Command::new(&self.ours),
            Language::Python => {
                let mut command = Command::new("python3");
                command.arg(&self.python);
                command
            }
        };
        report(command.args([measure.name, side]))
    }
}

/// What `command` prints; what it complains of goes to the terminal.
fn report(command: &mut Command) -> Result<String> {
    let output = command
        .stdin(Stdio::null())
        .stderr(Stdio::inherit())
        .output()
        .map_err(|error| format!("cannot run {command:?}: {error}"))?;
    if !output.status.success() {
        return Err(format!("{command:?} ended with {}", output.status).into());
    }
    Ok(String::from_utf8(output.stdout)?)
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
        "Last run on {cores} cores of {}, {}, {}.",
        processor.unwrap_or_else(unknown),
        first_line("rustc").unwrap_or_else(unknown),
        first_line("python3").unwrap_or_else(unknown)
    )
}

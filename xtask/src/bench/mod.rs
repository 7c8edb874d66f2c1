//! `cargo xtask bench`: our figure and the peer's, taken in turn in the same run.
//!
//! Each side is a program that prints one line of JSON (see [`sample`]). They are started afresh
//! in every round, ours and each peer's after one another, so that what else the machine does meets
//! all of them alike.

mod catalogue;
mod measure;
mod sample;
mod servers;
mod table;

use std::fs;
use std::path::PathBuf;
use std::process::{Command, ExitCode, Stdio};

use self::catalogue::MEASURES;
use self::measure::{Figure, Language, Measure};
use self::sample::{Count, Samples};
use self::servers::Servers;
use self::table::Row;
use crate::Result;
use crate::interrupts::Interrupts;
use crate::peers::{self, Variables};
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
    let interrupts = Interrupts::watch()?;
    let mut sides = Sides::build(workspace, &interrupts)?;
    let mut rows = Vec::new();
    let mut failed = Vec::new();
    for measure in measures {
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
        let names: Vec<_> = MEASURES.iter().map(|measure| measure.name).collect();
        let document = table::put_into(&fs::read_to_string(&path)?, &rows, &names, &machine())?;
        fs::write(&path, document)?;
        println!("{DOCUMENT} is up to date");
    }
    let missed = rows.iter().filter(|row| !row.met()).count();
    println!("{} of {} targets met", rows.len() - missed, rows.len());
    if !failed.is_empty() {
        println!("not measured: {}", failed.join(", "));
    }
    Ok(if missed == 0 && failed.is_empty() {
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

/// The programs that are measured, and what they need.
struct Sides<'a> {
    ours: PathBuf,
    /// The folder of those in Python.
    python: PathBuf,
    servers: Servers<'a>,
    interrupts: &'a Interrupts,
}

impl<'a> Sides<'a> {
    /// Builds the bench program as users build theirs, for release.
    fn build(workspace: &'a Workspace, interrupts: &'a Interrupts) -> Result<Self> {
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
            python: workspace.root.join("bench/peers"),
            servers: Servers::new(&workspace.target, interrupts),
            interrupts,
        })
    }

    fn ours(&self, measure: &Measure) -> Result<String> {
        let mut command = Command::new(&self.ours);
        self.report(
            command.args([measure.name, "ours"]),
            self.servers.emptied()?,
        )
    }

    fn peer(&self, measure: &Measure, language: Language, side: &str) -> Result<String> {
        let variables = self.servers.emptied()?;
        let (program, script) = match language {
            Language::Rust => (self.ours.as_os_str(), None),
            Language::Python => ("python3".as_ref(), Some("pools.py")),
            Language::Celery => {
                let python = peers::told(&variables, peers::CELERY_57)?;
                (python.as_ref(), Some("celery_side.py"))
            }
        };
        let mut command = Command::new(program);
        command.args(script.map(|script| self.python.join(script)));
        self.report(command.args([measure.name, side]), variables.clone())
    }

    /// What `command` prints; what it complains of goes to the terminal.
    fn report(&self, command: &mut Command, variables: Variables) -> Result<String> {
        let child = command
            .envs(variables)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::inherit())
            .spawn()
            .map_err(|error| format!("cannot run {command:?}: {error}"))?;
        self.interrupts.pass_on_to(&child)?;
        let output = child.wait_with_output()?;
        if self.interrupts.came() {
            return Err("interrupted".into());
        }
        if !output.status.success() {
            let program = command.get_program().display();
            return Err(format!("{program} ended with {}", output.status).into());
        }
        Ok(String::from_utf8(output.stdout)?)
    }
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

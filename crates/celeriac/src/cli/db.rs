//! `db …`: looks after SQLite files.

use std::path::PathBuf;

use celeriac_drivers::sqlite::{Report, check};
use clap::Subcommand;
use serde_json::json;

use super::exit::{Exit, Failure};
use super::output::Output;

#[derive(Debug, Subcommand)]
pub(super) enum DbCommand {
    /// Looks a file over: its pages, its schema, and whether its counts add up
    Check {
        /// The file, without `sqlite:`
        path: PathBuf,
    },
}

pub(super) fn run(command: DbCommand, output: Output) -> Result<Exit, Failure> {
    let DbCommand::Check { path } = command;
    let report = check(&path);
    let counts = report.counts.unwrap_or_default();
    let document = json!({
        "path": report.path,
        "ok": report.is_ok(),
        "problems": report.problems,
        "size_bytes": report.size_bytes,
        "wal_bytes": report.wal_bytes,
        "schema_version": report.schema_version,
        "messages": counts.messages,
        "ready": counts.ready,
        "delayed": counts.delayed,
        "held": counts.held,
        "dead": counts.dead,
        "results": counts.results,
        "unfinished_results": counts.unfinished_results,
        "workers": report.holders.len(),
        "dead_workers": report.dead_holders,
    });
    output.print(&document, || text(&report))?;
    Ok(if report.is_ok() {
        Exit::Done
    } else {
        Exit::Configuration
    })
}

fn text(report: &Report) -> String {
    let path = report.path.display();
    let mut lines = match report.problems.len() {
        0 => vec![format!("{path} is sound")],
        1 => vec![format!("{path} has a problem:")],
        many => vec![format!("{path} has {many} problems:")],
    };
    lines.extend(report.problems.iter().map(|problem| format!("  {problem}")));
    if let Some(counts) = report.counts {
        lines.push(format!(
            "{} messages: {} ready, {} delayed, {} held; {} dead; {} results",
            counts.messages, counts.ready, counts.delayed, counts.held, counts.dead, counts.results
        ));
        lines.push(format!(
            "{} bytes and {} in its log; {} workers, {} of them dead",
            report.size_bytes,
            report.wal_bytes,
            report.holders.len(),
            report.dead_holders
        ));
    }
    lines.join("\n")
}

//! Counts the words of a folder of text files: map, then reduce.
//!
//! ```text
//! cargo run --release --example wordcount -- --on processes some/folder
//! ```
//!
//! Each file is one call of the task. What it returns is a map from word to count, which travels
//! between processes and machines by itself, as a dict does in Python. A file that cannot be counted
//! fails its own call; the others go on.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};
use std::{fs, io};

use celeriac_examples::{Bars, Common, Result, Site};
use clap::Parser;

/// The words of one file, in lower case, with their counts.
#[celeriac::task(name = "wordcount.count_words")]
fn count_words(path: &Path) -> Result<HashMap<String, u64>, CannotCount> {
    // `?` is Python's exception on its way up, written where it may start.
    let text = fs::read_to_string(path).map_err(|source| CannotCount(path.to_owned(), source))?;
    let mut counts = HashMap::new();
    let words = text.split(|c: char| !c.is_alphanumeric() && c != '\'');
    for word in words
        .map(|word| word.trim_matches('\''))
        .filter(|word| !word.is_empty())
    {
        *counts.entry(word.to_lowercase()).or_default() += 1;
    }
    Ok(counts)
}

/// Its source says why: not there, not readable, not UTF-8.
#[derive(Debug, thiserror::Error)]
#[error("{}", .0.display())]
struct CannotCount(PathBuf, #[source] io::Error);

/// Counts the words of the files of a folder
#[derive(Parser)]
struct Args {
    /// The folder; without one, the sources of this gallery
    folder: Option<PathBuf>,
    /// How many of the most common words to print
    #[arg(long, default_value_t = 10)]
    top: usize,
    #[command(flatten)]
    common: Common,
}

#[celeriac::main]
async fn main() -> Result {
    let args = Args::parse();
    let folder = args
        .folder
        .unwrap_or_else(|| env!("CARGO_MANIFEST_DIR").into());
    let files = files_of(&folder).map_err(|error| format!("{}: {error}", folder.display()))?;
    let site = Site::open(&args.common, "threads").await?;

    let bars = Bars::new();
    let bar = bars.count("files", files.len() as u64);
    let (mut totals, mut skipped) = (BTreeMap::<String, u64>::new(), 0);
    let mut counts = site.app.map_unordered::<count_words>(files.iter().cloned());
    while let Some(outcome) = counts.next().await {
        match outcome {
            Ok(counts) => counts
                .into_iter()
                .for_each(|(word, n)| *totals.entry(word).or_default() += n),
            Err(error) => {
                skipped += 1;
                bars.eprintln(format_args!(
                    "skipped {error}: {}",
                    error.causes().join(": ")
                ));
            }
        }
        bar.inc(1);
    }
    bar.finish_and_clear();

    // The tree is sorted by word and the sort is stable, so words of one count stay in that order.
    let mut common: Vec<_> = totals.iter().collect();
    common.sort_by_key(|&(_, count)| std::cmp::Reverse(count));
    for (word, count) in common.iter().take(args.top) {
        println!("{count:8} {word}");
    }
    let (words, different) = (totals.values().sum::<u64>(), totals.len());
    let counted = files.len() - skipped;
    site.finish(format_args!(
        "counted {words} words, {different} different, in {counted} files, {skipped} skipped,"
    ))
    .await?;
    Ok(())
}

/// The files of a folder, not those of its subfolders, by name.
fn files_of(folder: &Path) -> io::Result<Vec<PathBuf>> {
    // Absolute, because a worker elsewhere may have another current folder.
    let entries = fs::read_dir(std::path::absolute(folder)?)?;
    let paths = entries
        .map(|entry| Ok(entry?.path()))
        .collect::<io::Result<Vec<_>>>()?;
    let mut files: Vec<_> = paths.into_iter().filter(|path| path.is_file()).collect();
    files.sort();
    Ok(files)
}

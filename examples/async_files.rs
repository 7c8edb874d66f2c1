//! Writes many files at once, and reads them back, without blocking the event loop.
//!
//! ```text
//! cargo run --release --example async_files -- --folder notes
//! ```
//!
//! Coming from Python: a call of `open().read()` in a coroutine stops the whole loop until the disk
//! answers, which is why `aiofiles` exists. In Rust it is the same, and `tokio::fs` is the answer:
//! it gives the blocking call to helper threads and the coroutine sleeps meanwhile. (Forget it, and
//! celeriac's log names the task that blocked its loop.)

use std::path::{Path, PathBuf};

use celeriac_examples::{Bars, Common, Result, Site};
use clap::Parser;
use tokio::fs;

/// Writes a file whole or not at all: under another name first.
#[celeriac::task(name = "async_files.write")]
async fn write(path: PathBuf, text: String) -> Result<(), String> {
    let part = path.with_extension("part");
    let written = async {
        fs::write(&part, text).await?;
        fs::rename(&part, &path).await
    };
    if let Err(error) = written.await {
        // What is half-written goes; if there is nothing to remove, so much the better.
        let _ = fs::remove_file(&part).await;
        return Err(format!("cannot write {}: {error}", path.display()));
    }
    Ok(())
}

#[celeriac::task(name = "async_files.read")]
async fn read(path: PathBuf) -> Result<String, String> {
    let text = fs::read_to_string(&path).await;
    text.map_err(|error| format!("cannot read {}: {error}", path.display()))
}

/// Writes files and reads them back
#[derive(Parser)]
struct Args {
    #[command(flatten)]
    common: Common,
    /// Where to write; made if it is missing
    #[arg(long, default_value = "notes")]
    folder: PathBuf,
    /// How many files
    #[arg(long, default_value_t = 100)]
    files: u64,
}

fn note(folder: &Path, number: u64) -> (PathBuf, String) {
    (
        folder.join(format!("{number}.txt")),
        format!("note {number}\n").repeat(1000),
    )
}

#[celeriac::main]
async fn main() -> Result {
    let args = Args::parse();
    let folder = std::path::absolute(&args.folder)?;
    let made = fs::create_dir_all(&folder).await;
    made.map_err(|error| format!("cannot make {}: {error}", folder.display()))?;
    let site = Site::open(&args.common, "coroutines").await?;

    let bar = Bars::new().count("files", 2 * args.files);
    let notes = || (0..args.files).map(|number| note(&folder, number));
    let mut writes = site.app.map_unordered::<write>(notes());
    while let Some(outcome) = writes.next().await {
        outcome?;
        bar.inc(1);
    }

    let mut bytes = 0;
    let mut texts = site.app.map::<read>(notes().map(|(path, _)| path));
    for (path, expected) in notes() {
        let text = texts.next().await.expect("one text for each path")?;
        if text != expected {
            return Err(format!("{} is not as it was written", path.display()).into());
        }
        bytes += text.len();
        bar.inc(1);
    }
    bar.finish();
    site.finish(format_args!(
        "wrote and read {} files, {bytes} bytes,",
        args.files
    ))
    .await?;
    Ok(())
}

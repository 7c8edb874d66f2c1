//! Downloads several files at once, with a progress bar each.
//!
//! ```text
//! cargo run --release --example downloads -- --to downloads http://example.com/a http://example.com/b
//! ```
//!
//! A file grows under the name `NAME.part` and gets its own only when it is whole, so nothing ever
//! looks finished that is not; what is there of a part is not fetched again. A server that falls
//! silent is given up after a while, and fails only its own file. Only `http://` is spoken here.

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use celeriac::{Context, Handle};
use celeriac_examples::http::{self, Url};
use celeriac_examples::server::{Page, Server};
use celeriac_examples::{Bars, Common, Result, Site};
use clap::Parser;
use futures_util::future::join_all;
use indicatif::ProgressBar;
use tokio::fs::{self, File};
use tokio::io::AsyncWriteExt as _;
use tokio::time::timeout;

/// Fetches `url` to `file`, giving up after `patience` without a byte; returns the size in bytes.
#[celeriac::task(name = "downloads.download")]
async fn download(context: &Context, url: &str, file: &Path, patience: Duration) -> Result<u64> {
    let mut part = file.as_os_str().to_owned();
    part.push(".part");
    let there = fs::metadata(&part).await.map_or(0, |part| part.len());
    let silent = |_| format!("no byte came for {patience:?}; run it again to go on from there");
    let mut answer = timeout(patience, http::get(&url.parse::<Url>()?, there))
        .await
        .map_err(silent)??;

    // The server may send the whole although a part was asked for.
    let mut done = if answer.status == 416 {
        there
    } else {
        answer.start
    };
    if done > there {
        return Err("the server sent another part than was asked for".into());
    }
    let mut output = File::options()
        .create(true)
        .append(true)
        .open(&part)
        .await?;
    output.set_len(done).await?;
    while let Some(bytes) = timeout(patience, answer.next()).await.map_err(silent)?? {
        output.write_all(&bytes).await?;
        // Tokio writes behind; what was only handed over would be lost with a failure.
        output.flush().await?;
        done += bytes.len() as u64;
        // Whoever holds the handle sees this, be it in another process or on another machine.
        context.progress(done, answer.total.unwrap_or(0));
    }
    output.sync_all().await?;
    if let Some(total) = answer.total.filter(|total| *total != done) {
        fs::remove_file(&part).await?;
        return Err(format!("{done} bytes are here, but it has {total}; run it again").into());
    }
    fs::rename(&part, &file).await?;
    Ok(done)
}

/// Downloads files side by side
#[derive(Parser)]
struct Args {
    /// The files; without any, some that this program serves itself
    urls: Vec<String>,
    /// The folder to put them in
    #[arg(long, default_value = "downloads")]
    to: PathBuf,
    /// How long a server may be silent, in seconds
    #[arg(long, default_value = "5", value_parser = seconds)]
    patience: Duration,
    /// Adds to the samples a file that is not there and one whose server falls silent
    #[arg(long)]
    faults: bool,
    #[command(flatten)]
    common: Common,
}

fn seconds(text: &str) -> Result<Duration> {
    Ok(Duration::try_from_secs_f64(text.parse()?)?)
}

#[celeriac::main]
async fn main() -> Result<ExitCode> {
    let mut args = Args::parse();
    let server = samples().await?;
    if args.urls.is_empty() {
        let paths = [
            "/small.bin",
            "/medium.bin",
            "/large.bin",
            "/missing.bin",
            "/stalled.bin",
        ];
        args.urls = paths[..if args.faults { 5 } else { 3 }]
            .iter()
            .map(|path| server.url(path))
            .collect();
    }
    let names = args
        .urls
        .iter()
        .map(|url| name_of(url))
        .collect::<Result<Vec<_>>>()?;
    if names.iter().collect::<HashSet<_>>().len() < names.len() {
        return Err(
            "two of the files have the same name; download them to different folders".into(),
        );
    }
    fs::create_dir_all(&args.to)
        .await
        .map_err(|error| format!("{}: {error}", args.to.display()))?;
    let folder = std::path::absolute(&args.to)?;
    let site = Site::open(&args.common, "coroutines").await?;

    let bars = Bars::new();
    let mut followed = Vec::new();
    for (url, name) in args.urls.iter().zip(&names) {
        let call = download::call(url, folder.join(name), args.patience);
        followed.push(follow(
            site.app.send(call).await?,
            bars.bytes(name, 0),
            &bars,
            name,
        ));
    }
    let sizes = join_all(followed).await;
    let (files, bytes) = sizes
        .iter()
        .flatten()
        .fold((0, 0), |(n, sum), size| (n + 1, sum + size));
    site.finish(format_args!("downloaded {files} files, {bytes} bytes,"))
        .await?;
    // 5 says that a task failed.
    Ok(ExitCode::from(if files == args.urls.len() { 0 } else { 5 }))
}

/// Moves the bar along with the download, and says at its end how it went.
async fn follow(mut handle: Handle<u64>, bar: ProgressBar, bars: &Bars, name: &str) -> Option<u64> {
    while let Some(progress) = handle.next_progress().await {
        bar.set_length(progress.total);
        bar.set_position(progress.done);
    }
    let outcome = handle.get().await;
    bar.finish_and_clear();
    match &outcome {
        Ok(size) => bars.println(format_args!("{name}: {size} bytes")),
        Err(error) => bars.eprintln(format_args!("error: {name}: {error}")),
    }
    outcome.ok()
}

/// The last part of a URL's path, as a file name.
fn name_of(url: &str) -> Result<String> {
    let path = url.parse::<Url>()?.path;
    let path = path.split('?').next().unwrap_or_default();
    match Path::new(path).file_name().and_then(|name| name.to_str()) {
        Some(name) if !path.ends_with('/') => Ok(name.to_owned()),
        _ => Err(format!("`{url}` ends in no file name").into()),
    }
}

async fn samples() -> Result<Server> {
    let file = |kilobytes: usize| {
        (0..=255)
            .cycle()
            .take(kilobytes * 1024)
            .collect::<Vec<u8>>()
    };
    let pages = [
        ("/small.bin", 100, 400),
        ("/medium.bin", 500, 800),
        ("/large.bin", 2000, 1200),
    ]
    .map(|(path, size, ms)| (path, Page::Slow(file(size), Duration::from_millis(ms))));
    let stalled = ("/stalled.bin", Page::Stalls(file(100), 30_000));
    Ok(Server::start(pages.into_iter().chain([stalled])).await?)
}

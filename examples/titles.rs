//! Fetches several pages at once and prints their titles as they come, each within its own limit.
//!
//! ```text
//! cargo run --release --example titles -- --limit 2 http://example.com/ http://example.org/
//! ```
//!
//! Coming from Python: `as_completed` is `asyncio.as_completed`, and the time limit is
//! `asyncio.wait_for`, but it belongs to the call: it holds wherever the call runs, even on another
//! machine, and one page's limit is no other page's business. Only `http://` is spoken here.

use std::process::ExitCode;
use std::time::Duration;

use celeriac::as_completed;
use celeriac_examples::http::{self, Url};
use celeriac_examples::server::{Page, Server};
use celeriac_examples::{Bars, Common, Result, Site};
use clap::Parser;

/// Titles stand near the top; nobody wants to read a gigabyte for one.
const MOST_BYTES: usize = 256 * 1024;

/// The title of the page at `url`.
#[celeriac::task(name = "titles.title")]
async fn title(url: &str) -> Result<String> {
    let mut answer = http::get(&url.parse::<Url>()?, 0).await?;
    let mut page = Vec::new();
    while let Some(bytes) = answer.next().await? {
        page.extend(bytes);
        if let Some(title) = find_title(&String::from_utf8_lossy(&page)) {
            return Ok(title);
        }
        if page.len() > MOST_BYTES {
            break;
        }
    }
    Err("it has no title".into())
}

/// What stands between `<title>` and `</title>`, on one line.
fn find_title(page: &str) -> Option<String> {
    // ASCII only, so that places in the one are places in the other.
    let lower = page.to_ascii_lowercase();
    let open = lower.find("<title")?;
    let start = open + lower[open..].find('>')? + 1;
    let end = start + lower[start..].find("</title")?;
    let words: Vec<_> = page[start..end].split_whitespace().collect();
    let text = words.join(" ");
    let entities = [
        ("&lt;", "<"),
        ("&gt;", ">"),
        ("&quot;", "\""),
        ("&#39;", "'"),
        ("&amp;", "&"),
    ];
    Some(
        entities
            .iter()
            .fold(text, |text, (entity, sign)| text.replace(entity, sign)),
    )
}

/// Prints the titles of pages
#[derive(Parser)]
struct Args {
    /// The pages; without any, some that this program serves itself
    urls: Vec<String>,
    /// How long each page may take, in seconds
    #[arg(long, default_value = "3", value_parser = seconds)]
    limit: Duration,
    #[command(flatten)]
    common: Common,
}

fn seconds(text: &str) -> Result<Duration> {
    Ok(Duration::try_from_secs_f64(text.parse()?)?)
}

#[celeriac::main]
async fn main() -> Result<ExitCode> {
    let Args {
        mut urls,
        limit,
        common,
    } = Args::parse();
    let site = Site::open(&common, "coroutines").await?;
    let server = sample_pages().await?;
    if urls.is_empty() {
        urls = ["/slow", "/quick", "/steady"]
            .map(|path| server.url(path))
            .into();
    }

    let bars = Bars::new();
    let bar = bars.count("pages", urls.len() as u64);
    let mut handles = Vec::new();
    for url in &urls {
        handles.push(site.app.send(title::call(url).time_limit(limit)).await?);
    }
    let mut failed = 0;
    let mut completed = as_completed(handles);
    while let Some((position, outcome)) = completed.next().await {
        let url = &urls[position];
        match outcome {
            Ok(title) => bars.println(format_args!("{url} {title}")),
            Err(error) => {
                failed += 1;
                bars.eprintln(format_args!("error: {url}: {error}"));
            }
        }
        bar.inc(1);
    }
    bar.finish_and_clear();
    site.finish(format_args!("fetched {} titles", urls.len() - failed))
        .await?;
    // 5 says that a task failed.
    Ok(ExitCode::from(if failed == 0 { 0 } else { 5 }))
}

async fn sample_pages() -> Result<Server> {
    let pages = [("/slow", 900), ("/quick", 100), ("/steady", 500)].map(|(path, milliseconds)| {
        let page = format!(
            "<html><head><title>A {} page</title></head></html>",
            &path[1..]
        );
        (
            path,
            Page::Slow(page.into_bytes(), Duration::from_millis(milliseconds)),
        )
    });
    Ok(Server::start(pages).await?)
}

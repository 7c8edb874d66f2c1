//! Thumbnails of a folder of pictures: the main job. Kill it half-way, and the next run finishes it.
//!
//! ```text
//! cargo run --release --example thumbnails
//! cargo run --release --example thumbnails -- --pool processes ~/Pictures
//! ```
//!
//! Coming from Celery: `sqlite:` is the broker and the result backend in one file, and the worker
//! runs in this program unless `--worker external` says otherwise. Nothing that was sent is lost by
//! `kill -9` or a power cut: a message is gone from the queue only when its task has ended. So a task
//! may start twice, and is written for that: it makes only what is not there.

use std::fs::{self, File};
use std::io::{self, Cursor, Write as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use celeriac::{App, Place};
use celeriac_examples::{Bars, Common, Result, Site};
use clap::Parser;
use image::{DynamicImage, ImageDecoder as _, ImageFormat, ImageReader, Rgb, RgbImage};

const SIZES: [u32; 3] = [32, 64, 128];
const QUEUE: &str = "thumbnails";

/// Makes those thumbnails of one picture that are not there.
#[celeriac::task(name = "thumbnails.make", queue = "thumbnails")]
fn make(picture: &Path, to: &Path) -> Result {
    make_missing(picture, to).map_err(|error| format!("{}: {error}", picture.display()).into())
}

fn make_missing(picture: &Path, to: &Path) -> Result {
    let missing = SIZES
        .into_iter()
        .filter(|&size| !is_made(picture, to, size));
    let missing: Vec<_> = missing.collect();
    if missing.is_empty() {
        return Ok(());
    }
    let taken = fs::metadata(picture)?.modified()?;
    let (image, format) = read(picture)?;
    for size in missing {
        let small = if image.width().max(image.height()) > size {
            image.thumbnail(size, size)
        } else {
            image.clone()
        };
        let mut bytes = Cursor::new(Vec::new());
        small.write_to(&mut bytes, format)?;
        // The thumbnail has the picture's own time, so a changed picture is told from an old one.
        let path = thumbnail_of(picture, to, size);
        write_whole(&path, bytes.get_ref(), Some(taken))?;
    }
    Ok(())
}

/// Reads a picture, turned as the camera was held.
fn read(picture: &Path) -> Result<(DynamicImage, ImageFormat)> {
    let reader = ImageReader::open(picture)?.with_guessed_format()?;
    let format = reader.format().ok_or("it is no image")?;
    let mut decoder = reader.into_decoder()?;
    let orientation = decoder.orientation()?;
    let mut image = DynamicImage::from_decoder(decoder)?;
    image.apply_orientation(orientation);
    Ok((image, format))
}

fn thumbnail_of(picture: &Path, to: &Path, size: u32) -> PathBuf {
    to.join(size.to_string())
        .join(picture.file_name().expect("it was listed by its name"))
}

/// Whether the thumbnail is there, and of the picture as it is now.
fn is_made(picture: &Path, to: &Path, size: u32) -> bool {
    let time = |path: &Path| fs::metadata(path).and_then(|it| it.modified()).ok();
    let made = time(&thumbnail_of(picture, to, size));
    made.is_some() && made == time(picture)
}

/// Writes a file so that it is there whole or not at all, whatever happens meanwhile.
fn write_whole(path: &Path, bytes: &[u8], time: Option<std::time::SystemTime>) -> io::Result<()> {
    let folder = path.parent().expect("a file is in a folder");
    fs::create_dir_all(folder)?;
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let unfinished = folder.join(format!(".{name}.{}.tmp", std::process::id()));
    let written = (|| {
        let mut file = File::create(&unfinished)?;
        file.write_all(bytes)?;
        time.map_or(Ok(()), |time| file.set_modified(time))?;
        file.sync_all()?;
        fs::rename(&unfinished, path)
    })();
    if written.is_err() {
        // Its own error says more than one of removing what may not even be there.
        let _ = fs::remove_file(&unfinished);
    }
    // The rename itself is kept in the folder.
    written.and_then(|()| File::open(folder)?.sync_all())
}

/// Makes thumbnails of 32, 64 and 128 pixels of all pictures in a folder
#[derive(Parser)]
struct Args {
    /// The folder; without one, `pictures`, with sample pictures drawn into it
    folder: Option<PathBuf>,
    /// The folder to put the thumbnails in, each size in a folder of its own
    #[arg(long, default_value = "thumbnails")]
    to: PathBuf,
    /// How many sample pictures to draw
    #[arg(long, default_value_t = 48, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    samples: u32,
    #[command(flatten)]
    common: Common,
}

#[celeriac::main]
async fn main() -> Result<ExitCode> {
    let Args {
        folder,
        to,
        samples,
        mut common,
    } = Args::parse();
    let bars = Bars::new();
    let folder = match folder {
        Some(folder) => folder,
        None => draw_samples(samples, &bars).await?,
    };
    // Absolute, because a worker elsewhere may have another current folder.
    let to = std::path::absolute(to)?;
    let pictures = pictures_of(&folder).map_err(|e| format!("{}: {e}", folder.display()))?;
    fs::create_dir_all(&to).map_err(|error| format!("{}: {error}", to.display()))?;
    let queue = || format!("sqlite:{}", to.join("queue.db").display()).parse::<Place>();
    common.on = Some(common.on.map_or_else(queue, Ok)?);
    let site = Site::open(&common, "threads").await?;

    let is_made = |picture: &&PathBuf| SIZES.iter().all(|&size| is_made(picture, &to, size));
    let before = pictures.iter().filter(is_made).count();
    let left = finish_last_run(&site.app, &to, &bars).await?;

    let wanted: Vec<_> = pictures.iter().filter(|it| !is_made(it)).cloned().collect();
    let sent = wanted.len();
    let bar = bars.count("pictures", sent as u64);
    let mut failed = 0;
    let calls = wanted.into_iter().map(|picture| (picture, to.clone()));
    let mut outcomes = site.app.map_unordered::<make>(calls);
    while let Some(outcome) = outcomes.next().await {
        if let Err(error) = outcome {
            failed += 1;
            bars.eprintln(format_args!("error: {error}"));
        }
        bar.inc(1);
    }
    bar.finish_and_clear();

    let made = pictures.iter().filter(is_made).count() - before;
    let summary = format!(
        "made the thumbnails of {made} pictures ({left} queued by an earlier run, {sent} by this \
         one), {before} were done before, {failed} failed,"
    );
    site.finish(summary).await?;
    // 5 says that a task failed.
    Ok(ExitCode::from(if failed == 0 { 0 } else { 5 }))
}

/// Waits until what an earlier run left in the queue is through, so that nothing is sent twice; says how
/// many that were.
async fn finish_last_run(app: &App, to: &Path, bars: &Bars) -> Result<u64> {
    let Some(broker) = app.broker() else {
        return Ok(0);
    };
    let left = async || {
        let queues = broker.queues().await?;
        let left = queues.iter().filter(|queue| queue.name.as_str() == QUEUE);
        Ok::<u64, celeriac::Error>(
            left.map(|queue| queue.ready + queue.delayed + queue.held)
                .sum(),
        )
    };
    let total = left().await?;
    if total > 0 {
        bars.println(format_args!(
            "an earlier run left {total} pictures in the queue; they come first"
        ));
        let bar = bars.count("left", total);
        while let left @ 1.. = left().await? {
            bar.set_position(total.saturating_sub(left));
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        bar.finish_and_clear();
    }
    remove_unfinished(to)?;
    Ok(total)
}

/// Removes what a killed run was writing; nobody is writing now.
fn remove_unfinished(to: &Path) -> io::Result<()> {
    for folder in SIZES
        .map(|size| to.join(size.to_string()))
        .iter()
        .filter(|folder| folder.exists())
    {
        for entry in fs::read_dir(folder)? {
            let path = entry?.path();
            if path.extension().is_some_and(|extension| extension == "tmp") {
                fs::remove_file(path)?;
            }
        }
    }
    Ok(())
}

/// The pictures of a folder, not those of its subfolders, by name.
fn pictures_of(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let mut pictures = Vec::new();
    for entry in fs::read_dir(std::path::absolute(folder)?)? {
        let path = entry?.path();
        let format = path.extension().and_then(ImageFormat::from_extension);
        if matches!(format, Some(ImageFormat::Png | ImageFormat::Jpeg)) && path.is_file() {
            pictures.push(path);
        }
    }
    pictures.sort();
    Ok(pictures)
}

/// Draws the sample pictures that are not there: the same ones every time.
async fn draw_samples(count: u32, bars: &Bars) -> Result<PathBuf> {
    let folder = PathBuf::from("pictures");
    let path = |n: u32| {
        folder.join(format!(
            "sample-{n:03}.{}",
            if n.is_multiple_of(2) { "png" } else { "jpg" }
        ))
    };
    let missing: Vec<_> = (1..=count)
        .map(|n| (n, path(n)))
        .filter(|(_, path)| !path.exists())
        .collect();
    let bar = bars.count("samples", missing.len() as u64);
    let app = App::on("threads").await?;
    let mut drawn = app.map_unordered::<draw>(missing);
    while let Some(outcome) = drawn.next().await {
        outcome?;
        bar.inc(1);
    }
    bar.finish_and_clear();
    bars.println(format_args!(
        "{count} sample pictures are in {}",
        folder.display()
    ));
    Ok(folder)
}

/// Draws sample number `n`: rings around a point, in a shape and in colours of its own.
#[celeriac::task(name = "thumbnails.draw")]
fn draw(n: u32, path: &Path) -> Result<()> {
    let (width, height) = (320 + n * 37 % 500, 240 + n * 53 % 400);
    let (x0, y0) = (n * 71 % width, n * 97 % height);
    let image = RgbImage::from_fn(width, height, |x, y| {
        let ring = (x.abs_diff(x0).pow(2) + y.abs_diff(y0).pow(2)).isqrt() * (n % 5 + 1);
        Rgb([ring + n * 40, ring * 2 + x, ring * 3 + y].map(|shade| shade.to_le_bytes()[0]))
    });
    let format = ImageFormat::from_path(path)?;
    let mut bytes = Cursor::new(Vec::new());
    image.write_to(&mut bytes, format)?;
    Ok(write_whole(path, bytes.get_ref(), None)?)
}

//! Digests of files, by an algorithm chosen on the command line.
//!
//! ```text
//! cargo run --release --example hasher -- --algorithm blake3 --on threads Cargo.toml Cargo.lock
//! ```
//!
//! An argument of a task may be any type that serde can carry, such as the enum `Algorithm` here.
//! What Python would do with duck typing, `hashlib.new(name)`, is a trait: several types behind one
//! small interface.

use std::fmt::Write as _;
use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use celeriac::Context;
use celeriac_examples::{Bars, Common, Result, Site};
use clap::{Parser, ValueEnum};
use serde::{Deserialize, Serialize};

/// How to digest.
#[derive(Debug, Clone, Copy, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Algorithm {
    Md5,
    Sha1,
    Sha256,
    Blake3,
}

/// A digest under way: the interface that another algorithm would have to offer.
trait Hasher {
    fn update(&mut self, bytes: &[u8]);
    fn finish(self: Box<Self>) -> Vec<u8>;
}

/// The algorithms of one family share a trait already, so one block serves them all.
impl<D: sha2::Digest> Hasher for D {
    fn update(&mut self, bytes: &[u8]) {
        sha2::Digest::update(self, bytes);
    }

    fn finish(self: Box<Self>) -> Vec<u8> {
        self.finalize().to_vec()
    }
}

struct Blake3(blake3::Hasher);

impl Hasher for Blake3 {
    fn update(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    fn finish(self: Box<Self>) -> Vec<u8> {
        self.0.finalize().as_bytes().to_vec()
    }
}

impl Algorithm {
    fn start(self) -> Box<dyn Hasher> {
        match self {
            Self::Md5 => Box::new(md5::Md5::default()),
            Self::Sha1 => Box::new(sha1::Sha1::default()),
            Self::Sha256 => Box::new(sha2::Sha256::default()),
            Self::Blake3 => Box::new(Blake3(blake3::Hasher::new())),
        }
    }
}

/// Reads the file in steps of 4096 bytes, so the largest needs no more memory than the smallest.
#[celeriac::task(name = "hasher.digest")]
fn digest(context: &Context, path: &Path, algorithm: Algorithm) -> Result<String> {
    let failed = |error| format!("{}: {error}", path.display());
    let mut file = File::open(path).map_err(failed)?;
    let mut hasher = algorithm.start();
    let mut step = [0; 4096];
    loop {
        // Nobody can stop a running thread from outside; it looks whether somebody wants it to.
        context.check()?;
        match file.read(&mut step).map_err(failed)? {
            0 => break,
            length => hasher.update(&step[..length]),
        }
    }
    let mut text = String::new();
    for byte in hasher.finish() {
        write!(text, "{byte:02x}")?;
    }
    Ok(text)
}

/// Prints the digests of files
#[derive(Parser)]
struct Args {
    /// The files; without any, this program itself
    files: Vec<PathBuf>,
    /// How to digest
    #[arg(long, short, default_value = "sha256")]
    algorithm: Algorithm,
    #[command(flatten)]
    common: Common,
}

#[celeriac::main]
async fn main() -> Result<ExitCode> {
    let mut args = Args::parse();
    if args.files.is_empty() {
        args.files.push(std::env::current_exe()?);
    }
    let site = Site::open(&args.common, "threads").await?;

    let bars = Bars::new();
    let bar = bars.count("files", args.files.len() as u64);
    // Absolute, because a worker elsewhere may have another current folder.
    let paths = args
        .files
        .iter()
        .map(std::path::absolute)
        .collect::<Result<Vec<_>, _>>()?;
    let mut digests = site
        .app
        .map::<digest>(paths.into_iter().map(|path| (path, args.algorithm)));
    let mut failed = 0;
    for file in &args.files {
        match digests.next().await.expect("one outcome for each file") {
            Ok(digest) => bars.println(format_args!("{digest}  {}", file.display())),
            Err(error) => {
                failed += 1;
                bars.eprintln(format_args!("error: {error}"));
            }
        }
        bar.inc(1);
    }
    bar.finish_and_clear();
    site.finish(format_args!("digested {} files", args.files.len() - failed))
        .await?;
    // 5 says that a task failed.
    Ok(ExitCode::from(if failed == 0 { 0 } else { 5 }))
}

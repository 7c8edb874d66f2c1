//! Input that is too large, or would be once it is inflated: refused before it takes the memory.

use std::fs;
use std::process::Command;

use celeriac_testkit::block_on;
use celeriac_testkit::peers::{CeleryVersion, OwnedChild};

use super::bad_input::what_became;
use super::draft::{Draft, MALFORMED, SECRET, Shape};
use super::ground::{Ground, Kind, peak_bytes};

/// What one body may be inflated to.
const INFLATED_BYTES: usize = 64 * 1024 * 1024;

/// Far over the limit of a message, and yet less than RabbitMQ refuses itself.
const LARGE_BYTES: usize = 100_000_000;

#[test]
fn what_would_be_too_large_is_set_aside_on_redis() {
    block_on(set_aside(Kind::Redis, bombs, 3 * INFLATED_BYTES));
}

#[test]
fn what_would_be_too_large_is_set_aside_on_amqp() {
    block_on(set_aside(Kind::Amqp, bombs, 3 * INFLATED_BYTES));
}

#[test]
fn what_is_too_large_is_set_aside_on_redis() {
    // The server itself does it.
    block_on(set_aside(Kind::Redis, large, 3 * INFLATED_BYTES));
}

#[test]
fn what_is_too_large_is_set_aside_on_amqp() {
    // The server drops what is refused, so to be kept it goes through the worker: once, uncopied.
    block_on(set_aside(Kind::Amqp, large, LARGE_BYTES + LARGE_BYTES / 2));
}

/// A worker sets the shapes aside, and has no more than `most_bytes` at any time.
async fn set_aside(kind: Kind, shapes: fn(&Ground) -> Vec<Shape>, most_bytes: usize) {
    let ground = Ground::new(kind).await;
    let worker = ground.worker("threads=2");
    let mut stranger = ground.stranger().await;
    let soon = ground.soon().await;
    let (mut dead, mut wrong) = (0, Vec::new());
    for shape in shapes(&ground) {
        let moved = stranger.time_to_move(&shape);
        stranger.send(&shape).await;
        let took = ground.canary().await;
        if took > soon + 2 * moved {
            wrong.push(format!("{}: the next good task took {took:?}", shape.name));
        }
        wrong.extend(what_became(&ground, &shape, &mut dead).await);
        wrong.extend(too_much(&worker, &shape.name, most_bytes as u64));
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(!worker.printed().contains(SECRET));
}

fn too_much(worker: &OwnedChild, name: &str, most_bytes: u64) -> Option<String> {
    let peak = peak_bytes(worker);
    (peak > most_bytes).then(|| format!("{name}: the worker had {} MB", peak / 1_000_000))
}

fn large(_: &Ground) -> Vec<Shape> {
    let mut body = SECRET.as_bytes().to_vec();
    body.resize(LARGE_BYTES, b'x');
    vec![Draft::new("large").body(body).shape(MALFORMED)]
}

/// 200 MB of zeros, in each compression, and a stream that only says that it is that long.
fn bombs(ground: &Ground) -> Vec<Shape> {
    let folder = ground.path("bombs");
    fs::create_dir(&folder).unwrap();
    let made = Command::new(CeleryVersion::V57.python())
        .args(["-c", include_str!("bombs.py")])
        .arg(&folder)
        .status();
    assert!(made.unwrap().success());
    let bomb = |name: &str, how: &str| {
        let body = fs::read(folder.join(name)).unwrap();
        assert!(body.len() < 1_000_000, "{name} has {} bytes", body.len());
        Draft::new(name).body(body).compressed(how).shape(MALFORMED)
    };
    vec![
        bomb("zlib", "application/x-gzip"),
        bomb("bzip2", "application/x-bz2"),
        bomb("xz", "application/x-lzma"),
        bomb("brotli", "application/x-brotli"),
        bomb("zstd", "application/zstd"),
        bomb("zstd-declared", "application/zstd"),
    ]
}

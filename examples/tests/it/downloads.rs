//! Files side by side, whole or resumable, and servers that fail.

use std::fs;
use std::time::Duration;

use celeriac_examples::server::Page;

use crate::support::{everywhere, run, run_in, serve};

everywhere! { files_come_side_by_side_and_faults_are_reported:
    coroutines = "coroutines",
    threads = "threads=7",
    sqlite = "sqlite:jobs.db",
    redis = "redis",
    amqp = "amqp",
}

fn bytes(count: usize) -> Vec<u8> {
    (0..=250).cycle().take(count).collect()
}

fn files_come_side_by_side_and_faults_are_reported(place: &str) {
    let slow = |size| Page::Slow(bytes(size), Duration::from_secs(1));
    let (_runtime, server) = serve([
        ("/1.bin", slow(1_000)),
        ("/2.bin", slow(50_000)),
        ("/3.bin", slow(1_000_000)),
        ("/4.bin", slow(0)),
        ("/5.bin", Page::Chunked(bytes(12_345))),
        ("/stalled.bin", Page::Stalls(bytes(100_000), 30_000)),
    ]);
    let urls = [
        "/1.bin",
        "/2.bin",
        "/stalled.bin",
        "/3.bin",
        "/missing.bin",
        "/4.bin",
        "/5.bin",
    ]
    .map(|path| server.url(path));
    let mut arguments: Vec<_> = urls.iter().map(String::as_str).collect();
    arguments.push("--patience=2");
    let folder = tempfile::tempdir().unwrap();
    let ended = run_in(folder.path(), "downloads", place, &arguments);

    assert_eq!(ended.code, 5, "{ended:?}");
    let mut errors: Vec<_> = ended.stderr.lines().collect();
    errors.sort_unstable();
    assert_eq!(
        errors,
        [
            "error: missing.bin: the server answered 404 Not Found",
            "error: stalled.bin: no byte came for 2s; run it again to go on from there",
        ]
    );
    let summary = ended.lines().pop().unwrap();
    assert!(
        summary.starts_with("downloaded 5 files, 1063345 bytes, on "),
        "{ended:?}"
    );
    // The slowest takes 2 s, and one after the other would take 5.
    assert!((2.0..4.5).contains(&ended.seconds()), "{ended:?}");

    let read = |name: &str| fs::read(folder.path().join("downloads").join(name)).unwrap();
    for (name, size) in [
        ("1.bin", 1_000),
        ("2.bin", 50_000),
        ("3.bin", 1_000_000),
        ("4.bin", 0),
        ("5.bin", 12_345),
    ] {
        assert!(read(name) == bytes(size), "{name}");
    }
    assert!(read("stalled.bin.part") == bytes(100_000)[..30_000]);
    // Nothing else was left: no empty file for the missing one, no part of a whole one.
    assert_eq!(
        fs::read_dir(folder.path().join("downloads"))
            .unwrap()
            .count(),
        6
    );
}

#[test]
fn a_part_is_gone_on_with() {
    let (_runtime, server) = serve([("/a.bin", Page::Slow(bytes(5_000), Duration::ZERO))]);
    let folder = tempfile::tempdir().unwrap();
    let to = folder.path().join("to");
    fs::create_dir(&to).unwrap();
    fs::write(to.join("a.bin.part"), &bytes(5_000)[..1_200]).unwrap();
    let ended = run_in(
        folder.path(),
        "downloads",
        "coroutines",
        &["--to=to", &server.url("/a.bin")],
    )
    .succeeded();
    assert!(ended.stdout.starts_with("a.bin: 5000 bytes\n"), "{ended:?}");
    assert_eq!(server.requests(), ["/a.bin bytes=1200-"]);
    assert!(fs::read(to.join("a.bin")).unwrap() == bytes(5_000));
    assert!(!to.join("a.bin.part").exists());
}

#[test]
fn a_part_that_is_whole_is_not_fetched_again() {
    let (_runtime, server) = serve([("/a.bin", Page::Slow(bytes(5_000), Duration::ZERO))]);
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("a.bin.part"), bytes(5_000)).unwrap();
    run_in(
        folder.path(),
        "downloads",
        "coroutines",
        &["--to=.", &server.url("/a.bin")],
    )
    .succeeded();
    assert!(fs::read(folder.path().join("a.bin")).unwrap() == bytes(5_000));
}

#[test]
fn a_part_that_does_not_fit_is_refused_and_dropped() {
    let (_runtime, server) = serve([("/a.bin", Page::Slow(bytes(5_000), Duration::ZERO))]);
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("a.bin.part"), bytes(6_000)).unwrap();
    let url = server.url("/a.bin");
    let ended = run_in(folder.path(), "downloads", "coroutines", &["--to=.", &url]);
    assert_eq!(ended.code, 5, "{ended:?}");
    assert!(
        ended
            .stderr
            .contains("6000 bytes are here, but it has 5000"),
        "{ended:?}"
    );
    run_in(folder.path(), "downloads", "coroutines", &["--to=.", &url]).succeeded();
    assert!(fs::read(folder.path().join("a.bin")).unwrap() == bytes(5_000));
}

#[test]
fn names_that_collide_or_are_none_are_refused_before_anything_is_done() {
    for (urls, part) in [
        (
            ["http://localhost:1/x/a.bin", "http://localhost:1/y/a.bin"],
            "the same name",
        ),
        (
            ["http://localhost:1/", "http://localhost:1/a"],
            "ends in no file name",
        ),
        (
            ["http://localhost:1/..", "http://localhost:1/a"],
            "ends in no file name",
        ),
        (["ftp://localhost/a", "http://localhost:1/b"], "is no URL"),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let ended = run_in(folder.path(), "downloads", "coroutines", &urls);
        assert_eq!(ended.code, 1, "{ended:?}");
        assert!(ended.stderr.contains(part), "{ended:?}");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
    }
}

#[test]
fn without_urls_it_serves_files_itself() {
    let ended = run("downloads", "coroutines", &[]).succeeded();
    assert!(
        ended
            .stdout
            .contains("\ndownloaded 3 files, 2662400 bytes, on coroutines in "),
        "{ended:?}"
    );
}

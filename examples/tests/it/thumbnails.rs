//! The sizes of thumbnails, what happens to a broken picture, and that `kill -9` costs nothing.

use std::collections::BTreeMap;
use std::hash::{BuildHasher as _, RandomState};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, SystemTime};
use std::{fs, thread};

use image::{Rgb, RgbImage};

use crate::support::{Ended, everywhere, example, path, run_in};

everywhere!(each_size_keeps_the_ratio_and_a_broken_picture_fails_alone);

/// Name, size, and the sizes of its thumbnails.
type Picture = (&'static str, (u32, u32), [(u32, u32); 3]);

const PICTURES: [Picture; 5] = [
    ("wide.png", (300, 200), [(32, 21), (64, 43), (128, 85)]),
    ("high.jpg", (200, 300), [(21, 32), (43, 64), (85, 128)]),
    ("SQUARE.JPEG", (130, 130), [(32, 32), (64, 64), (128, 128)]),
    ("line.png", (1000, 1), [(32, 1), (64, 1), (128, 1)]),
    ("small.png", (50, 40), [(32, 26), (50, 40), (50, 40)]),
];

fn draw(path: &Path, (width, height): (u32, u32)) {
    let shade = |x: u32| x.to_le_bytes()[0];
    RgbImage::from_fn(width, height, |x, y| {
        Rgb([shade(x), shade(y), shade(x * y)])
    })
    .save(path)
    .unwrap();
}

fn each_size_keeps_the_ratio_and_a_broken_picture_fails_alone(place: &str) {
    let folder = tempfile::tempdir().unwrap();
    let pictures = folder.path().join("pictures");
    fs::create_dir(&pictures).unwrap();
    for (name, size, _) in PICTURES {
        draw(&pictures.join(name), size);
    }
    fs::write(pictures.join("broken.png"), "this is no picture").unwrap();
    let whole = fs::read(pictures.join("wide.png")).unwrap();
    fs::write(pictures.join("cut.png"), &whole[..whole.len() / 2]).unwrap();
    fs::write(pictures.join("notes.txt"), "not looked at").unwrap();

    let ended = run_in(folder.path(), "thumbnails", place, &["pictures"]);
    assert_eq!(ended.code, 5, "{ended:?}");
    let summary = "made the thumbnails of 5 pictures (0 queued by an earlier run, 7 by this one), 0 were done before, 2 failed, on ";
    assert!(ended.stdout.starts_with(summary), "{ended:?}");
    let mut errors: Vec<_> = ended.stderr.lines().collect();
    errors.sort_unstable();
    assert_eq!(errors.len(), 2, "{ended:?}");
    assert!(errors[0].contains("/pictures/broken.png: "), "{ended:?}");
    assert!(errors[1].contains("/pictures/cut.png: "), "{ended:?}");

    for (name, _, sizes) in PICTURES {
        for (folder_name, size) in ["32", "64", "128"].into_iter().zip(sizes) {
            let path = folder
                .path()
                .join("thumbnails")
                .join(folder_name)
                .join(name);
            assert_eq!(
                image::image_dimensions(&path).unwrap(),
                size,
                "{}",
                path.display()
            );
        }
    }
    assert_eq!(
        thumbnails(folder.path()).len(),
        15,
        "something else was left"
    );
}

#[test]
fn only_what_changed_is_made_again() {
    let folder = tempfile::tempdir().unwrap();
    let first = summary(run_in(
        folder.path(),
        "thumbnails",
        "threads",
        &["--samples", "4"],
    ));
    assert!(
        first.starts_with(
            "made the thumbnails of 4 pictures (0 queued by an earlier run, 4 by this one), 0 were"
        ),
        "{first}"
    );

    let changed = folder.path().join("pictures/sample-002.png");
    draw(&changed, (90, 60));
    let stale = folder.path().join("thumbnails/64/sample-003.jpg");
    fs::remove_file(stale).unwrap();
    let before = thumbnails(folder.path());
    let second = summary(run_in(
        folder.path(),
        "thumbnails",
        "threads",
        &["--samples", "4"],
    ));
    assert!(
        second.starts_with(
            "made the thumbnails of 2 pictures (0 queued by an earlier run, 2 by this one), 2 were"
        ),
        "{second}"
    );
    let after = thumbnails(folder.path());
    assert_eq!(after.len(), 12);
    let kept = before
        .iter()
        .filter(|(path, mark)| after[*path] == **mark)
        .count();
    assert_eq!(kept, 8);
}

fn summary(ended: Ended) -> String {
    ended.succeeded().lines().pop().unwrap().to_owned()
}

#[test]
fn killed_at_any_moment_the_next_run_finishes_with_a_pool_of_threads() {
    killed_again_and_again("threads");
}

#[test]
fn killed_at_any_moment_the_next_run_finishes_with_a_pool_of_processes() {
    killed_again_and_again("processes");
}

/// Kills it three times (five deliveries make a message dead), and checks that no thumbnail that was there is ever touched again.
fn killed_again_and_again(pool: &str) {
    let folder = tempfile::tempdir().unwrap();
    let pictures = folder.path().join("pictures");
    fs::create_dir(&pictures).unwrap();
    for n in 0..40 {
        draw(&pictures.join(format!("{n}.png")), (200 + n, 150));
    }
    let arguments = ["pictures", "--pool", pool];
    let mut finished = BTreeMap::new();
    for round in 1..=3_u64 {
        let most = 35 * usize::try_from(round).unwrap();
        let goal =
            finished.len() + usize::try_from(RandomState::new().hash_one(round) % 20).unwrap();
        let mut child = Command::new(path("thumbnails"))
            .args(arguments)
            .current_dir(folder.path())
            .env_remove("CELERIAC_ON")
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        while thumbnails(folder.path()).len() <= goal.min(most) {
            assert!(
                child.try_wait().unwrap().is_none(),
                "round {round} ended before it was killed"
            );
            thread::sleep(Duration::from_millis(1));
        }
        // On Unix this is SIGKILL: nothing of the program gets to run any more.
        child.kill().unwrap();
        child.wait().unwrap();
        let now = thumbnails(folder.path());
        untouched(&finished, &now);
        finished = now;
    }

    let ended = example("thumbnails", folder.path())
        .args(arguments)
        .output()
        .unwrap();
    let ended = Ended::from(ended).succeeded();
    assert!(ended.stdout.contains(" 0 failed,"), "{ended:?}");
    if finished.len() < 120 {
        // All were queued in the first round, so what is left is there and is not sent again.
        assert!(
            ended.stdout.starts_with("an earlier run left "),
            "{ended:?}"
        );
        assert!(
            ended
                .stdout
                .contains(" queued by an earlier run, 0 by this one), "),
            "{ended:?}"
        );
    }
    let now = thumbnails(folder.path());
    untouched(&finished, &now);
    assert_eq!(now.len(), 120, "{now:?}");
    for path in now.keys() {
        image::open(path).unwrap();
    }

    // Nothing was left to do, neither in the folder nor in the queue.
    let ended = Ended::from(
        example("thumbnails", folder.path())
            .args(arguments)
            .output()
            .unwrap(),
    )
    .succeeded();
    assert!(
        ended
            .stdout
            .starts_with("made the thumbnails of 0 pictures (0 queued by an earlier run, 0 by this one), 40 were done before, 0 failed,"),
        "{ended:?}"
    );
    untouched(&now, &thumbnails(folder.path()));
}

/// What tells a file from one that took its place: its inode, and when that was last changed.
type Mark = (u64, i64, i64, SystemTime);

/// The thumbnails there are under their own names, and anything else but half-written ones.
fn thumbnails(folder: &Path) -> BTreeMap<PathBuf, Mark> {
    let mut found = BTreeMap::new();
    for size in ["32", "64", "128"] {
        let entries = fs::read_dir(folder.join("thumbnails").join(size))
            .into_iter()
            .flatten();
        for entry in entries.flatten() {
            let is_unfinished = entry
                .path()
                .extension()
                .is_some_and(|extension| extension == "tmp");
            if let (Ok(it), false) = (entry.metadata(), is_unfinished) {
                found.insert(
                    entry.path(),
                    (
                        it.ino(),
                        it.ctime(),
                        it.ctime_nsec(),
                        it.modified().unwrap(),
                    ),
                );
            }
        }
    }
    found
}

fn untouched(before: &BTreeMap<PathBuf, Mark>, after: &BTreeMap<PathBuf, Mark>) {
    for (path, mark) in before {
        assert_eq!(
            after.get(path),
            Some(mark),
            "{} was made again",
            path.display()
        );
    }
}

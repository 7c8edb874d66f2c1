//! Coroutines: in which order they come back, what they remember, and what ends them.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use crate::support::{example, run};

/// What the example prints, run on `place`; it must succeed.
fn printed(name: &str, place: &str, arguments: &[&str]) -> String {
    run(name, place, arguments).succeeded().stdout
}

/// What the example prints to standard error; it must fail with `code`.
fn refused(name: &str, arguments: &[&str], code: i32) -> String {
    let assert = example(name, Path::new("."))
        .args(arguments)
        .assert()
        .code(code);
    String::from_utf8(assert.get_output().stderr.clone()).unwrap()
}

#[test]
fn gathered_in_order_and_completed_as_they_come() {
    for place in ["coroutines", "threads=3"] {
        let printed = printed("tasks", place, &["--scale", "0.1"]);
        let lines: Vec<_> = printed.lines().collect();
        let expected = [
            "gathered: first took 0.20 s",
            "gathered: second took 0.10 s",
            "gathered: third took 0.30 s",
            "completed: second took 0.10 s",
            "completed: first took 0.20 s",
            "completed: third took 0.30 s",
        ];
        assert_eq!(lines[..6], expected, "{place}");
        assert!(lines[6].starts_with("ran 2 × 3 tasks on"), "{printed}");
    }
}

#[test]
fn tasks_refuse_a_time_that_is_none() {
    let error = refused("tasks", &["--scale=-1"], 1);
    assert!(error.contains("error: "), "{error}");
}

#[test]
fn an_average_survives_between_values_and_ends_when_closed() {
    for place in ["coroutines", "threads=2"] {
        let printed = printed("running_average", place, &["10", "20", "30"]);
        let lines: Vec<_> = printed.lines().collect();
        let expected = [
            "10: 10",
            "20: 15",
            "30: 20",
            "the coroutine ends",
            "one more: the session is over",
            "all at once: 20",
        ];
        assert_eq!(lines[..6], expected, "{place}");
    }
}

#[test]
fn a_place_that_holds_no_state_is_refused() {
    for place in ["inline", "processes=1"] {
        let error = refused("running_average", &["--on", place], 3);
        let expected = format!("error: `{place}` holds no session");
        assert!(error.starts_with(&expected), "{error}");
        let help = "help: open it on `threads` or `coroutines`\n";
        assert!(error.ends_with(help), "{error}");
    }
}

#[test]
fn a_generator_is_lazy_and_a_cache_is_hit() {
    for place in ["coroutines", "threads=2"] {
        let printed = printed("fibonacci", place, &["--count", "20", "--nth", "90"]);
        let lines: Vec<_> = printed.lines().collect();
        let (mut a, mut b) = (0_u64, 1);
        for line in &lines[..20] {
            assert_eq!(line.parse(), Ok(a), "{printed}");
            (a, b) = (b, a + b);
        }
        let made = lines[20].strip_prefix("took 20 of ").unwrap();
        let made: u32 = made.strip_suffix(" made").unwrap().parse().unwrap();
        assert!((20..=37).contains(&made), "{made} made for 20 taken");
        let expected = [
            "number 90: 2880067194370816120",
            "cache: CacheInfo { hits: 88, misses: 91, len: 16 }",
            "number 90: 2880067194370816120",
            "cache: CacheInfo { hits: 89, misses: 91, len: 16 }",
        ];
        assert_eq!(lines[21..25], expected, "{place}");
    }
}

#[test]
fn a_generator_may_end_by_itself() {
    let printed = printed(
        "fibonacci",
        "coroutines",
        &["--count", "1000", "--nth", "0"],
    );
    assert!(printed.contains("took 92 of 92 made"), "{printed}");
    assert!(
        printed.contains("number 0: 0\ncache: CacheInfo { hits: 0, misses: 1, len: 1 }"),
        "{printed}"
    );
}

#[test]
fn a_number_over_64_bits_is_refused() {
    let error = refused("fibonacci", &["--nth", "94"], 2);
    assert!(error.contains("94 is not in 0..=93"), "{error}");
}

#[test]
fn files_are_written_whole_and_read_back() {
    for place in ["coroutines", "threads=2", "inline"] {
        let folder = tempfile::tempdir().unwrap();
        let notes = folder.path().join("notes");
        let arguments = ["--folder", notes.to_str().unwrap(), "--files", "25"];
        let printed = printed("async_files", place, &arguments);
        assert!(
            printed.starts_with("wrote and read 25 files, 190000 bytes, on"),
            "{printed}"
        );
        assert_eq!(
            fs::read_dir(&notes).unwrap().count(),
            25,
            "no half-written file is left"
        );
        for number in 0..25 {
            let text = fs::read_to_string(notes.join(format!("{number}.txt"))).unwrap();
            assert_eq!(text, format!("note {number}\n").repeat(1000));
        }
    }
}

#[test]
fn a_file_that_cannot_be_written_is_named_and_leaves_no_part() {
    let folder = tempfile::tempdir().unwrap();
    // A folder stands where the fourth file should go, and it is not empty.
    fs::create_dir_all(folder.path().join("3.txt/x")).unwrap();
    let name = folder.path().to_str().unwrap();
    let error = refused("async_files", &["--folder", name, "--files", "5"], 5);
    assert!(error.starts_with("error: cannot write"), "{error}");
    assert!(error.contains("3.txt"), "{error}");
    assert!(!folder.path().join("3.part").exists());

    let file = folder.path().join("file");
    fs::write(&file, "").unwrap();
    let error = refused("async_files", &["--folder", file.to_str().unwrap()], 1);
    assert!(error.starts_with("error: cannot make"), "{error}");
}

#[test]
fn a_call_over_its_time_is_cancelled_and_nothing_still_runs() {
    let start = Instant::now();
    let printed = printed("timeouts", "coroutines", &["--scale", "0.1"]);
    let lines: Vec<_> = printed.lines().collect();
    assert_eq!(lines[0], "timeouts.slow: deadline has elapsed after 0.3 s");
    assert_eq!(lines[1], "timeouts.slow: it was cancelled");
    assert!(
        lines[2].starts_with("waited on coroutines in 0.3"),
        "{printed}"
    );
    assert_eq!(lines[3], "calls still running: 0");

    assert_eq!(
        lines[4],
        "timeouts.stubborn: deadline has elapsed after 0.3 s"
    );
    assert_eq!(lines[5], "timeouts.stubborn: it was cancelled");
    let child = lines[6].strip_prefix("process ").unwrap();
    let child = child.strip_suffix(" still running: false").unwrap();
    assert!(!Path::new("/proc").join(child).exists(), "{printed}");
    // It would have slept for 500 seconds.
    assert!(start.elapsed() < Duration::from_secs(30));
}

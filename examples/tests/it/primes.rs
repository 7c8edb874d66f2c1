//! The answers of `primes`, in order, everywhere; and that all cores do the work.

use std::collections::HashMap;
use std::process::{Command, Stdio};
use std::time::Duration;
use std::{fs, thread};

use crate::support::{everywhere, path, run};

everywhere!(the_65_answers_come_in_order);

fn the_65_answers_come_in_order(place: &str) {
    let ended = run("primes", place, &[]).succeeded();
    let lines = ended.lines();
    assert_eq!(lines.len(), 66, "{ended:?}");
    assert_eq!(lines[0], "1116281 is prime: true");
    assert_eq!(lines[12], "1099726899285419 is prime: false");
    for (index, line) in lines[..65].iter().enumerate() {
        let prime = index % 13 != 12;
        assert!(line.ends_with(&format!("is prime: {prime}")), "{line}");
    }
    assert!(
        lines[65].starts_with("tested 65 numbers, 60 of them prime, on "),
        "{ended:?}"
    );
}

/// A tenth of a second of work, in the ticks that the system counts in.
const WORK: u64 = 10;

#[test]
fn threads_use_all_cores() {
    all_cores_work("threads", |pid| {
        tasks(pid)
            .into_iter()
            .map(|tid| (tid, ticks(&format!("/proc/{pid}/task/{tid}/stat"))))
            .collect()
    });
}

#[test]
fn processes_use_all_cores() {
    // Each child of the program keeps the one that works.
    all_cores_work("processes", |pid| {
        let workers = children(pid).into_iter().flat_map(children);
        workers
            .map(|worker| (worker, ticks(&format!("/proc/{worker}/stat"))))
            .collect()
    });
}

fn children(pid: u32) -> Vec<u32> {
    let of_task = |tid| {
        let children = fs::read_to_string(format!("/proc/{pid}/task/{tid}/children"));
        let children = children.unwrap_or_default();
        let pids = children.split_whitespace().map(|pid| pid.parse().unwrap());
        pids.collect::<Vec<_>>()
    };
    tasks(pid).into_iter().flat_map(of_task).collect()
}

/// Watches the time each worker was on a core, until as many as there are cores did real work.
fn all_cores_work(place: &str, workers: impl Fn(u32) -> HashMap<u32, u64>) {
    let cores = thread::available_parallelism().unwrap().get();
    let mut child = Command::new(path("primes"))
        .args(["--on", place, "--repeat", "40"])
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let mut busy = HashMap::new();
    loop {
        let ended = child.try_wait().unwrap();
        busy.extend(workers(child.id()));
        if busy.values().filter(|ticks| **ticks >= WORK).count() >= cores {
            break;
        }
        assert!(ended.is_none(), "it ended, and only these worked: {busy:?}");
        thread::sleep(Duration::from_millis(20));
    }
    child.kill().unwrap();
    child.wait().unwrap();
}

fn tasks(pid: u32) -> Vec<u32> {
    let entries = fs::read_dir(format!("/proc/{pid}/task"))
        .into_iter()
        .flatten();
    entries
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .collect()
}

/// The time spent on a core outside of the kernel; 0 if it is gone.
fn ticks(stat: &str) -> u64 {
    let stat = fs::read_to_string(stat).unwrap_or_default();
    // The name in parentheses may hold anything; `utime` is the 12th field after it.
    let fields = stat.rsplit_once(')').map_or("", |(_, fields)| fields);
    fields
        .split_whitespace()
        .nth(11)
        .map_or(0, |ticks| ticks.parse().unwrap())
}

//! Tasks that behave, and tasks that do not.

use std::fs::{self, OpenOptions};
use std::io::Write as _;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::time::{Duration, Instant};

use celeriac_core::outcome::{Outcome, TaskError};
use celeriac_core::policy::AckProfile;
use celeriac_core::registry::TASKS;
use celeriac_core::task::{Run, Task, TaskDefinition, TaskOptions, call_encoded};
use celeriac_core::{Context, Interrupted};
use celeriac_executor::processes::{ProcessPool, ProcessSettings};
use rustix::io::Errno;
use rustix::process::{PidfdFlags, PidfdGetfdFlags, Signal};
use rustix::thread::NanosleepRelativeResult;

/// Defines and registers a task: what `#[task]` would do.
macro_rules! task {
    ($name:ident, $options:expr, $is_async:expr, $wants_context:expr, |$context:ident, ($($arg:ident: $type:ty),*)| -> $out:ty { $($body:tt)* }) => {
        #[expect(non_camel_case_types, reason = "a task is named like its function")]
        pub(crate) enum $name {}

        impl Task for $name {
            type Input = ($($type,)*);
            type Args = ($($type,)*);
            type Output = $out;
            const DEFINITION: &'static TaskDefinition = &TaskDefinition {
                name: stringify!($name),
                signature: stringify!($name),
                parameters: &[$(stringify!($arg)),*],
                is_async: $is_async,
                wants_context: $wants_context,
                options: $options,
                call: call_encoded::<$name>,
            };

            fn args(input: Self::Input) -> Self::Args {
                input
            }

            fn run(($($arg,)*): Self::Args, $context: &Context) -> Run<Outcome<$out>> {
                let $context = $context.clone();
                $($body)*
            }
        }

        const _: () = {
            #[linkme::distributed_slice(TASKS)]
            static DEFINITION: &'static TaskDefinition = $name::DEFINITION;
        };
    };
}

macro_rules! plain {
    ($name:ident, |$context:ident, ($($arg:ident: $type:ty),*)| -> $out:ty { $($body:tt)* }) => {
        plain!($name, TaskOptions::DEFAULT, |$context, ($($arg: $type),*)| -> $out { $($body)* });
    };
    ($name:ident, $options:expr, |$context:ident, ($($arg:ident: $type:ty),*)| -> $out:ty { $($body:tt)* }) => {
        task!($name, $options, false, true, |$context, ($($arg: $type),*)| -> $out {
            let _ = &$context;
            let body = move || -> Outcome<$out> { $($body)* };
            Run::Ready(body())
        });
    };
}

macro_rules! coroutine {
    ($name:ident, |$context:ident, ($($arg:ident: $type:ty),*)| -> $out:ty { $($body:tt)* }) => {
        task!($name, TaskOptions::DEFAULT, true, true, |$context, ($($arg: $type),*)| -> $out {
            let _ = &$context;
            Run::Pending(Box::pin(async move { $($body)* }))
        });
    };
}

/// Appends a line to a file in one write, which no death can tear.
pub(crate) fn note(path: &str, line: impl std::fmt::Display) {
    let mut file = OpenOptions::new()
        .append(true)
        .create(true)
        .open(path)
        .unwrap();
    file.write_all(format!("{line}\n").as_bytes()).unwrap();
}

fn pid() -> u32 {
    std::process::id()
}

#[expect(clippy::exit, reason = "tasks do such things")]
fn die(how: &str) {
    match how {
        "kill" => rustix::process::kill_process(rustix::process::getpid(), Signal::KILL).unwrap(),
        "segv" => signal_hook::low_level::raise(signal_hook::consts::SIGSEGV).unwrap(),
        "abort" => std::process::abort(),
        "exit" => std::process::exit(3),
        "exit0" => std::process::exit(0),
        "stack" => {
            std::hint::black_box(deep(std::hint::black_box(0)));
        }
        "panic" => panic!("as asked"),
        _ => {}
    }
}

#[expect(unconditional_recursion, reason = "that is what it is for")]
fn deep(n: u64) -> u64 {
    let space = [n; 64];
    std::hint::black_box(&space);
    deep(n + 1) + space[1]
}

plain!(add, |_c, (a: i64, b: i64)| -> i64 { Ok(a + b) });
plain!(fail, |_c, (text: String)| -> () { Err(TaskError::failed("Broken", text)) });
plain!(echo, |_c, (body: bytes::Bytes)| -> bytes::Bytes { Ok(body) });
plain!(long_error, |_c, (len: usize)| -> () { Err(TaskError::failed("Long", "é".repeat(len))) });
plain!(grow, |_c, (len: usize)| -> bytes::Bytes { Ok(vec![7; len].into()) });
plain!(who, |_c, (_n: u64)| -> u32 { Ok(pid()) });
plain!(name_of_id, |c, (_n: u64)| -> (String, u32) { Ok((c.id().to_string(), c.attempt())) });
plain!(sleep_ms, |_c, (ms: u64)| -> u32 {
    std::thread::sleep(Duration::from_millis(ms));
    Ok(pid())
});

plain!(noted, |_c, (path: String, n: u64, doomed: u64, how: String)| -> u64 {
    note(&path, n);
    if n == doomed {
        die(&how);
    }
    Ok(n)
});

plain!(die_now, |_c, (how: String)| -> () {
    die(&how);
    Ok(())
});

plain!(noted_with_pid, |_c, (path: String, n: u64)| -> u64 {
    note(&path, format!("{n} {}", pid()));
    Ok(n)
});

plain!(noted_early, TaskOptions { ack: AckProfile::Early, ..TaskOptions::DEFAULT },
    |_c, (path: String, ms: u64)| -> u32 {
    note(&path, pid());
    std::thread::sleep(Duration::from_millis(ms));
    Ok(pid())
});

plain!(noted_sleep, |_c, (path: String, n: u64, ms: u64)| -> u32 {
    note(&path, n);
    std::thread::sleep(Duration::from_millis(ms));
    Ok(pid())
});

plain!(listen, |c, (path: String)| -> String {
    note(&path, "begun");
    let begun = Instant::now();
    loop {
        if let Err(Interrupted(why)) = c.check() {
            return Ok(format!("{why:?} after {} ms", begun.elapsed().as_millis()));
        }
        assert!(begun.elapsed() < Duration::from_secs(20), "nobody asked it to stop");
        std::thread::sleep(Duration::from_millis(1));
    }
});

plain!(give_up_when_asked, |c, (path: String)| -> () {
    note(&path, "begun");
    loop {
        c.check().map_err(TaskError::from_error)?;
        std::thread::sleep(Duration::from_millis(1));
    }
});

plain!(progress, |c, (n: u64)| -> u64 {
    for done in 1..=n {
        c.progress_message(done, n, format!("step {done}"));
    }
    Ok(n)
});

plain!(hold_memory, |_c, (path: String, megabytes: usize)| -> usize {
    note(&path, "begun");
    let mut held = Vec::new();
    for _ in 0..megabytes {
        held.push(vec![1_u8; 1 << 20]);
        std::thread::sleep(Duration::from_millis(1));
    }
    Ok(std::hint::black_box(held).len())
});

plain!(stop_itself, |_c, (_n: u64)| -> () {
    rustix::process::kill_process(rustix::process::getpid(), Signal::STOP).unwrap();
    // The signal may take effect a little later.
    std::thread::sleep(Duration::from_secs(30));
    Ok(())
});

plain!(leave_a_grandchild, |_c, (_n: u64)| -> u32 {
    let mut sleeper = std::process::Command::new("sleep").arg("60").spawn().unwrap();
    let id = sleeper.id();
    std::thread::spawn(move || sleeper.wait());
    Ok(id)
});

// Leaves processes behind in sessions of their own, whose parents have ended, one below the other.
plain!(leave_daemons, |_c, (path: String)| -> () {
    let script = "setsid sh -c 'setsid sleep 600 & echo $! >> $0; echo $$ >> $0; wait' \"$0\" &";
    let status = std::process::Command::new("sh").args(["-c", script, &path]).status().unwrap();
    assert!(status.success());
    while fs::read_to_string(&path).unwrap_or_default().lines().count() < 2 {
        std::thread::sleep(Duration::from_millis(1));
    }
    Ok(())
});

// Leaves a process behind that ends by itself, after its parent.
plain!(leave_an_orphan, |_c, (path: String)| -> () {
    let script = "(sleep 0.05; echo done >> \"$0\") & echo $! >> \"$0\"";
    let status = std::process::Command::new("sh").args(["-c", script, &path]).status().unwrap();
    assert!(status.success());
    Ok(())
});

plain!(environment, |_c, (_n: u64)| -> (Vec<String>, i32, bool, u64, String) {
    let marks = std::env::vars().map(|(name, _)| name).filter(|name| name.starts_with("CELERIAC_") && !name.starts_with("CELERIAC_TEST_")).collect();
    let adjustment = fs::read_to_string("/proc/self/oom_score_adj").unwrap().trim().parse().unwrap();
    let own_group = rustix::process::getpgrp() == rustix::process::getpid();
    let core = rustix::process::getrlimit(rustix::process::Resource::Core).current.unwrap_or(u64::MAX);
    let stdin = fs::read_link("/proc/self/fd/0").unwrap().display().to_string();
    Ok((marks, adjustment, own_group, core, stdin))
});

plain!(start_a_pool, |_c, (_n: u64)| -> String {
    let started = ProcessPool::start(ProcessSettings::default());
    Ok(started.map_or_else(|error| error.to_string(), |_| "it started".to_owned()))
});

// Writes bytes into every stream socket of its own process: what a hostile task could do.
plain!(write_to_sockets, |_c, (junk: bytes::Bytes)| -> () {
    for socket in own_sockets() {
        let _ = rustix::net::send(&socket, &junk, rustix::net::SendFlags::DONTWAIT | rustix::net::SendFlags::NOSIGNAL);
    }
    std::thread::sleep(Duration::from_secs(10));
    Ok(())
});

fn own_sockets() -> Vec<OwnedFd> {
    let me = rustix::process::pidfd_open(rustix::process::getpid(), PidfdFlags::empty()).unwrap();
    fs::read_dir("/proc/self/fd")
        .unwrap()
        .filter_map(|entry| {
            let path = entry.ok()?.path();
            let is_socket = fs::read_link(&path).ok()?.starts_with(Path::new("socket:"))
                || fs::read_link(&path)
                    .ok()?
                    .to_string_lossy()
                    .starts_with("socket:");
            let number = path.file_name()?.to_str()?.parse().ok()?;
            is_socket
                .then(|| rustix::process::pidfd_getfd(&me, number, PidfdGetfdFlags::empty()).ok())?
        })
        .collect()
}

coroutine!(nap, |_c, (ms: u64)| -> u32 {
    tokio::time::sleep(Duration::from_millis(ms)).await;
    Ok(pid())
});

coroutine!(noted_nap, |_c, (path: String, n: u64, ms: u64, how: String)| -> u64 {
    note(&path, n);
    tokio::time::sleep(Duration::from_millis(ms)).await;
    die(&how);
    Ok(n)
});

coroutine!(block_in_coroutine, |_c, (path: String, ms: u64)| -> u32 {
    note(&path, "begun");
    std::thread::sleep(Duration::from_millis(ms));
    Ok(pid())
});

coroutine!(wait_for_interrupt, |c, (path: String)| -> String {
    note(&path, "begun");
    Ok(format!("{:?}", c.interrupted().await.0))
});

/// Waits in one system call for bytes that never come; says how it ended.
fn read_from_nobody(path: &str) -> String {
    let (mut reader, _writer) = std::io::pipe().unwrap();
    note(path, "begun");
    let begun = Instant::now();
    let end = rustix::io::read(&mut reader, &mut [0; 1]);
    let end = if end == Err(Errno::INTR) {
        "EINTR"
    } else {
        "an end"
    };
    format!("{end} after {} ms", begun.elapsed().as_millis())
}

plain!(wait_in_a_read, |_c, (path: String)| -> String { Ok(read_from_nobody(&path)) });

// A function that has no context, and so only its system calls to hear by.
task!(wait_without_context, TaskOptions::DEFAULT, false, false, |_c, (path: String)| -> String {
    Run::Ready(Ok(read_from_nobody(&path)))
});

coroutine!(wait_in_a_poll, |_c, (path: String)| -> String { Ok(read_from_nobody(&path)) });

// Says whether its sleep was cut short, and whether it was asked to stop.
plain!(sleep_once, |c, (micros: i64)| -> (bool, bool) {
    let request = rustix::time::Timespec { tv_sec: 0, tv_nsec: micros * 1000 };
    let end = rustix::thread::nanosleep(&request);
    Ok((matches!(end, NanosleepRelativeResult::Interrupted(_)), c.is_interrupted()))
});

coroutine!(nap_if_it_may, |c, (ms: u64)| -> bool {
    tokio::select! {
        () = tokio::time::sleep(Duration::from_millis(ms)) => Ok(true),
        _ = c.interrupted() => Ok(false),
    }
});

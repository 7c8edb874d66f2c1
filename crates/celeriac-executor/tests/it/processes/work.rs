//! Calls and their outcomes, when nothing goes wrong.

use std::collections::HashSet;
use std::time::{Duration, Instant};

use bytes::Bytes;
use celeriac_core::outcome::{ErrorKind, TaskError};
use celeriac_core::payload::ContentType;
use celeriac_core::task::{Run, TaskDefinition, TaskOptions};
use celeriac_core::{Control, Executor, Invocation, Limits, OutcomeChunk, Reply, TaskId, Work};
use std::sync::{Arc, mpsc};

use super::harness::*;
use super::tasks::*;

#[test]
fn a_hundred_thousand_chunked_calls_come_back_in_order_and_once() {
    let pool = pool(2);
    let calls: Vec<_> = (0..100)
        .map(|n| chunk::<add>(&pool, (0..1000).map(|m| (n * 1000, m))))
        .collect();
    let sums: Vec<i64> = calls
        .into_iter()
        .flat_map(Calls::all::<add>)
        .map(Result::unwrap)
        .collect();
    assert_eq!(sums, (0..100_000).collect::<Vec<_>>());
}

#[test]
fn single_calls_come_back_to_whoever_made_them() {
    let pool = pool(2);
    let calls: Vec<_> = (0..5000).map(|n| one::<add>(&pool, (n, n))).collect();
    for (n, calls) in (0..).zip(calls) {
        assert!(calls.only::<add>().unwrap() == 2 * n);
    }
}

#[test]
fn a_call_that_is_sent_alone_counts_as_long_as_it_takes() {
    let pool = pool(1);
    let (_folder, path) = ledger();
    let mut calls = one::<noted_nap>(&pool, (path, 0, 50, String::new()));
    calls.wait_for(1);
    assert!(calls.busy >= Duration::from_millis(50), "{:?}", calls.busy);
}

#[test]
fn every_content_type_is_taken() {
    let pool = pool(1);
    for content_type in [ContentType::Json, ContentType::Msgpack] {
        let order = Order {
            content_type,
            ..Order::default()
        };
        assert_eq!(submit::<add>(&pool, order, [(3, 4)]).only::<add>(), Ok(7));
    }
}

#[test]
fn a_task_knows_its_id_and_its_attempt() {
    let pool = pool(1);
    for id in [TaskId::new(), TaskId::from("order-7")] {
        let order = Order {
            id: id.clone(),
            ..Order::default()
        };
        let ids = submit::<name_of_id>(&pool, order, [(0,), (0,), (0,)]).all::<name_of_id>();
        for (n, outcome) in ids.into_iter().enumerate() {
            assert_eq!(outcome.unwrap(), (id.nth(n).to_string(), 1));
        }
    }
}

#[test]
fn errors_and_panics_are_outcomes_and_the_child_goes_on() {
    let pool = pool(1);
    let before = call::<who>(&pool, (0,)).unwrap();
    let error = call::<fail>(&pool, ("no disk".into(),)).unwrap_err();
    assert_eq!(
        (error.kind(), error.message()),
        (ErrorKind::Failed, "no disk")
    );
    let error = call::<noted>(&pool, ("/dev/null".into(), 1, 1, "panic".into())).unwrap_err();
    assert_eq!(
        (error.kind(), error.message()),
        (ErrorKind::Panicked, "as asked")
    );
    assert_eq!(call::<who>(&pool, (0,)), Ok(before));
}

#[test]
fn an_async_task_runs_in_a_child_without_coroutines() {
    let pool = pool(1);
    assert!(call::<nap>(&pool, (5,)).is_ok());
}

#[test]
fn a_megabyte_goes_there_and_back() {
    let pool = pool(2);
    let body: Bytes = (0..1_000_000_u32).map(|n| n.to_le_bytes()[1]).collect();
    let calls: Vec<_> = (0..100)
        .map(|_| one::<echo>(&pool, (body.clone(),)))
        .collect();
    for calls in calls {
        assert!(calls.only::<echo>().unwrap() == body);
    }
    let several = chunk::<echo>(&pool, (0..20).map(|_| (body.clone(),)));
    for outcome in several.all::<echo>() {
        assert!(outcome.unwrap() == body);
    }
}

#[test]
fn bodies_around_the_size_that_changes_their_way_arrive() {
    let pool = pool(1);
    for len in (65_480..65_600)
        .step_by(7)
        .chain([0, 1, 262_143, 262_144, 262_145])
    {
        let body: Bytes = vec![5; len].into();
        assert!(
            call::<echo>(&pool, (body.clone(),)).unwrap() == body,
            "{len}"
        );
    }
}

#[test]
fn sixteen_mebibytes_go_there_and_back_and_one_more_is_refused() {
    let pool = pool(1);
    let limit = 16 << 20;
    // The envelope of the arguments and of the value takes a few bytes.
    let body: Bytes = vec![9; limit - 16].into();
    assert!(call::<echo>(&pool, (body.clone(),)).unwrap() == body);
    let error = call::<echo>(&pool, (vec![9; limit + 1].into(),)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::BadArguments);
    assert!(
        error.message().contains("over the limit of 16777216"),
        "{error}"
    );
    let error = call::<grow>(&pool, (limit + 1,)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::BadResult);
    assert!(
        error.message().contains("over the limit of 16777216"),
        "{error}"
    );
    assert_eq!(call::<add>(&pool, (1, 1)), Ok(2));
}

#[test]
fn an_error_with_a_text_of_50_mb_is_cut_short() {
    let pool = pool(1);
    let error = call::<long_error>(&pool, (25_000_001,)).unwrap_err();
    assert_eq!(
        (error.kind(), error.type_name()),
        (ErrorKind::Failed, "Long")
    );
    assert!(error.message().len() < 20_000);
    assert!(error.message().ends_with("(50000002 bytes in all)"));
}

#[test]
fn an_outcome_does_not_wait_for_the_long_call_behind_it() {
    let pool = pool(1);
    let begun = Instant::now();
    let mut calls = chunk::<sleep_ms>(&pool, [(0,), (0,), (3000,)]);
    calls.wait_for(2);
    assert!(
        begun.elapsed() < Duration::from_secs(2),
        "{:?}",
        begun.elapsed()
    );
    assert_eq!(calls.all::<sleep_ms>().len(), 3);
}

#[test]
fn what_waits_behind_a_long_call_is_taken_back_for_an_idle_child() {
    let pool = pool(2);
    let (_folder, path) = ledger();
    // The pool learns that the task is short, and so sends it ahead.
    for outcome in
        chunk::<noted_sleep>(&pool, (0..200).map(|n| (path.clone(), n, 0))).all::<noted_sleep>()
    {
        outcome.unwrap();
    }
    let begun = Instant::now();
    let calls: Vec<_> = (0..40)
        .map(|n| one::<noted_sleep>(&pool, (path.clone(), n, if n == 0 { 4000 } else { 0 })))
        .collect();
    let mut calls = calls.into_iter();
    let long = calls.next().unwrap();
    for calls in calls {
        calls.only::<noted_sleep>().unwrap();
    }
    assert!(
        begun.elapsed() < Duration::from_secs(2),
        "{:?}",
        begun.elapsed()
    );
    long.only::<noted_sleep>().unwrap();
    assert_eq!(lines(&path).len(), 240, "none is run twice");
}

#[test]
fn an_early_acknowledged_call_is_started_only_when_it_really_is() {
    let pool = pool(1);
    let (_folder, path) = ledger();
    call::<noted_early>(&pool, (path.clone(), 0)).unwrap();
    let mut first = one::<noted_early>(&pool, (path.clone(), 300));
    let mut second = one::<noted_early>(&pool, (path.clone(), 0));
    first.wait_started();
    first.wait_for(1);
    assert!(!second.is_started());
    second.wait_started();
    second.only::<noted_early>().unwrap();
    first.only::<noted_early>().unwrap();
}

#[test]
fn children_know_what_they_are() {
    let pool = pool(1);
    let (marks, adjustment, own_group, core, stdin) = call::<environment>(&pool, (0,)).unwrap();
    assert_eq!(marks, Vec::<String>::new());
    assert!(adjustment >= 500, "{adjustment}");
    assert!(own_group);
    assert_eq!(core, 0);
    assert_eq!(stdin, "/dev/null");
    let refusal = call::<start_a_pool>(&pool, (0,)).unwrap();
    assert!(
        refusal.contains("cannot start a pool of its own"),
        "{refusal}"
    );
}

#[test]
fn ten_thousand_naps_overlap_in_children_with_coroutines() {
    let pool = coroutine_pool(4, 2500);
    let begun = Instant::now();
    let calls: Vec<_> = (0..10_000).map(|_| one::<nap>(&pool, (1000,))).collect();
    let children: HashSet<u32> = calls
        .into_iter()
        .map(|calls| calls.only::<nap>().unwrap())
        .collect();
    assert_eq!(children.len(), 4);
    // One after another they would take most of an hour in each child.
    assert!(
        begun.elapsed() < Duration::from_secs(60),
        "{:?}",
        begun.elapsed()
    );
}

#[test]
fn a_chunk_larger_than_its_child_is_wide_runs_all_the_same() {
    let pool = coroutine_pool(1, 10);
    let outcomes = chunk::<nap>(&pool, (0..95).map(|n| (n % 7,))).all::<nap>();
    assert_eq!(
        outcomes.iter().filter(|outcome| outcome.is_ok()).count(),
        95
    );
    let sums = chunk::<add>(&pool, (0..95).map(|n| (n, 1))).all::<add>();
    let expected: Vec<_> = (1..96).map(Ok).collect();
    assert_eq!(sums, expected);
}

struct FailedOnly(mpsc::Sender<TaskError>);

impl Reply for FailedOnly {
    fn outcomes(&self, _: OutcomeChunk) {}
    fn failed(&self, error: TaskError) {
        let _ = self.0.send(error);
    }
}

static STRANGER: TaskDefinition = TaskDefinition {
    name: "stranger",
    signature: "stranger()",
    parameters: &[],
    is_async: false,
    wants_context: false,
    options: TaskOptions::DEFAULT,
    call: |_, _, _| Run::Ready(Ok(Vec::new())),
};

#[test]
fn what_no_child_can_run_is_refused() {
    let pool = pool(1);
    let (sender, errors) = mpsc::channel();
    let mut chunk = celeriac_core::chunk::ChunkBuilder::new(ContentType::Json);
    chunk.push(&((), (), ())).unwrap();
    for work in [
        Work::Encoded(chunk.finish()),
        Work::Local(Box::new(|_| Run::Ready(()))),
    ] {
        pool.submit(Invocation {
            id: TaskId::new(),
            task: &STRANGER,
            attempt: 1,
            limits: Limits::NONE,
            control: Control::new(),
            work,
            reply: Arc::new(FailedOnly(sender.clone())),
        });
    }
    let kinds: Vec<_> = (0..2)
        .map(|_| errors.recv_timeout(PATIENCE).unwrap().kind())
        .collect();
    assert_eq!(kinds, [ErrorKind::Unregistered, ErrorKind::BadArguments]);
}

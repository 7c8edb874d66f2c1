//! One suite, run against every place: the same semantics wherever a task runs.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use celeriac::prelude::*;
use celeriac::{ErrorKind, ShutdownMode};
use futures_util::StreamExt as _;

use crate::support::{Site, nap};

#[celeriac::task]
fn double(n: u64) -> u64 {
    2 * n
}

#[celeriac::task]
async fn double_later(n: u64) -> u64 {
    tokio::time::sleep(Duration::from_millis(n % 3)).await;
    2 * n
}

#[celeriac::task]
fn join(words: &[String], separator: &str) -> String {
    words.join(separator)
}

#[derive(Debug, thiserror::Error)]
#[error("cannot charge order {0}")]
struct ChargeError(u64, #[source] std::io::Error);

#[celeriac::task]
fn charge(order: u64) -> Result<u64, ChargeError> {
    if order % 2 == 1 {
        return Err(ChargeError(order, std::io::Error::other("card refused")));
    }
    Ok(order)
}

#[celeriac::task]
fn explode(n: u64) -> u64 {
    assert!(n != 3, "three is too much");
    n
}

/// Fails until its attempt number `good`.
#[celeriac::task(retries = 3, backoff = "fixed(1ms)")]
fn flaky(context: &Context, good: u32) -> Result<u32, String> {
    if context.attempt() < good {
        return Err(format!("attempt {} is too early", context.attempt()));
    }
    Ok(context.attempt())
}

#[celeriac::task(retries = 5, backoff = "fixed(1ms)")]
fn hopeless(context: &Context) -> Result<(), Retry> {
    Err(Retry::never().because(format!("attempt {}", context.attempt())))
}

/// Says that it runs, then works until somebody stops it, or for a minute.
#[celeriac::task]
fn patient(context: &Context) -> Result<u32, TaskError> {
    context.progress(1, 2);
    for _ in 0..60_000 {
        context.check().map_err(TaskError::from_error)?;
        nap();
    }
    Ok(1)
}

#[celeriac::task]
async fn patient_later(context: Context) -> u32 {
    context.progress(1, 2);
    tokio::time::sleep(Duration::from_secs(60)).await;
    1
}

#[celeriac::task(soft_time_limit = "50ms")]
fn softly_limited(context: &Context) -> Result<u32, TaskError> {
    for _ in 0..60_000 {
        context.check().map_err(TaskError::from_error)?;
        nap();
    }
    Ok(1)
}

/// Stops at its hard limit where it can be stopped, and by itself where it cannot.
#[celeriac::task(time_limit = "100ms")]
fn hardly_limited(naps: u32) -> u32 {
    (0..naps).for_each(|_| nap());
    naps
}

#[celeriac::task]
fn napping(naps: u32) -> u32 {
    (0..naps).for_each(|_| nap());
    naps
}

#[celeriac::task]
fn counting(context: &Context, to: u64) -> String {
    for done in 1..=to {
        context.progress_message(done, to, "counting");
    }
    context.id().to_string()
}

pub(crate) async fn map_keeps_the_order_of_its_inputs(site: Site) {
    let app = site.app();
    let doubled: Vec<u64> = app.map::<double>(0..1000).collect().await.unwrap();
    assert_eq!(doubled, (0..1000).map(|n| 2 * n).collect::<Vec<_>>());
    let later: Vec<u64> = app.map::<double_later>(0..100).collect().await.unwrap();
    assert_eq!(later, (0..100).map(|n| 2 * n).collect::<Vec<_>>());
}

pub(crate) async fn unordered_map_gives_each_outcome_once(site: Site) {
    let outcomes: Vec<_> = site
        .app()
        .map_unordered::<double_later>(0..200)
        .collect()
        .await
        .unwrap();
    assert_eq!(outcomes.len(), 200);
    let distinct: HashSet<u64> = outcomes.into_iter().collect();
    assert_eq!(distinct, (0..200).map(|n| 2 * n).collect());
}

pub(crate) async fn a_map_over_nothing_ends_at_once(site: Site) {
    assert!(site.app().map::<double>([]).next().await.is_none());
}

pub(crate) async fn every_chunk_size_gives_the_same(site: Site) {
    for size in [1, 7, 1000] {
        let doubled: Vec<u64> = site
            .app()
            .map::<double>(0..50)
            .chunk_size(size)
            .collect()
            .await
            .unwrap();
        assert_eq!(
            doubled,
            (0..50).map(|n| 2 * n).collect::<Vec<_>>(),
            "chunks of {size}"
        );
    }
}

pub(crate) async fn a_stream_of_inputs_works_like_an_iterator(site: Site) {
    let inputs = futures_util::stream::iter(0..50).then(|n| async move {
        tokio::task::yield_now().await;
        n
    });
    let doubled: Vec<u64> = site
        .app()
        .map_stream::<double>(inputs)
        .collect()
        .await
        .unwrap();
    assert_eq!(doubled.len(), 50);
    assert_eq!(doubled[49], 98);
}

pub(crate) async fn endless_inputs_are_taken_only_as_outcomes_are(site: Site) {
    let taken = Arc::new(AtomicUsize::new(0));
    let counter = taken.clone();
    let endless = (0..).inspect(move |_| {
        counter.fetch_add(1, Ordering::Relaxed);
    });
    let mut map = site.app().map::<double>(endless).chunk_size(10);
    for n in 0..100 {
        assert_eq!(map.next().await.unwrap().unwrap(), 2 * n);
    }
    // Short calls: 256 for each slot, as the documentation of `Map` says, in whole chunks.
    let ahead = site.slots() * 256 + 10;
    let taken = taken.load(Ordering::Relaxed);
    assert!(
        taken <= 100 + ahead,
        "{taken} inputs were taken for 100 outcomes"
    );
}

pub(crate) async fn send_and_get_carry_arguments_and_value(site: Site) {
    let words = vec!["a".to_owned(), "ö".to_owned()];
    let mut handle = site.app().send(join::call(words, "\"-\\")).await.unwrap();
    assert_eq!(handle.get().await.unwrap(), "a\"-\\ö");
    assert_eq!(handle.get().await.unwrap_err().kind(), ErrorKind::NoResult);
}

pub(crate) async fn a_call_knows_its_id(site: Site) {
    let signature = counting::call(1).id("order-17");
    let mut handle = site.app().send(signature).await.unwrap();
    assert_eq!(handle.get().await.unwrap(), "order-17");
}

pub(crate) async fn many_calls_sent_together_have_a_handle_each(site: Site) {
    // More than one batch, so that the seams between batches are tried too.
    let count = if site.is_broker() { 9_001 } else { 301 };
    let handles = site.app().send_many((0..count).map(double::call)).await;
    let handles = handles.unwrap();
    let ids: HashSet<_> = handles.iter().map(|handle| handle.id().clone()).collect();
    assert_eq!(ids.len(), handles.len());
    assert_eq!(
        gather(handles).await.unwrap(),
        (0..count).map(|n| 2 * n).collect::<Vec<_>>()
    );
    let none: [celeriac::Signature<double>; 0] = [];
    assert!(site.app().send_many(none).await.unwrap().is_empty());
}

pub(crate) async fn a_bad_call_among_many_is_an_error(site: Site) {
    if !site.encodes() {
        return;
    }
    let big = vec!["x".repeat(17 * 1024 * 1024)];
    let calls = [vec!["a".to_owned()], big].map(|words| join::call(words, "").id("twice"));
    let error = site.app().send_many(calls).await.unwrap_err();
    assert!(error.to_string().contains("cannot be sent"), "{error}");
    let Some(broker) = site.app().broker() else {
        return;
    };
    // They are of one batch, so neither was stored.
    let queues = broker.queues().await.unwrap();
    let messages: u64 = queues.iter().map(|queue| queue.ready + queue.held).sum();
    assert_eq!(messages, 0);
    let results = broker.results().unwrap();
    assert!(results.fetch(&["twice".into()]).await.unwrap()[0].is_none());
}

pub(crate) async fn gather_keeps_order_and_as_completed_gives_each(site: Site) {
    let app = site.app();
    let mut handles = Vec::new();
    for n in 0..20 {
        handles.push(app.send(double_later::call(n)).await.unwrap());
    }
    assert_eq!(
        gather(handles).await.unwrap(),
        (0..20).map(|n| 2 * n).collect::<Vec<_>>()
    );

    let mut handles = Vec::new();
    for n in 0..20 {
        handles.push(app.send(double_later::call(n)).await.unwrap());
    }
    let mut completed = as_completed(handles);
    let mut seen = HashSet::new();
    while let Some((position, outcome)) = completed.next().await {
        assert_eq!(outcome.unwrap(), 2 * position as u64);
        seen.insert(position);
    }
    assert_eq!(seen.len(), 20);
}

pub(crate) async fn an_error_keeps_its_type_message_and_cause(site: Site) {
    let mut handle = site.app().send(charge::call(7)).await.unwrap();
    let error = handle.get().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Failed);
    assert_eq!(error.type_name(), "ChargeError");
    assert_eq!(error.message(), "cannot charge order 7");
    assert_eq!(error.causes(), ["card refused"]);
}

pub(crate) async fn a_panic_costs_its_own_call_only(site: Site) {
    let mut map = site.app().map::<explode>(0..10);
    for n in 0..10 {
        match map.next().await.unwrap() {
            Ok(value) => assert_eq!(value, n),
            Err(error) => {
                assert_eq!((n, error.kind()), (3, ErrorKind::Panicked));
                assert!(error.message().contains("three is too much"), "{error}");
            }
        }
    }
}

pub(crate) async fn collect_ends_at_the_first_error(site: Site) {
    let error = site
        .app()
        .map::<charge>(0..100)
        .collect::<Vec<_>>()
        .await
        .unwrap_err();
    assert_eq!(error.message(), "cannot charge order 1");
}

pub(crate) async fn a_failed_call_is_retried_until_it_succeeds(site: Site) {
    let mut handle = site.app().send(flaky::call(3)).await.unwrap();
    assert_eq!(handle.get().await.unwrap(), 3);
    let attempts: Vec<u32> = site
        .app()
        .map::<flaky>([1, 2, 3, 4])
        .collect()
        .await
        .unwrap();
    assert_eq!(attempts, [1, 2, 3, 4]);
}

pub(crate) async fn retries_end_with_the_last_error(site: Site) {
    let mut handle = site.app().send(flaky::call(9)).await.unwrap();
    assert_eq!(
        handle.get().await.unwrap_err().message(),
        "attempt 4 is too early"
    );
    let mut handle = site.app().send(hopeless::call()).await.unwrap();
    assert_eq!(handle.get().await.unwrap_err().message(), "attempt 1");
}

pub(crate) async fn a_soft_time_limit_interrupts_the_context(site: Site) {
    let mut handle = site.app().send(softly_limited::call()).await.unwrap();
    assert_eq!(handle.get().await.unwrap_err().kind(), ErrorKind::TimeLimit);
}

pub(crate) async fn a_hard_time_limit_ends_the_call(site: Site) {
    let mut slow = site.app().send(hardly_limited::call(400)).await.unwrap();
    let mut fast = site.app().send(hardly_limited::call(0)).await.unwrap();
    let error = slow.get().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::TimeLimit);
    assert!(error.message().contains("100ms"), "{error}");
    assert_eq!(fast.get().await.unwrap(), 0);
    // A limit of the call wins over the task's.
    let generous = hardly_limited::call(200).time_limit(Duration::from_secs(30));
    assert_eq!(
        site.app()
            .send(generous)
            .await
            .unwrap()
            .get()
            .await
            .unwrap(),
        200
    );
}

pub(crate) async fn a_running_call_can_be_cancelled(site: Site) {
    if !site.runs_elsewhere() {
        return;
    }
    let mut handle = site.app().send(patient::call()).await.unwrap();
    assert_eq!(handle.next_progress().await.unwrap().done, 1);
    handle.cancel().await.unwrap();
    assert_eq!(handle.get().await.unwrap_err().kind(), ErrorKind::Cancelled);

    let mut handle = site.app().send(patient_later::call()).await.unwrap();
    assert_eq!(handle.next_progress().await.unwrap().done, 1);
    handle.cancel().await.unwrap();
    assert_eq!(handle.get().await.unwrap_err().kind(), ErrorKind::Cancelled);
}

pub(crate) async fn a_call_that_waits_can_be_cancelled(site: Site) {
    let mut handle = site
        .app()
        .send(double::call(1).countdown(Duration::from_secs(3600)))
        .await
        .unwrap();
    handle.cancel().await.unwrap();
    assert_eq!(handle.get().await.unwrap_err().kind(), ErrorKind::Cancelled);
}

pub(crate) async fn a_countdown_delays_the_start(site: Site) {
    let start = std::time::Instant::now();
    let delay = Duration::from_millis(150);
    let mut handle = site
        .app()
        .send(double::call(1).countdown(delay))
        .await
        .unwrap();
    assert_eq!(handle.get().await.unwrap(), 2);
    assert!(start.elapsed() >= delay);
}

pub(crate) async fn progress_reaches_the_sender(site: Site) {
    if site.is_broker() {
        // What a broker passes on of progress ends with the call; see the running call above.
        return;
    }
    let mut handle = site.app().send(counting::call(5)).await.unwrap();
    handle.get().await.unwrap();
    let progress = handle.progress().unwrap();
    assert_eq!((progress.total, progress.message.as_str()), (5, "counting"));
}

pub(crate) async fn a_handle_can_be_waited_for_without_async(site: Site) {
    let mut handle = site.app().send(double::call(21)).await.unwrap();
    let waiting = tokio::task::spawn_blocking(move || {
        assert!(handle.wait_for(Duration::from_secs(60)).is_some());
        assert!(handle.is_finished());
        handle
    });
    waiting.await.unwrap();
}

pub(crate) async fn a_body_over_the_limit_is_refused(site: Site) {
    if !site.encodes() {
        return;
    }
    let big = vec!["x".repeat(17 * 1024 * 1024)];
    let error = site.app().send(join::call(big, "")).await.unwrap_err();
    assert!(error.to_string().contains("cannot be sent"), "{error}");
    let text = format!("{:?}", std::error::Error::source(&error).unwrap());
    assert!(text.contains("TooLarge"), "{text}");
}

pub(crate) async fn shutdown_waits_for_what_was_sent(site: Site) {
    let app = site.app();
    let mut handles = Vec::new();
    for n in 0..50 {
        handles.push(app.send(double_later::call(n)).await.unwrap());
    }
    app.shutdown(ShutdownMode::Wait).await;
    assert_eq!(gather(handles).await.unwrap().len(), 50);
    if site.encodes() && site.is_broker() {
        return;
    }
    let error = app
        .send(double::call(1))
        .await
        .unwrap()
        .get()
        .await
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Shutdown);
}

pub(crate) async fn shutdown_can_cancel_what_is_queued(site: Site) {
    if !site.runs_elsewhere() || site.is_broker() {
        return;
    }
    let app = site.app();
    let mut running = app.send(napping::call(50)).await.unwrap();
    let mut queued = Vec::new();
    for _ in 0..2 * site.slots() {
        queued.push(app.send(napping::call(50)).await.unwrap());
    }
    app.shutdown(ShutdownMode::CancelQueued).await;
    let first = running.get().await;
    assert!(first.is_ok() || first.unwrap_err().kind() == ErrorKind::Shutdown);
    let mut refused = 0;
    for handle in &mut queued {
        match handle.get().await {
            Ok(_) => {}
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::Shutdown);
                refused += 1;
            }
        }
    }
    assert!(refused > 0, "nothing was cancelled");
}

pub(crate) async fn a_map_that_is_shut_down_answers_each_input_it_took(site: Site) {
    if !site.runs_elsewhere() || site.is_broker() {
        return;
    }
    for (mode, finishes) in [
        (ShutdownMode::CancelQueued, true),
        (ShutdownMode::Kill, false),
    ] {
        let app = App::on(&site.app().place().to_string()).await.unwrap();
        let taken = Arc::new(AtomicUsize::new(0));
        let counter = taken.clone();
        let inputs = (0..).inspect(move |_| {
            counter.fetch_add(1, Ordering::Relaxed);
        });
        let mut map = app
            .map_unordered::<napping>(inputs.map(|_| 20))
            .chunk_size(1);
        assert_eq!(map.next().await.unwrap().unwrap(), 20);
        app.shutdown(mode).await;
        let before = taken.load(Ordering::Relaxed);
        let (mut finished, mut refused) = (1, 0);
        for _ in 1..before {
            match map.next().await.unwrap() {
                Ok(20) => finished += 1,
                Ok(other) => panic!("{other}"),
                Err(error) => {
                    assert_eq!(error.kind(), ErrorKind::Shutdown);
                    refused += 1;
                }
            }
        }
        assert!(refused > 0, "nothing was cancelled");
        assert!(!finishes || finished > 1, "what ran was cut off");
        let error = map.next().await.unwrap().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Shutdown);
    }
}

pub(crate) async fn a_call_does_not_wait_for_the_end_of_a_map(site: Site) {
    // Inline, the caller is the only one who runs anything.
    if !site.runs_elsewhere() {
        return;
    }
    let app = site.app();
    let mut map = app.map_unordered::<double>(0..);
    let mut sent = app.send(double::call(21)).await.unwrap();
    loop {
        tokio::select! {
            biased;
            value = sent.get() => {
                assert_eq!(value.unwrap(), 42);
                return;
            }
            outcome = map.next() => assert!(outcome.unwrap().is_ok()),
        }
    }
}

crate::support::suite! {
    places {
        inline = "inline";
        threads = "threads=2";
        coroutines = "coroutines=8";
        processes = "processes=2";
        processes_of_coroutines = "processes=2*coroutines=4";
        sqlite = "sqlite:FOLDER/jobs.db";
    }
    map_keeps_the_order_of_its_inputs;
    unordered_map_gives_each_outcome_once;
    a_map_over_nothing_ends_at_once;
    every_chunk_size_gives_the_same;
    a_stream_of_inputs_works_like_an_iterator;
    endless_inputs_are_taken_only_as_outcomes_are;
    send_and_get_carry_arguments_and_value;
    a_call_knows_its_id;
    many_calls_sent_together_have_a_handle_each;
    a_bad_call_among_many_is_an_error;
    gather_keeps_order_and_as_completed_gives_each;
    an_error_keeps_its_type_message_and_cause;
    a_panic_costs_its_own_call_only;
    collect_ends_at_the_first_error;
    a_failed_call_is_retried_until_it_succeeds;
    retries_end_with_the_last_error;
    a_soft_time_limit_interrupts_the_context;
    a_hard_time_limit_ends_the_call;
    a_running_call_can_be_cancelled;
    a_call_that_waits_can_be_cancelled;
    a_countdown_delays_the_start;
    progress_reaches_the_sender;
    a_handle_can_be_waited_for_without_async;
    a_body_over_the_limit_is_refused;
    shutdown_waits_for_what_was_sent;
    shutdown_can_cancel_what_is_queued;
    a_map_that_is_shut_down_answers_each_input_it_took;
    a_call_does_not_wait_for_the_end_of_a_map;
}

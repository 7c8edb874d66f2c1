//! Calls composed into chains, groups and chords: the same outcomes wherever they run.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use celeriac::canvas::{self, Canvas as _, Group, Step};
use celeriac::prelude::*;
use celeriac::{ErrorKind, ShutdownMode, TaskId, chain, chord, group};

use crate::support::{Site, nap};

#[celeriac::task]
fn add(a: u64, b: u64) -> u64 {
    a + b
}

#[celeriac::task]
async fn times(a: u64, b: u64) -> u64 {
    tokio::task::yield_now().await;
    a * b
}

#[celeriac::task]
fn square(n: u64) -> u64 {
    n * n
}

#[celeriac::task]
fn sum(numbers: &[u64]) -> u64 {
    numbers.iter().sum()
}

#[celeriac::task]
fn total(sums: &[Vec<u64>]) -> u64 {
    sums.iter().flatten().sum()
}

#[celeriac::task]
fn report(text: &str) -> String {
    format!("report: {text}")
}

#[celeriac::task]
fn nothing() {}

#[celeriac::task]
fn even(n: u64) -> Result<u64, String> {
    if n % 2 == 1 {
        return Err(format!("{n} is odd"));
    }
    Ok(n)
}

/// Fails until its attempt number `good`.
#[celeriac::task(retries = 3, backoff = "fixed(1ms)")]
fn flaky(context: &Context, n: u64, good: u32) -> Result<u64, String> {
    if context.attempt() < good {
        return Err(format!("attempt {} is too early", context.attempt()));
    }
    Ok(n)
}

/// Values of every shape that JSON and MessagePack must carry from step to step.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
struct Bag {
    text: String,
    big: u64,
    small: i64,
    ratio: f64,
    maybe: Option<()>,
    map: BTreeMap<String, Vec<bool>>,
}

#[celeriac::task]
fn pack(text: &str) -> Bag {
    Bag {
        text: text.to_owned(),
        big: u64::MAX,
        small: i64::MIN,
        ratio: 0.1,
        maybe: None,
        map: [("a".to_owned(), vec![true, false])].into(),
    }
}

#[celeriac::task]
fn unpack(bag: &Bag, text: &str) -> bool {
    *bag == pack(text)
}

#[celeriac::task]
fn identify(context: &Context, _: u64) -> String {
    context.id().to_string()
}

/// Says that it runs, then works until somebody stops it, or for a minute.
#[celeriac::task]
fn patient(context: &Context, mark: PathBuf) -> Result<u64, TaskError> {
    std::fs::write(mark, "").map_err(TaskError::from_error)?;
    for _ in 0..60_000 {
        context.check().map_err(TaskError::from_error)?;
        nap();
    }
    Ok(1)
}

#[celeriac::task]
fn napping(naps: u64) -> u64 {
    (0..naps).for_each(|_| nap());
    naps
}

/// Leaves `text` in a file, whole or not at all.
#[celeriac::task]
fn note(text: &str, file: PathBuf) -> std::io::Result<()> {
    let part = file.with_extension("part");
    std::fs::write(&part, text)?;
    std::fs::rename(part, file)
}

#[celeriac::task]
fn note_number(number: u64, file: PathBuf) -> std::io::Result<()> {
    note(&number.to_string(), file)
}

/// Waits until `file` is there, and reads it.
async fn read(file: &std::path::Path) -> String {
    loop {
        if let Ok(text) = std::fs::read_to_string(file) {
            return text;
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

async fn get<V: Send + 'static>(
    sent: celeriac::Result<celeriac::Handle<V>>,
) -> Result<V, TaskError> {
    sent.unwrap().get().await
}

async fn a_chain_passes_each_value_on(site: Site) {
    let app = site.app();
    let chain = add::call(2, 2)
        .then(times::partial(8))
        .then(add::partial(1));
    assert_eq!(get(app.send(chain).await).await.unwrap(), 33);
    // A full call ignores the value before it.
    let chain = chain![square::call(3), nothing::call(), report::call("done")];
    assert_eq!(get(app.send(chain).await).await.unwrap(), "report: done");
    let chain = pack::call("ö\"\\").then(unpack::partial("ö\"\\"));
    assert!(get(app.send(chain).await).await.unwrap());
}

async fn a_chain_of_chains_is_one_chain(site: Site) {
    let tail = add::partial(1).then(add::partial(2));
    let chain = add::call(1, 1).then(tail).then(times::partial(10));
    let mut handle = site.app().send(chain).await.unwrap();
    assert_eq!(handle.steps().len(), 3);
    assert_eq!(handle.get().await.unwrap(), 50);
}

async fn a_long_chain_needs_no_stack(site: Site) {
    let steps = if site.encodes() { 100 } else { 3_000 };
    let chain = (0..steps).fold(add::call(0, 0).then(add::partial(0)), |chain, _| {
        chain.then(add::partial(1))
    });
    assert_eq!(get(site.app().send(chain).await).await.unwrap(), steps);
}

async fn steps_have_the_ids_they_were_sent_with(site: Site) {
    let chain = add::call(1, 1)
        .id("first")
        .then(add::partial(2))
        .then(identify::partial().id("last"));
    let mut handle = site.app().send(chain).await.unwrap();
    assert_eq!(handle.id(), &TaskId::from("last"));
    assert_eq!(handle.steps()[0], TaskId::from("first"));
    assert_eq!(handle.parent(), Some(&handle.steps()[1]));
    assert_eq!(handle.get().await.unwrap(), "last");
    let single = site.app().send(add::call(1, 1)).await.unwrap();
    assert_eq!(single.parent(), None);
}

async fn a_failed_step_fails_the_rest_with_its_error(site: Site) {
    let marks = tempfile::tempdir().unwrap();
    let file = marks.path().join("ran");
    let chain = add::call(1, 2)
        .then(even::partial())
        .then(note_number::partial(file.clone()))
        .then(report::call("done"));
    let error = get(site.app().send(chain).await).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Failed);
    assert_eq!(error.message(), "3 is odd");
    assert!(!file.exists());
}

async fn a_step_is_retried_like_any_call(site: Site) {
    let chain = add::call(3, 4)
        .then(flaky::partial(3))
        .then(square::partial());
    assert_eq!(get(site.app().send(chain).await).await.unwrap(), 49);
    let chain = add::call(3, 4)
        .then(flaky::partial(9))
        .then(square::partial());
    let error = get(site.app().send(chain).await).await.unwrap_err();
    assert_eq!(error.message(), "attempt 4 is too early");
}

async fn a_group_has_an_outcome_for_each_part(site: Site) {
    let app = site.app();
    let parts = group((0..20).map(|n| times::call(n, 2)));
    let mut handle = app.send(parts).await.unwrap();
    assert_eq!((handle.len(), handle.ids().len()), (20, 20));
    let doubled: Vec<u64> = (0..20).map(|n| 2 * n).collect();
    assert_eq!(handle.get().await.unwrap(), doubled);
    assert_eq!(handle.get().await.unwrap_err().kind(), ErrorKind::NoResult);

    let mut handle = app.send(group((0..5).map(even::call))).await.unwrap();
    let mut seen = BTreeMap::new();
    while let Some((position, outcome)) = handle.next().await {
        seen.insert(
            position,
            outcome.map_err(|error| error.message().to_owned()),
        );
    }
    assert_eq!(seen.len(), 5);
    assert_eq!(seen[&3], Err("3 is odd".to_owned()));
    assert_eq!(seen[&4], Ok(4));

    let none: Group<u64> = group::<celeriac::Signature<square>>([]);
    let mut handle = app.send(none).await.unwrap();
    assert!(handle.is_empty());
    assert!(handle.get().await.unwrap().is_empty());
    assert!(handle.next().await.is_none());
}

async fn a_group_may_hold_chains_and_groups(site: Site) {
    let parts = group![
        add::call(1, 1),
        add::call(1, 1).then(times::partial(3)),
        square::call(2)
            .then(square::partial())
            .then(add::partial(1)),
    ];
    let mut handle = site.app().send(parts).await.unwrap();
    assert_eq!(handle.get().await.unwrap(), [2, 6, 17]);

    let nested = group((1..3).map(|n| group((0..3).map(move |m| times::call(n, m)))));
    let mut handle = site.app().send(nested).await.unwrap();
    assert_eq!(handle.get().await.unwrap(), [[0, 1, 2], [0, 2, 4]]);
}

async fn a_chord_takes_the_values_of_its_header_in_order(site: Site) {
    let app = site.app();
    let header = group((0..10).map(|n| times::call(n, n)));
    let value = get(app.send(chord(header, sum::partial())).await).await;
    assert_eq!(value.unwrap(), 285);
    // A chord in a chain, and chains in a chord.
    let header = group![
        add::partial(1).then(square::partial()),
        times::partial(2),
        flaky::partial(2)
    ];
    let chain = add::call(1, 1).then(header).then(sum::partial());
    let chain = chain.then(add::partial(100)).then(report::call("done"));
    let mut handle = app.send(chain).await.unwrap();
    assert_eq!(handle.steps().len(), 3);
    assert_eq!(handle.get().await.unwrap(), "report: done");
    // The order is that of the parts, not that of their ends.
    let header = group([30, 0, 10].map(napping::call));
    let value = get(app.send(header.into_chain()).await).await;
    assert_eq!(value.unwrap(), [30, 0, 10]);
}

async fn chords_nest(site: Site) {
    let inner = |n: u64| chord(group((0..n).map(square::call)), sum::partial());
    let outer = chord(group((1..5).map(inner)), sum::partial());
    assert_eq!(get(site.app().send(outer).await).await.unwrap(), 20);
    let groups = group((1..4).map(|n| group((0..n).map(square::call))));
    let value = get(site.app().send(groups.then(total::partial())).await).await;
    assert_eq!(value.unwrap(), 6);
    // A part that ends in a chord, behind a step, so that a worker sends it.
    let part = |n: u64| {
        let inner = group([times::partial(n), add::partial(n)]);
        square::partial().then(inner).then(sum::partial())
    };
    let chain = add::call(1, 1)
        .then(group((1..3).map(part)))
        .then(sum::partial());
    assert_eq!(get(site.app().send(chain).await).await.unwrap(), 9 + 14);
    // Two groups one after the other: each part of the second takes the list of the first.
    let first = group((1..4).map(square::call));
    let second = group([sum::partial(), sum::partial()]);
    let value = get(site.app().send(first.then(second)).await).await;
    assert_eq!(value.unwrap(), [14, 14]);
}

async fn a_group_at_the_end_of_a_chain_gives_the_list(site: Site) {
    let parts = group([times::partial(2), times::partial(3)]);
    let value = get(site.app().send(add::call(2, 2).then(parts)).await).await;
    assert_eq!(value.unwrap(), [8, 12]);
}

async fn an_empty_header_gives_its_body_an_empty_list(site: Site) {
    let app = site.app();
    let none = || group::<celeriac::Signature<square>>([]);
    let value = get(app.send(chord(none(), sum::partial())).await).await;
    assert_eq!(value.unwrap(), 0);
    let value = get(app.send(none().then(report::call("done"))).await).await;
    assert_eq!(value.unwrap(), "report: done");
    let none = group::<canvas::Partial<square>>([]);
    let value = get(app.send(add::call(1, 1).then(none)).await).await;
    assert_eq!(value.unwrap(), [0; 0]);
}

async fn a_failed_part_fails_the_chord_by_name(site: Site) {
    let app = site.app();
    let header = group![
        even::call(2),
        add::call(1, 2).then(even::partial().id("culprit")),
        even::call(4)
    ];
    let chain = chord(header, sum::partial()).then(report::call("done"));
    let error = get(app.send(chain).await).await.unwrap_err();
    assert_eq!(error.type_name(), "ChordError");
    let message = error.message();
    assert!(message.contains("Dependency culprit raised"), "{message}");
    assert!(message.contains("3 is odd"), "{message}");
}

async fn what_is_linked_runs_beside_the_chain(site: Site) {
    let marks = tempfile::tempdir().unwrap();
    let file = |name: &str| marks.path().join(name);
    let linked = square::call(3)
        .link(note_number::partial(file("value")))
        .link(note::call("full", file("full")))
        .link(add::partial(1).then(note_number::partial(file("chain"))))
        .link_error(note::partial(file("error")));
    assert_eq!(get(site.app().send(linked).await).await.unwrap(), 9);
    assert_eq!(read(&file("value")).await, "9");
    assert_eq!(read(&file("full")).await, "full");
    assert_eq!(read(&file("chain")).await, "10");

    let failing = even::call(3)
        .id("culprit")
        .link(note_number::partial(file("never")))
        .link_error(note::partial(file("error")))
        .link_error(note::call("full", file("full error")));
    let error = get(site.app().send(failing).await).await.unwrap_err();
    assert_eq!(error.message(), "3 is odd");
    assert_eq!(read(&file("error")).await, "culprit");
    assert_eq!(read(&file("full error")).await, "full");
    assert!(!file("never").exists());
}

async fn what_is_linked_to_a_chain_runs_once(site: Site) {
    let marks = tempfile::tempdir().unwrap();
    let file = |name: &str| marks.path().join(name);
    let last = file("last");
    let chain = add::call(1, 1)
        .then(square::partial())
        .link(note_number::partial(last.clone()));
    assert_eq!(get(site.app().send(chain).await).await.unwrap(), 4);
    assert_eq!(read(&last).await, "4");

    let error = file("error");
    let chain = add::call(1, 2)
        .then(even::partial().id("middle"))
        .then(square::partial())
        .link_error(|| note::partial(error.clone()));
    get(site.app().send(chain).await).await.unwrap_err();
    assert_eq!(read(&error).await, "middle");

    let error = file("chord error");
    let body = sum::partial()
        .id("body")
        .link_error(note::partial(error.clone()));
    let failed = chord(group([even::call(1)]), body);
    get(site.app().send(failed).await).await.unwrap_err();
    assert_eq!(read(&error).await, "body");
}

async fn options_hold_for_the_steps_they_are_set_on(site: Site) {
    let start = Instant::now();
    let delay = Duration::from_millis(60);
    let chain = add::call(1, 1)
        .countdown(delay)
        .then(add::partial(1).countdown(delay));
    assert_eq!(get(site.app().send(chain).await).await.unwrap(), 3);
    assert!(start.elapsed() >= 2 * delay);
    let chain = add::call(1, 1)
        .then(square::partial())
        .countdown(delay)
        .priority(3)
        .header("x-customer", 7)
        .stamp("batch", "b1");
    let start = Instant::now();
    assert_eq!(get(site.app().send(chain).await).await.unwrap(), 4);
    assert!(start.elapsed() >= delay);
}

async fn a_task_known_by_name_stands_among_typed_ones(site: Site) {
    let remote_times = canvas::remote::<(u64, u64), u64>(times::DEFINITION.name);
    let remote_sum = canvas::remote::<(Vec<u64>,), u64>(sum::DEFINITION.name);
    let header = group![add::call(1, 1), remote_times.call((2, 3)), square::call(2)];
    let chain = chord(header, remote_sum.partial(()))
        .then(remote_times.partial((2,)))
        .then(add::partial(1));
    assert_eq!(get(site.app().send(chain).await).await.unwrap(), 25);
    let bare: Step<()> = canvas::remote::<(), ()>(nothing::DEFINITION.name).call(());
    get(site.app().send(bare).await).await.unwrap();
}

async fn an_unknown_task_fails_its_chain(site: Site) {
    let unknown = canvas::remote::<(u64,), u64>("no.such.task");
    let chain = add::call(1, 1)
        .then(unknown.partial(()))
        .then(square::partial());
    let error = get(site.app().send(chain).await).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unregistered);
    assert!(error.message().contains("no.such.task"), "{error}");
}

async fn a_value_of_another_type_is_an_error_of_the_call_that_takes_it(site: Site) {
    let wrong = canvas::remote::<(u64, u64), String>(add::DEFINITION.name);
    let chain = wrong.call((1, 1)).then(report::partial());
    let error = get(site.app().send(chain).await).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::BadArguments);
    assert!(error.message().contains("report(text: &str)"), "{error}");
    let error = get(site.app().send(wrong.call((1, 1))).await)
        .await
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::BadResult);
}

async fn many_inputs_go_in_few_messages(site: Site) {
    let app = site.app();
    let value = get(app.send(canvas::map::<square>(0..5)).await).await;
    assert_eq!(value.unwrap(), [0, 1, 4, 9, 16]);
    let value = get(app
        .send(canvas::starmap::<times>((0..5).map(|n| (n, 10))))
        .await)
    .await;
    assert_eq!(value.unwrap(), [0, 10, 20, 30, 40]);
    let error = get(app.send(canvas::map::<even>(0..5)).await)
        .await
        .unwrap_err();
    assert_eq!(error.message(), "1 is odd");
    let chunks = canvas::chunks::<add>((0..7).map(|n| (n, n)), 3);
    let value = get(app.send(chunks.then(total::partial())).await).await;
    assert_eq!(value.unwrap(), 42);
    let mut none = app.send(canvas::chunks::<add>([], 3)).await.unwrap();
    assert!(none.get().await.unwrap().is_empty());
}

async fn a_cancelled_chain_stops_the_step_that_runs(site: Site) {
    if !site.runs_elsewhere() {
        return;
    }
    let marks = tempfile::tempdir().unwrap();
    let (mark, after) = (marks.path().join("mark"), marks.path().join("after"));
    let chain = patient::call(mark.clone())
        .then(add::partial(1))
        .then(note_number::partial(after.clone()));
    let mut handle = site.app().send(chain).await.unwrap();
    read(&mark).await;
    handle.cancel().await.unwrap();
    assert_eq!(handle.get().await.unwrap_err().kind(), ErrorKind::Cancelled);
    assert!(!after.exists());

    let mark = marks.path().join("group");
    let header = group([patient::call(mark.clone())]);
    let mut handle = site.app().send(header).await.unwrap();
    read(&mark).await;
    handle.cancel().await.unwrap();
    assert_eq!(handle.get().await.unwrap_err().kind(), ErrorKind::Cancelled);
}

async fn arguments_over_the_limit_are_refused(site: Site) {
    let big = "x".repeat(17 * 1024 * 1024);
    let error = site
        .app()
        .send(nothing::call().then(report::call(big)))
        .await
        .unwrap_err();
    assert!(error.to_string().contains("cannot be sent"), "{error}");
}

async fn shutdown_waits_for_a_chain_to_its_end(site: Site) {
    if site.is_broker() {
        return;
    }
    let app = site.app();
    let chain = napping::call(20)
        .then(add::partial(1))
        .then(add::partial(1));
    let mut handle = app.send(chain).await.unwrap();
    app.shutdown(ShutdownMode::Wait).await;
    assert!(handle.is_finished());
    assert_eq!(handle.get().await.unwrap(), 22);
    let error = get(app.send(add::call(1, 1).then(add::partial(1))).await).await;
    assert_eq!(error.unwrap_err().kind(), ErrorKind::Shutdown);
}

async fn shutdown_can_refuse_the_rest_of_a_chain(site: Site) {
    if !site.runs_elsewhere() || site.is_broker() {
        return;
    }
    for mode in [ShutdownMode::CancelQueued, ShutdownMode::Kill] {
        let app = App::on(&site.app().place().to_string()).await.unwrap();
        let marks = tempfile::tempdir().unwrap();
        let (mark, after) = (marks.path().join("mark"), marks.path().join("after"));
        let first = note::call("", mark.clone());
        let chain = first
            .then(napping::call(50))
            .then(note_number::partial(after.clone()));
        let mut handle = app.send(chain).await.unwrap();
        read(&mark).await;
        app.shutdown(mode).await;
        assert!(handle.is_finished());
        let error = handle.get().await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Shutdown);
        assert!(!after.exists());
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
    a_chain_passes_each_value_on;
    a_chain_of_chains_is_one_chain;
    a_long_chain_needs_no_stack;
    steps_have_the_ids_they_were_sent_with;
    a_failed_step_fails_the_rest_with_its_error;
    a_step_is_retried_like_any_call;
    a_group_has_an_outcome_for_each_part;
    a_group_may_hold_chains_and_groups;
    a_chord_takes_the_values_of_its_header_in_order;
    chords_nest;
    a_group_at_the_end_of_a_chain_gives_the_list;
    an_empty_header_gives_its_body_an_empty_list;
    a_failed_part_fails_the_chord_by_name;
    what_is_linked_runs_beside_the_chain;
    what_is_linked_to_a_chain_runs_once;
    options_hold_for_the_steps_they_are_set_on;
    a_task_known_by_name_stands_among_typed_ones;
    an_unknown_task_fails_its_chain;
    a_value_of_another_type_is_an_error_of_the_call_that_takes_it;
    many_inputs_go_in_few_messages;
    a_cancelled_chain_stops_the_step_that_runs;
    arguments_over_the_limit_are_refused;
    shutdown_waits_for_a_chain_to_its_end;
    shutdown_can_refuse_the_rest_of_a_chain;
}

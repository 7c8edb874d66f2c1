//! Workers in both languages on one queue, with clients in both.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use celeriac::canvas::group as beside;
use celeriac::{App, Compression, ContentType, ErrorKind, Handle, Signature, Task};
use serde_json::json;

use super::fleet::{Fleet, Kind};
use super::in_fleets;
use super::tasks::shared;

const QUEUE: &str = "to_both";

const CALLS: u64 = 200;

in_fleets! { workers_of_both_languages_share_a_queue:
    redis_celery_5_7 = Redis, V57;
    redis_celery_5_4 = Redis, V54;
    redis_6_2_celery_5_7 = Redis62, V57;
    amqp_celery_5_7 = Amqp, V57;
}

async fn workers_of_both_languages_share_a_queue(fleet: &Fleet) {
    let _python = fleet.python.worker(&["-Q", QUEUE]);
    let _rust = fleet.rust_worker(QUEUE, 2).await;

    let script = format!(
        "calls = [send('shared.where', n, queue={QUEUE:?}) for n in range({CALLS})]\n\
         answer = [call.get(timeout=30) for call in calls]\n"
    );
    let script = fleet.python.script(&script);
    let calls = (CALLS..2 * CALLS).map(|n| shared::whereabouts::call(n).queue(QUEUE));
    let mut answers = Vec::new();
    for mut call in fleet.app.send_many(calls).await.unwrap() {
        answers.push(call.get().await.unwrap());
    }
    answers.extend(serde_json::from_value::<Vec<(String, u64)>>(script.answer()).unwrap());

    let mut by_language = BTreeMap::<_, u64>::new();
    let mut numbers = BTreeSet::new();
    for (language, number) in answers {
        *by_language.entry(language).or_default() += 1;
        assert!(numbers.insert(number), "{number} came twice");
    }
    assert_eq!(numbers, (0..2 * CALLS).collect());
    // How they share depends on how fast each is here and now, but both took part.
    assert_eq!(by_language.len(), 2, "{by_language:?}");
}

in_fleets! { either_language_may_take_any_step:
    redis_any_step_celery_5_7 = Redis, V57;
    redis_any_step_celery_5_4 = Redis, V54;
    redis_any_step_celery_5_7_in_msgpack = RedisMsgpack, V57;
    amqp_any_step_celery_5_7 = Amqp, V57;
    amqp_and_redis_any_step_celery_5_7 = AmqpRedis, V57;
}

/// How often each is asked, so that both languages come by all of it.
const TIMES: i64 = 8;

async fn either_language_may_take_any_step(fleet: &Fleet) {
    let app = &fleet.app;
    let _python = fleet.python.worker(&["-Q", QUEUE]);
    let _rust = fleet.rust_worker(QUEUE, 2).await;
    let chords = app.broker().unwrap().results().unwrap().chords().is_some();
    let source = include_str!("mixed.py");
    let shape = if chords { "True" } else { "False" };
    let script = format!("CHORDS, QUEUE, TIMES = {shape}, {QUEUE:?}, {TIMES}\n{source}");
    let script = fleet.python.script(&script);

    every_form_is_understood(app).await;
    calls_wait_retry_and_fail(app).await;
    if fleet.kind != Kind::Amqp && fleet.kind != Kind::AmqpRedis {
        // RabbitMQ itself drops what has expired, without a word to who waits.
        let expired = shared::add::call(1, 1).countdown(Duration::from_secs(1));
        let mut expired = send(app, expired.expires(Duration::from_millis(500))).await;
        let error = expired.get().await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Expired);
    }
    chains_and_groups_end(app).await;
    if chords {
        chords_end(app).await;
    }
    let refused = json!({"states": ["FAILURE"], "error": ["CardRefused", "ValueError"]});
    assert_eq!(
        script.answer(),
        json!({
            "chains": vec![111; usize::try_from(TIMES).unwrap()],
            "groups": vec![[3, 7]; usize::try_from(TIMES).unwrap()],
            "retries": vec![3; usize::try_from(TIMES).unwrap()],
            "chords": if chords { vec![11; usize::try_from(TIMES).unwrap()] } else { vec![] },
            "failures": refused,
        })
    );
}

async fn send<T: Task>(app: &App, call: Signature<T>) -> Handle<T::Output> {
    app.send(call.queue(QUEUE)).await.unwrap()
}

async fn every_form_is_understood(app: &App) {
    let values = json!([null, true, -7, 1.5, "žluťoučký 馬", {"a": ["again ".repeat(400)]}]);
    let plain = || shared::echo::call(values.clone());
    let mut calls = Vec::new();
    for serializer in [ContentType::Json, ContentType::Msgpack, ContentType::Yaml] {
        calls.push(plain().serializer(serializer));
        calls.extend(Compression::ALL.map(|one| plain().serializer(serializer).compression(one)));
    }
    let mut handles = Vec::new();
    for call in calls {
        handles.push((format!("{:?}", call.options), send(app, call).await));
    }
    for (sent, mut handle) in handles {
        assert_eq!(handle.get().await.as_ref(), Ok(&values), "{sent}");
    }
}

async fn calls_wait_retry_and_fail(app: &App) {
    let start = Instant::now();
    let mut delayed = Vec::new();
    let mut retried = Vec::new();
    let mut failed = Vec::new();
    for n in 0..TIMES {
        let later = shared::add::call(n, n).countdown(Duration::from_secs(1));
        delayed.push(send(app, later).await);
        retried.push(send(app, shared::flaky::call(3)).await);
        failed.push(send(app, shared::fail::call(7)).await);
    }
    for mut call in retried {
        assert_eq!(call.get().await, Ok(3));
    }
    for mut call in failed {
        let error = call.get().await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Failed);
        assert!(error.message().contains("card refused"), "{error}");
    }
    for (n, mut call) in delayed.into_iter().enumerate() {
        assert_eq!(call.get().await, Ok(2 * i64::try_from(n).unwrap()));
    }
    assert!(start.elapsed() >= Duration::from_secs(1));
}

async fn chains_and_groups_end(app: &App) {
    let mut chains = Vec::new();
    let mut groups = Vec::new();
    for n in 0..TIMES {
        let chain = shared::add::call(n, 1).then(shared::add::partial(10));
        let chain = chain.then(shared::add::partial(100)).queue(QUEUE);
        chains.push(app.send(chain).await.unwrap());
        let parts = (0..3).map(|part| shared::add::call(n, part));
        groups.push(app.send(beside(parts).queue(QUEUE)).await.unwrap());
    }
    for (n, (mut chain, mut group)) in (0..).zip(chains.into_iter().zip(groups)) {
        assert_eq!(chain.get().await, Ok(n + 111));
        assert_eq!(group.get().await, Ok(vec![n, n + 1, n + 2]));
    }
}

async fn chords_end(app: &App) {
    let mut chords = Vec::new();
    for n in 0..TIMES {
        let parts = (0..5).map(|part| shared::add::call(n, part));
        let chord = beside(parts).then(shared::sum::partial());
        let chord = chord.then(shared::add::partial(1000)).queue(QUEUE);
        chords.push(app.send(chord).await.unwrap());
    }
    for (n, mut chord) in (0..).zip(chords) {
        assert_eq!(chord.get().await, Ok(5 * n + 1010));
    }
}

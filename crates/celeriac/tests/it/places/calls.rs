//! Calls and their handles.

use std::collections::HashSet;
use std::time::Duration;

use celeriac::ErrorKind;
use celeriac::prelude::*;

use super::{double, double_later};
use crate::support::Site;

#[celeriac::task]
fn join(words: &[String], separator: &str) -> String {
    words.join(separator)
}

#[celeriac::task]
fn counting(context: &Context, to: u64) -> String {
    for done in 1..=to {
        context.progress_message(done, to, "counting");
    }
    context.id().to_string()
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

//! A coroutine that values are given to and taken from, one at a time.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use celeriac::prelude::*;
use celeriac::report::Report as _;
use celeriac::{ErrorKind, Inbox, Outbox};
use futures_util::StreamExt as _;

use crate::support::in_time;

/// The places that hold sessions.
const PLACES: [&str; 2] = ["threads=2", "coroutines=2"];

/// An app needs a task, though these tests send none.
#[celeriac::task]
fn idle() {}

/// Sets its flag when it is dropped.
struct Guard(Arc<AtomicBool>);

impl Drop for Guard {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

async fn sums(mut inbox: Inbox<u64>, outbox: Outbox<u64>) {
    let mut sum = 0;
    while let Some(number) = inbox.next().await {
        sum += number;
        outbox.send(sum).await;
    }
}

#[tokio::test]
async fn state_survives_between_values_and_ends_when_closed() {
    for place in PLACES {
        let app = App::on(place).await.unwrap();
        let mut session = app.open(sums).unwrap();
        assert_eq!(session.ask(1).await, Ok(1));
        assert_eq!(session.ask(2).await, Ok(3));

        let mut other = app.open(sums).unwrap();
        assert_eq!(other.ask(10).await, Ok(10), "{place}: each has its own");

        session.tell(4).await.unwrap();
        session.close();
        assert_eq!(session.next().await, Some(Ok(7)), "{place}: given before");
        assert_eq!(session.next().await, None);
        assert_eq!(
            session.ask(1).await.unwrap_err().kind(),
            ErrorKind::NoResult
        );
        assert_eq!(other.ask(1).await, Ok(11));
    }
}

#[tokio::test]
async fn a_generator_waits_for_its_taker() {
    for place in PLACES {
        let app = App::on(place).await.unwrap();
        let given = Arc::new(AtomicU64::new(0));
        let counter = given.clone();
        let mut numbers = app
            .stream(async move |outbox: Outbox<u64>| {
                for number in 0.. {
                    outbox.send(number).await;
                    counter.store(number + 1, Ordering::SeqCst);
                }
            })
            .unwrap();
        for number in 0..100 {
            assert_eq!(numbers.next().await, Some(Ok(number)));
            let ahead = given.load(Ordering::SeqCst).saturating_sub(number + 1);
            assert!(ahead <= 16, "{place}: {ahead} values ahead");
        }
    }
}

#[tokio::test]
async fn whoever_gives_waits_for_the_coroutine() {
    for place in PLACES {
        let app = App::on(place).await.unwrap();
        let mut session = app
            .open(async |_inbox: Inbox<u64>, _outbox: Outbox<u64>| {
                std::future::pending::<()>().await;
            })
            .unwrap();
        let mut given = 0;
        while tokio::time::timeout(Duration::from_millis(20), session.tell(1))
            .await
            .is_ok()
        {
            given += 1;
        }
        assert_eq!(given, 16, "{place}");
    }
}

#[tokio::test]
async fn dropping_a_session_ends_its_coroutine() {
    for place in PLACES {
        let app = App::on(place).await.unwrap();
        let flag = Arc::new(AtomicBool::new(false));
        let guard = Guard(flag.clone());
        let mut session = app
            .stream(async move |outbox: Outbox<u64>| {
                let _guard = guard;
                outbox.send(1).await;
                std::future::pending::<()>().await;
            })
            .unwrap();
        assert_eq!(session.next().await, Some(Ok(1)));
        assert!(!flag.load(Ordering::SeqCst));
        drop(session);
        // It resolves when nothing runs.
        in_time(app.shutdown(ShutdownMode::Wait)).await;
        assert!(flag.load(Ordering::SeqCst), "{place}");
    }
}

#[tokio::test]
async fn a_shutdown_ends_the_inbox_once_it_is_empty() {
    for place in PLACES {
        let app = App::on(place).await.unwrap();
        let mut session = app.open(sums).unwrap();
        session.tell(1).await.unwrap();
        session.tell(2).await.unwrap();
        in_time(app.shutdown(ShutdownMode::Wait)).await;
        let taken: Vec<_> = session.by_ref().collect().await;
        assert_eq!(taken, [Ok(1), Ok(3)], "{place}");
        assert!(session.tell(3).await.is_err());
        let late = app.open(sums).unwrap().ask(1).await.unwrap_err();
        assert_eq!(late.kind(), ErrorKind::Shutdown, "{place}");
    }
}

#[tokio::test]
async fn a_hard_shutdown_is_the_sessions_outcome() {
    for place in PLACES {
        let app = App::on(place).await.unwrap();
        let mut numbers = app
            .stream(async |outbox: Outbox<u64>| {
                outbox.send(1).await;
                std::future::pending::<()>().await;
            })
            .unwrap();
        assert_eq!(numbers.next().await, Some(Ok(1)));
        in_time(app.shutdown(ShutdownMode::Kill)).await;
        let error = in_time(numbers.next()).await.unwrap().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Shutdown, "{place}");
        assert_eq!(numbers.next().await, None);
    }
}

#[tokio::test]
async fn a_panic_is_the_sessions_outcome() {
    for place in PLACES {
        let app = App::on(place).await.unwrap();
        let mut session = app
            .open(async |mut inbox: Inbox<u64>, outbox: Outbox<u64>| {
                while let Some(number) = inbox.next().await {
                    outbox.send(100 / number).await;
                }
            })
            .unwrap();
        assert_eq!(session.ask(4).await, Ok(25));
        let error = session.ask(0).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Panicked, "{place}");
        assert!(error.message().contains("divide by zero"), "{error}");
        assert_eq!(session.next().await, None);
    }
}

#[tokio::test]
async fn a_session_keeps_its_pool_alive() {
    for place in PLACES {
        let mut session = App::on(place).await.unwrap().open(sums).unwrap();
        assert_eq!(session.ask(1).await, Ok(1), "{place}");
    }
}

#[test]
fn a_session_works_without_a_runtime() {
    use celeriac::blocking::block_on;

    for place in PLACES {
        let app = block_on(App::on(place)).unwrap();
        let mut session = app.open(sums).unwrap();
        assert_eq!(block_on(session.ask(5)), Ok(5), "{place}");
    }
}

#[tokio::test]
async fn other_places_are_refused_with_the_remedy() {
    let app = App::on("inline").await.unwrap();
    let error = app.open(sums).unwrap_err();
    let message = "`inline` holds no session: it runs a call to its end before the caller goes on";
    assert_eq!(error.to_string(), message);
    let help = error.help().unwrap();
    assert_eq!(help, "open it on `threads` or `coroutines`");

    let folder = tempfile::tempdir().unwrap();
    let place = format!("sqlite:{}", folder.path().join("jobs.db").display());
    let app = App::on(place).await.unwrap();
    let error = app.open(sums).unwrap_err().to_string();
    assert!(
        error.contains("its state would be in another process"),
        "{error}"
    );
}

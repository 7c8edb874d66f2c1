//! How a place is shut down.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use celeriac::prelude::*;
use celeriac::{ErrorKind, ShutdownMode};

use super::{double, double_later};
use crate::support::{Site, nap};

#[celeriac::task]
fn napping(naps: u32) -> u32 {
    (0..naps).for_each(|_| nap());
    naps
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
        // By then each of as many children as there are cores has started, and runs something.
        let warm = 2 * std::thread::available_parallelism().unwrap().get();
        for _ in 0..warm {
            assert_eq!(map.next().await.unwrap().unwrap(), 20);
        }
        app.shutdown(mode).await;
        let before = taken.load(Ordering::Relaxed);
        let (mut finished, mut refused) = (warm, 0);
        for _ in warm..before {
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
        assert!(!finishes || finished > warm, "what ran was cut off");
        let error = map.next().await.unwrap().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Shutdown);
    }
}

//! Many calls of one task, as their inputs come.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use futures_util::StreamExt as _;

use super::{charge, double, double_later};
use crate::support::Site;

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

pub(crate) async fn collect_ends_at_the_first_error(site: Site) {
    let error = site
        .app()
        .map::<charge>(0..100)
        .collect::<Vec<_>>()
        .await
        .unwrap_err();
    assert_eq!(error.message(), "cannot charge order 1");
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

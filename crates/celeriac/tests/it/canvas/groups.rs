//! Calls beside each other, and the one that takes all their values.

use std::collections::BTreeMap;

use celeriac::canvas::{self, Canvas as _, Group};
use celeriac::{ErrorKind, chord, group};

use super::{add, even, flaky, get, napping, report, square, sum, times, total};
use crate::support::Site;

pub(super) async fn a_group_has_an_outcome_for_each_part(site: Site) {
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

pub(super) async fn a_group_may_hold_chains_and_groups(site: Site) {
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

pub(super) async fn a_chord_takes_the_values_of_its_header_in_order(site: Site) {
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

pub(super) async fn chords_nest(site: Site) {
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

pub(super) async fn a_group_at_the_end_of_a_chain_gives_the_list(site: Site) {
    let parts = group([times::partial(2), times::partial(3)]);
    let value = get(site.app().send(add::call(2, 2).then(parts)).await).await;
    assert_eq!(value.unwrap(), [8, 12]);
}

pub(super) async fn an_empty_header_gives_its_body_an_empty_list(site: Site) {
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

pub(super) async fn a_failed_part_fails_the_chord_by_name(site: Site) {
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

pub(super) async fn many_inputs_go_in_few_messages(site: Site) {
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

//! Calls one after another.

use celeriac::{ErrorKind, TaskId, chain};

use super::{
    add, even, flaky, get, identify, note_number, nothing, pack, report, square, times, unpack,
};
use crate::support::Site;

pub(super) async fn a_chain_passes_each_value_on(site: Site) {
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

pub(super) async fn a_chain_of_chains_is_one_chain(site: Site) {
    let tail = add::partial(1).then(add::partial(2));
    let chain = add::call(1, 1).then(tail).then(times::partial(10));
    let mut handle = site.app().send(chain).await.unwrap();
    assert_eq!(handle.steps().len(), 3);
    assert_eq!(handle.get().await.unwrap(), 50);
}

pub(super) async fn a_long_chain_needs_no_stack(site: Site) {
    let steps = if site.encodes() { 100 } else { 3_000 };
    let chain = (0..steps).fold(add::call(0, 0).then(add::partial(0)), |chain, _| {
        chain.then(add::partial(1))
    });
    assert_eq!(get(site.app().send(chain).await).await.unwrap(), steps);
}

pub(super) async fn steps_have_the_ids_they_were_sent_with(site: Site) {
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

pub(super) async fn a_failed_step_fails_the_rest_with_its_error(site: Site) {
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

pub(super) async fn a_step_is_retried_like_any_call(site: Site) {
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

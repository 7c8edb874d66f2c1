//! Tasks that put other calls in their place.

use celeriac::prelude::*;
use celeriac::{ErrorKind, chord, group};

use super::{add, even, get, identify, note, note_number, read, square, sum, times};
use crate::support::Site;

#[celeriac::task]
fn stepwise(context: &Context, n: u64) -> Result<u64, TaskError> {
    context.replace(add::call(n, 1).then(times::partial(2)))
}

#[celeriac::task]
fn spread(context: &Context, n: u64) -> Result<u64, TaskError> {
    context.replace(chord(group((0..n).map(square::call)), sum::partial()))
}

#[celeriac::task]
fn squares(context: &Context, n: u64) -> Result<Vec<u64>, TaskError> {
    context.replace(group((0..n).map(square::call)))
}

#[celeriac::task]
fn pass_on(context: &Context) -> Result<String, TaskError> {
    context.replace(identify::call(1))
}

#[celeriac::task(retries = 2)]
async fn count_down(context: &Context, n: u64) -> Result<u64, TaskError> {
    match n {
        0 => Ok(42),
        n => context.replace(count_down::call(n - 1)),
    }
}

#[celeriac::task]
fn astray(context: &Context, n: u64) -> Result<u64, TaskError> {
    context.replace(even::call(n).then(square::partial()))
}

pub(super) async fn a_replaced_call_returns_what_takes_its_place(site: Site) {
    let app = site.app();
    assert_eq!(get(app.send(stepwise::call(3)).await).await, Ok(8));
    assert_eq!(get(app.send(count_down::call(3)).await).await, Ok(42));
    let mut handle = app.send(pass_on::call().id("kept")).await.unwrap();
    assert_eq!(handle.get().await.unwrap(), "kept");
    let many = app.send_many((0..20).map(stepwise::call)).await.unwrap();
    for (n, mut handle) in (0..).zip(many) {
        assert_eq!(handle.get().await, Ok(2 * (n + 1)));
    }
}

/// What is under way inside each other stands on the stack when the last of it ends; a broker keeps
/// no such stack.
pub(super) async fn a_call_is_replaced_again_and_again_within_reason(site: Site) {
    let app = site.app();
    assert_eq!(get(app.send(count_down::call(30)).await).await, Ok(42));
    let outcome = get(app.send(count_down::call(50)).await).await;
    if site.is_broker() {
        return assert_eq!(outcome, Ok(42));
    }
    assert_eq!(outcome.unwrap_err().type_name(), "ReplacedTooOften");
}

pub(super) async fn what_follows_a_call_follows_what_replaces_it(site: Site) {
    let marks = tempfile::tempdir().unwrap();
    let file = marks.path().join("value");
    let chain = add::call(1, 1)
        .then(stepwise::partial().link(note_number::partial(file.clone())))
        .then(square::partial())
        .then(stepwise::partial());
    assert_eq!(get(site.app().send(chain).await).await, Ok(74));
    assert_eq!(read(&file).await, "6");
}

pub(super) async fn a_group_may_take_the_place_of_a_call(site: Site) {
    let app = site.app();
    assert_eq!(get(app.send(spread::call(4)).await).await, Ok(14));
    let chain = add::call(1, 1).then(squares::partial());
    assert_eq!(get(app.send(chain).await).await.unwrap(), [0, 1]);
    let chain = squares::call(4)
        .then(sum::partial())
        .then(spread::partial());
    let total = (0..14).map(|n| n * n).sum();
    assert_eq!(get(app.send(chain).await).await, Ok(total));
}

pub(super) async fn what_replaces_a_part_counts_for_its_chord(site: Site) {
    let app = site.app();
    let header = group![
        stepwise::call(1),
        spread::call(3),
        add::call(1, 1).then(stepwise::partial()),
        add::call(50, 50)
    ];
    let value = get(app.send(chord(header, sum::partial())).await).await;
    assert_eq!(value, Ok(4 + 5 + 6 + 100));
    let body = chord(group((0..3).map(stepwise::call)), sum::partial());
    let parts = group![body.then(stepwise::partial()), astray::call(2)];
    let mut handle = app.send(parts).await.unwrap();
    assert_eq!(handle.get().await.unwrap(), [26, 4]);
    let header = group![stepwise::call(1), astray::call(1)];
    let error = get(app.send(chord(header, sum::partial())).await).await;
    let error = error.unwrap_err();
    assert_eq!(error.type_name(), "ChordError");
    assert!(error.message().contains("1 is odd"), "{error}");
}

pub(super) async fn a_failed_replacement_fails_the_call_it_replaced(site: Site) {
    let marks = tempfile::tempdir().unwrap();
    let file = marks.path().join("error");
    let chain = astray::call(3)
        .link_error(note::call("told", file.clone()))
        .then(square::partial());
    let error = get(site.app().send(chain).await).await.unwrap_err();
    assert_eq!(error.message(), "3 is odd");
    assert_eq!(read(&file).await, "told");
}

pub(super) async fn calls_of_a_map_are_replaced_by_workers_only(site: Site) {
    let outcomes: Result<Vec<u64>, _> = site.app().map::<stepwise>(0..3).collect().await;
    if site.is_broker() {
        return assert_eq!(outcomes.unwrap(), [2, 4, 6]);
    }
    assert_eq!(outcomes.unwrap_err().kind(), ErrorKind::Replaced);
}

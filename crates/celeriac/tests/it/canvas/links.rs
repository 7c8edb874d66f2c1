//! What runs beside a canvas when a call of it has ended.

use celeriac::{chord, group};

use super::{add, even, get, note, note_number, read, square, sum};
use crate::support::Site;

pub(super) async fn what_is_linked_runs_beside_the_chain(site: Site) {
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

pub(super) async fn what_is_linked_to_a_chain_runs_once(site: Site) {
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

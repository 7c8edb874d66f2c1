//! What a step is, and what it may be given.

use std::time::{Duration, Instant};

use celeriac::canvas::{self, Step};
use celeriac::{ErrorKind, Task, chord, group};

use super::{add, get, nothing, report, square, sum, times};
use crate::support::Site;

pub(super) async fn options_hold_for_the_steps_they_are_set_on(site: Site) {
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

pub(super) async fn a_task_known_by_name_stands_among_typed_ones(site: Site) {
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

pub(super) async fn an_unknown_task_fails_its_chain(site: Site) {
    let unknown = canvas::remote::<(u64,), u64>("no.such.task");
    let chain = add::call(1, 1)
        .then(unknown.partial(()))
        .then(square::partial());
    let error = get(site.app().send(chain).await).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unregistered);
    assert!(error.message().contains("no.such.task"), "{error}");
}

pub(super) async fn a_value_of_another_type_is_an_error_of_the_call_that_takes_it(site: Site) {
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

pub(super) async fn arguments_over_the_limit_are_refused(site: Site) {
    let big = "x".repeat(17 * 1024 * 1024);
    let error = site
        .app()
        .send(nothing::call().then(report::call(big)))
        .await
        .unwrap_err();
    assert!(error.to_string().contains("cannot be sent"), "{error}");
}

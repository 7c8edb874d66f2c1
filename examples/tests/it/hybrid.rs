//! 10,000 naps of a second, all at once.

use crate::support::run;

/// One process of 2,500 coroutines would take 4 s, and one coroutine after another 10,000 s.
#[test]
fn processes_of_coroutines_take_little_more_than_one_nap() {
    let ended = run("hybrid", "processes=4*coroutines=2500", &[]).succeeded();
    let summary = "took 10000 naps of 1s on processes=4*coroutines=2500 in ";
    assert!(ended.stdout.starts_with(summary), "{ended:?}");
    assert!((1.0..3.0).contains(&ended.seconds()), "{ended:?}");
}

/// The queue adds its own time: 10,000 calls are made durable, settled and fetched back.
#[test]
fn a_worker_takes_all_naps_at_once() {
    let ended = run("hybrid", "sqlite:jobs.db", &["--length", "2"]).succeeded();
    assert!(
        ended
            .stdout
            .starts_with("took 10000 naps of 2s on sqlite:jobs.db in "),
        "{ended:?}"
    );
    assert!((2.0..20.0).contains(&ended.seconds()), "{ended:?}");
}

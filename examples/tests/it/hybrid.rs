//! 10,000 naps, all at once.

use crate::support::run;

/// One process of 2,500 coroutines would take four naps' time, and one worker's thread 10,000. The
/// naps are long, so that this holds on a machine that is busy with other things.
#[test]
fn processes_of_coroutines_take_little_more_than_one_nap() {
    let ended = run("hybrid", "processes=4*coroutines=2500", &["--length", "5"]).succeeded();
    let summary = "took 10000 naps of 5s on processes=4*coroutines=2500 in ";
    assert!(ended.stdout.starts_with(summary), "{ended:?}");
    assert!((5.0..20.0).contains(&ended.seconds()), "{ended:?}");
}

/// The queue adds its own time: 10,000 calls are made durable, settled and fetched back.
#[test]
fn a_worker_takes_all_naps_at_once() {
    let ended = run("hybrid", "sqlite:jobs.db", &["--length", "10"]).succeeded();
    let summary = "took 10000 naps of 10s on sqlite:jobs.db in ";
    assert!(ended.stdout.starts_with(summary), "{ended:?}");
    assert!((10.0..40.0).contains(&ended.seconds()), "{ended:?}");
}

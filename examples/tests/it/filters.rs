//! Both lists, gathered and streamed.

use crate::support::run;

#[test]
fn both_lists_come_in_order_both_ways() {
    let ended = run("filters", "coroutines", &[]).succeeded();
    let primes = [
        2, 3, 5, 7, 11, 13, 17, 19, 23, 29, 31, 37, 41, 43, 47, 53, 59, 61, 67, 71, 73, 79, 83, 89,
        97,
    ];
    let squares: Vec<u64> = (1..100).map(|n| n * n).collect();
    let lines = ended.lines();
    assert_eq!(lines[0], format!("primes {primes:?}"));
    assert_eq!(lines[1], format!("squares {squares:?}"));
    assert_eq!(lines[2], format!("primes streamed {primes:?}"));
    assert_eq!(lines[3], format!("squares streamed {squares:?}"));
    assert!(
        lines[4].starts_with("found 25 primes and 99 squares, twice, on coroutines"),
        "{ended:?}"
    );
    // One after the other, the pauses of the first part alone would be 0.2 s.
    assert!(ended.seconds() < 5.0, "{ended:?}");
}

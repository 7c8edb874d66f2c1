//! Functions wrapped in layers, made by factories, and run as tasks.

use std::collections::HashSet;
use std::path::Path;

use crate::support::{example, run};

/// What the example prints, run on `place`; it must succeed.
fn printed(name: &str, place: &str, arguments: &[&str]) -> String {
    run(name, place, arguments).succeeded().stdout
}

#[test]
fn every_layer_has_its_effect_and_comes_off() {
    let assert = example("layers", Path::new(".")).assert().success();
    let printed = String::from_utf8(assert.get_output().stdout.clone()).unwrap();
    let lines: Vec<_> = printed.lines().collect();
    let prices = "[10, 20, 30, 40, 50, 60, 70, 80]";
    // Each price is asked for twice, because the first question fails; the second round asks none.
    let calls = format!("{prices}, 16 calls of the bare function");
    assert_eq!(lines[0], format!("round 1: {calls}"), "retried");
    assert_eq!(lines[1], format!("round 2: {calls}"), "cached");
    assert_eq!(lines[2], "made: 1 instance on threads=8");
    assert_eq!(lines[3], "cache: CacheInfo { hits: 8, misses: 8, len: 8 }");
    assert_eq!(lines[4], "timed: 16 calls");
    let bare = "bare: Err(\"no answer about item 9\"), still 16 calls timed";
    assert_eq!(lines[5], bare, "neither retried nor timed");
    // 16 starts, 5 ms apart: no less than 75 ms.
    let seconds = lines[6].strip_prefix("quoted 16 prices on threads=8 in ");
    let seconds = seconds.and_then(|rest| rest.strip_suffix(" s")).unwrap();
    assert!(seconds.parse::<f64>().unwrap() >= 0.07, "{printed}");
}

#[test]
fn pay_is_the_same_everywhere() {
    for place in [
        "inline",
        "threads",
        "coroutines",
        "processes",
        "sqlite:jobs.db",
    ] {
        let printed = printed("payroll", place, &[]);
        let lines: Vec<_> = printed.lines().collect();
        let expected = [
            "M is paid 15,000.00",
            "P:120 is paid 24,000.00",
            "P:85 is paid 17,000.00",
            "S:123000 is paid 7,950.00",
            "in all: 63,950.00",
        ];
        assert_eq!(lines[..5], expected, "{place}");
    }
}

#[test]
fn odd_amounts_keep_their_cents() {
    let printed = printed("payroll", "inline", &["S:1", "P:0", "S:4294967295"]);
    assert!(
        printed.contains(
            "S:1 is paid 1,800.05\nP:0 is paid 0.00\nS:4294967295 is paid 214,750,164.75\n"
        ),
        "{printed}"
    );
}

#[test]
fn an_unknown_code_is_an_error_and_nobody_is_paid() {
    for place in ["inline", "threads", "processes"] {
        let assert = example("payroll", Path::new("."))
            .args(["M", "X:3", "--on", place])
            .assert()
            .code(5);
        let output = assert.get_output();
        assert_eq!(output.stdout, b"", "{place}");
        let error = "error: `X` is no code of an employee; use M, P or S\n";
        assert_eq!(String::from_utf8_lossy(&output.stderr), error);
    }
}

#[test]
fn an_amount_that_is_no_number_is_refused() {
    let assert = example("payroll", Path::new("."))
        .args(["M", "P:many"])
        .assert()
        .code(5);
    let error = String::from_utf8_lossy(&assert.get_output().stderr).into_owned();
    assert!(
        error.contains("`P:many` has no amount: invalid digit"),
        "{error}"
    );
}

/// The hands in what `poker` printed.
fn hands(printed: &str) -> Vec<Vec<String>> {
    let hands = printed
        .lines()
        .take(4)
        .map(|line| line.split_whitespace().skip(1));
    hands
        .map(|cards| cards.map(str::to_owned).collect())
        .collect()
}

/// Suit, then face, as numbers to sort by.
fn rank(card: &str) -> (usize, usize) {
    let (at, suit) = card.char_indices().next_back().unwrap();
    let faces = [
        "2", "3", "4", "5", "6", "7", "8", "9", "10", "J", "Q", "K", "A",
    ];
    let face = faces.iter().position(|face| *face == &card[..at]).unwrap();
    (
        "♣♦♥♠".chars().position(|known| known == suit).unwrap(),
        face,
    )
}

#[test]
fn all_52_cards_are_dealt_and_every_hand_is_sorted() {
    for place in [
        "inline",
        "threads=4",
        "coroutines",
        "processes",
        "sqlite:jobs.db",
    ] {
        let hands = hands(&printed("poker", place, &[]));
        for hand in &hands {
            assert_eq!(hand.len(), 13, "{place}");
            assert!(
                hand.is_sorted_by_key(|card| rank(card)),
                "{place}: {hand:?}"
            );
        }
        assert_eq!(
            hands.concat().iter().collect::<HashSet<_>>().len(),
            52,
            "{place}"
        );
    }
}

#[test]
fn a_seed_decides_the_deal() {
    let deal = |seed| hands(&printed("poker", "inline", &["--seed", seed]));
    assert_eq!(deal("7"), deal("7"));
    assert_ne!(deal("7"), deal("8"));
}

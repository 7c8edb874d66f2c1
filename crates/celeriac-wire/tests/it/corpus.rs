//! The seeds of the fuzzers, and mutations of them, hold what the fuzzers check.
//!
//! It runs on stable Rust and without a fuzzer, so it runs everywhere.

#[path = "../../../../fuzz/checks.rs"]
mod checks;

use std::fs;
use std::path::Path;

/// Numbers that look random and are the same each time.
struct Dice(u64);

impl Dice {
    fn below(&mut self, end: usize) -> usize {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        usize::try_from(self.0 >> 33).unwrap() % end.max(1)
    }
}

fn mutate(seed: &[u8], dice: &mut Dice) -> Vec<u8> {
    const TOKENS: [&[u8]; 12] = [
        b"\"", b"{", b"]", b",", b"null", b"-1", b"NaN", b"1e999", b"\\ud800", b"\xff", b"\0", b":",
    ];
    let mut bytes = seed.to_vec();
    for _ in 0..=dice.below(3) {
        let at = dice.below(bytes.len());
        match dice.below(5) {
            0 => bytes.truncate(at),
            1 if !bytes.is_empty() => bytes[at] ^= 1 << dice.below(8),
            2 => drop(bytes.splice(at..at, TOKENS[dice.below(TOKENS.len())].iter().copied())),
            3 => {
                let end = at + dice.below(bytes.len() - at + 1);
                bytes.drain(at..end);
            }
            _ => {
                let end = at + dice.below((bytes.len() - at).min(200) + 1);
                let copy = bytes[at..end].to_vec();
                let to = dice.below(bytes.len());
                bytes.splice(to..to, copy);
            }
        }
    }
    bytes
}

/// Checks each seed and so many mutations of it.
fn run(target: &str, mutations: u32, check: fn(&[u8])) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../fuzz/corpus")
        .join(target);
    let mut paths: Vec<_> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    paths.sort();
    assert!(paths.len() > 4, "{target} has a corpus");
    let mut dice = Dice(1);
    for path in paths {
        let seed = fs::read(&path).unwrap();
        check(&seed);
        for _ in 0..mutations {
            check(&mutate(&seed, &mut dice));
        }
    }
}

#[test]
fn envelopes_hold_what_the_fuzzer_checks() {
    run("envelope", 40, checks::envelope);
}

#[test]
fn results_hold_what_the_fuzzer_checks() {
    run("result", 40, checks::result);
}

#[test]
fn bodies_hold_what_the_fuzzer_checks() {
    run("body", 40, checks::body);
}

#[test]
fn trees_hold_what_the_fuzzer_checks() {
    run("tree", 40, checks::tree);
}

#[test]
fn compressions_hold_what_the_fuzzer_checks() {
    run("compression", 8, checks::compression);
}

#[test]
fn remote_control_holds_what_the_fuzzer_checks() {
    run("control", 40, checks::control);
}

#[test]
fn events_hold_what_the_fuzzer_checks() {
    run("event", 40, checks::events);
}

//! The work that our side and the peers do: the same functions on the same inputs.

use std::hint::black_box;
use std::ops::RangeInclusive;

/// How many empty tasks one repetition runs.
pub(crate) const EMPTY_TASKS: u32 = 1_000_000;

/// How many numbers `primes` tries.
pub(crate) const CANDIDATES: u32 = 65;

/// Those numbers, to be taken five times.
const NUMBERS: [u64; 13] = [
    1_116_281,
    1_297_337,
    104_395_303,
    472_882_027,
    533_000_389,
    817_504_243,
    982_451_653,
    112_272_535_095_293,
    112_582_705_942_171,
    112_272_535_095_293,
    115_280_095_190_773,
    115_797_848_077_099,
    1_099_726_899_285_419,
];

/// What `sum` adds up to, in so many chunks.
const SUM_TO: u64 = 100_000_000;
const CHUNKS: u64 = 8;

/// The sum of it all.
pub(crate) const SUM: u64 = SUM_TO * (SUM_TO + 1) / 2;

/// The numbers that `primes` tries.
pub(crate) fn candidates() -> Vec<u64> {
    NUMBERS.repeat(5)
}

/// How many of them are prime: all but the last of each thirteen.
pub(crate) const PRIMES: usize = 60;

/// Trial division.
pub(crate) fn is_prime(n: u64) -> bool {
    n == 2 || (n > 2 && n % 2 == 1 && (3..=n.isqrt()).step_by(2).all(|d| !n.is_multiple_of(d)))
}

/// The ranges that `sum` adds up, one a task.
pub(crate) fn ranges() -> Vec<RangeInclusive<u64>> {
    let each = SUM_TO / CHUNKS;
    (0..CHUNKS)
        .map(|chunk| chunk * each + 1..=(chunk + 1) * each)
        .collect()
}

/// Adds up a range number by number; the compiler would know a formula.
pub(crate) fn sum(range: RangeInclusive<u64>) -> u64 {
    range.fold(0, |total, n| total + black_box(n))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_work_is_what_it_is_said_to_be() {
        assert_eq!(candidates().len(), CANDIDATES as usize);
        let small = candidates().into_iter().filter(|n| *n < 1_000_000_000);
        assert!(small.clone().all(is_prime));
        assert_eq!(small.count(), 7 * 5);
        assert!(!is_prime(1) && is_prime(2) && !is_prime(9));

        let ranges = ranges();
        assert_eq!(ranges.len(), 8);
        let halves = ranges.iter().map(|r| u128::from(r.start() + r.end()));
        let total: u128 = halves
            .map(|ends| ends * u128::from(SUM_TO / CHUNKS) / 2)
            .sum();
        assert_eq!(total, u128::from(SUM));
        assert_eq!(sum(1..=1_000), 500_500);
    }
}

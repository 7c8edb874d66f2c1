//! The answers of `primes`, in order, everywhere.

use crate::support::printed;

fn check(place: &str) {
    let printed = printed("primes", place, &[]);
    let lines: Vec<_> = printed.lines().collect();
    assert_eq!(lines.len(), 66, "{printed}");
    assert_eq!(lines[0], "1116281 is prime: true");
    for (index, line) in lines[..65].iter().enumerate() {
        let prime = index % 13 != 12;
        assert!(line.ends_with(&format!("is prime: {prime}")), "{line}");
    }
    assert!(
        lines[65].starts_with("tested 65 numbers, 60 of them prime,"),
        "{printed}"
    );
}

#[test]
fn threads() {
    check("threads");
}

//! The sum of `sum`, everywhere and however it is cut.

use crate::support::{everywhere, run};

everywhere!(a_hundred_million_numbers_add_up);

fn a_hundred_million_numbers_add_up(place: &str) {
    let ended = run("sum", place, &[]).succeeded();
    assert_eq!(ended.lines()[0], "5000000050000000");
    assert!(
        ended.lines()[1].starts_with("added 100000000 numbers in 8 chunks on "),
        "{ended:?}"
    );
}

#[test]
fn pieces_that_do_not_come_out_even_add_up_too() {
    let ended = run("sum", "threads", &["--to", "1000", "--chunks", "7"]).succeeded();
    assert_eq!(ended.lines()[0], "500500");
    let ended = run("sum", "threads", &["--to", "3", "--chunks", "10"]).succeeded();
    assert_eq!(ended.lines()[0], "6");
}

#[test]
fn what_is_no_place_is_refused_with_the_remedy() {
    let ended = run("sum", "thread", &[]);
    assert_eq!(ended.code, 2, "{ended:?}");
    assert!(
        ended.stderr.contains("did you mean `threads`?"),
        "{ended:?}"
    );
}

//! The programs about sharing, with workers that are threads, processes and machines.

use crate::support::{Ended, example};

/// Makes a test of each of the functions of a scope, for threads, for processes, and for machines that share
/// at a manager, in a file and at a Redis.
macro_rules! in_every_scope {
    ($($check:ident)*) => {
        in_every_scope! { threads($($check)*) "threads", None }
        in_every_scope! { processes($($check)*) "processes", None }
        in_every_scope! { manager($($check)*) "machines", None }
        in_every_scope! { sqlite($($check)*) "machines", Some("sqlite:shared.db".to_owned()) }
        in_every_scope! { redis($($check)*) "machines", Some(celeriac_testkit::peers::redis_url()) }
    };
    ($name:ident($($check:ident)*) $scope:literal, $at:expr) => {
        mod $name {
            use super::Who;

            $(#[test]
            fn $check() {
                super::$check(&Who { scope: $scope, at: $at });
            })*
        }
    };
}

in_every_scope! {
    a_bank_loses_deposits_without_a_lock_and_none_with_it
    a_withdrawer_waits_until_the_balance_suffices
    ping_and_pong_alternate
    what_is_produced_is_consumed_once
    a_pipe_carries_messages_and_ends_when_it_is_closed
    a_dict_is_filled_by_all
    counts_are_exact
    runners_start_together_and_three_pass_at_a_time
    a_recursive_lock_is_refused_to_another_owner
}

/// Who shares, and where.
struct Who {
    scope: &'static str,
    at: Option<String>,
}

impl Who {
    /// Runs the example: what it printed, but for the summary.
    fn run(&self, name: &str, arguments: &[&str], summary: &str) -> Vec<String> {
        let folder = tempfile::tempdir().unwrap();
        let mut command = example(name, folder.path());
        command.args(["--scope", self.scope]).args(arguments);
        if let Some(at) = &self.at {
            command.args(["--at", at]);
        }
        let ended = Ended::from(command.output().unwrap()).succeeded();
        let mut lines: Vec<_> = ended.lines().into_iter().map(str::to_owned).collect();
        let last = lines.pop().unwrap();
        assert!(last.starts_with(summary), "{ended:?}");
        assert!(last.contains(&format!(" {} in ", self.scope)), "{ended:?}");
        lines
    }
}

fn a_bank_loses_deposits_without_a_lock_and_none_with_it(who: &Who) {
    let lines = who.run("bank", &[], "made 2 × 100 deposits by 10 ");
    let [without, with] = &lines[..] else {
        panic!("{lines:?}");
    };
    assert_eq!(with, "with a lock: 100, 0 deposits are lost");
    let found = without.strip_prefix("without a lock: ").unwrap();
    let (found, lost) = found.split_once(", ").unwrap();
    let (found, lost) = (found, lost.strip_suffix(" deposits are lost").unwrap());
    let [found, lost]: [u32; 2] = [found, lost].map(|count| count.parse().unwrap());
    assert!(lost > 0 && found + lost == 100, "{lines:?}");
}

fn a_withdrawer_waits_until_the_balance_suffices(who: &Who) {
    let lines = who.run("bank_condition", &[], "served 10 withdrawers by 15 ");
    let (account, withdrawals) = lines.split_last().unwrap();
    let mut sum = 0;
    for line in withdrawals {
        let (amount, left) = line
            .strip_prefix("withdrew ")
            .and_then(|line| line.strip_suffix(" left")?.split_once(", "))
            .unwrap();
        let [amount, left]: [i64; 2] = [amount, left].map(|amount| amount.parse().unwrap());
        assert!((10..=30).contains(&amount) && left >= 0, "{lines:?}");
        sum += amount;
    }
    assert_eq!(withdrawals.len(), 10, "{lines:?}");
    let words: Vec<_> = account.split(' ').collect();
    let [
        "deposited",
        "-",
        _,
        "withdrawn",
        "=",
        _,
        "in",
        "the",
        "account",
    ] = words[1..]
    else {
        panic!("{account}");
    };
    let [deposited, withdrawn, balance] = [0, 3, 6].map(|at| words[at].parse::<i64>().unwrap());
    // 5 depositors of 12 deposits of 5 to 10.
    assert!((300..=600).contains(&deposited), "{account}");
    assert_eq!(withdrawn, sum, "{lines:?}");
    assert_eq!(deposited - withdrawn, balance, "{account}");
}

fn ping_and_pong_alternate(who: &Who) {
    let lines = who.run("pingpong", &[], "printed 10 lines by 2 ");
    assert_eq!(lines, ["Ping", "Pong"].repeat(5));
}

fn what_is_produced_is_consumed_once(who: &Who) {
    let lines = who.run(
        "producer_consumer",
        &["--items", "50"],
        "handed over 50 items by 4 ",
    );
    let (joined, consumed) = lines.split_first().unwrap();
    assert_eq!(joined, "joined");
    assert_eq!(consumed.len(), 3, "{lines:?}");
    let lists = consumed
        .iter()
        .map(|line| line.strip_prefix("consumed ").unwrap());
    let mut items: Vec<u32> = lists.flat_map(numbers).collect();
    items.sort_unstable();
    assert_eq!(items, (1..=50).collect::<Vec<_>>());
}

/// What `[1, 2, 3]` lists.
fn numbers(list: &str) -> Vec<u32> {
    let inside = list.strip_prefix('[').unwrap().strip_suffix(']').unwrap();
    let numbers = inside.split(", ").filter(|number| !number.is_empty());
    numbers.map(|number| number.parse().unwrap()).collect()
}

fn a_pipe_carries_messages_and_ends_when_it_is_closed(who: &Who) {
    let lines = who.run("pipe", &["one", "two"], "exchanged 4 messages by 1 ");
    assert_eq!(lines, ["one: ONE", "two: TWO", "closed after 2 answers"]);
}

fn a_dict_is_filled_by_all(who: &Who) {
    let lines = who.run("shared_dict", &[], "wrote 10 items by 10 ");
    let expected: Vec<_> = (0..10).map(|i| format!("d[{i}] = {}", 2 * i)).collect();
    assert_eq!(lines, expected);
}

fn counts_are_exact(who: &Who) {
    let lines = who.run(
        "shared_values",
        &["--rounds", "50"],
        "counted 4 × 50 times by 4 ",
    );
    assert_eq!(lines, ["total 200", "items [200, 210, 220, 230, 240]"]);
}

fn runners_start_together_and_three_pass_at_a_time(who: &Who) {
    let lines = who.run("starter", &[], "10 runners were started by 10 ");
    assert_eq!(lines.len(), 41, "{lines:?}");
    assert_eq!(lines[0], "the starter says go");
    // The line is left when all have heard it.
    assert!(
        lines[1..=10].iter().all(|line| line.ends_with(" hears it")),
        "{lines:?}"
    );
    let (mut inside, mut most) = (0, 0);
    for line in &lines[11..] {
        if line.ends_with(" enters the gate") {
            inside += 1;
        } else if line.ends_with(" is through the gate") {
            inside -= 1;
        } else {
            assert!(line.ends_with(" leaves the line"), "{lines:?}");
        }
        most = most.max(inside);
    }
    assert_eq!((inside, most), (0, 3), "{lines:?}");
}

fn a_recursive_lock_is_refused_to_another_owner(who: &Who) {
    let lines = who.run("recursive_lock", &[], "took a lock 5 deep by 1 ");
    assert_eq!(
        lines,
        [
            "another owner is refused",
            "taken 5 deep",
            "another owner has it"
        ]
    );
}

#[test]
fn a_place_that_is_none_is_refused() {
    let who = ["--scope", "machines", "--at", "ftp://host"];
    let folder = tempfile::tempdir().unwrap();
    let ended = example("bank", folder.path()).args(who).output().unwrap();
    let ended = Ended::from(ended);
    assert_eq!(ended.code, 1, "{ended:?}");
    assert!(
        ended.stderr.contains("`ftp://host` is no place"),
        "{ended:?}"
    );
}

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

//! What failed, gathered for one mail.

use std::collections::BTreeMap;
use std::fmt::Write as _;

/// The most sorts of failures that are told apart.
const MOST: usize = 50;
/// How many calls of each sort are named.
const NAMED: usize = 3;

/// A call that failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Failure {
    pub(super) task: String,
    pub(super) id: String,
    pub(super) kind: String,
    pub(super) message: String,
}

/// Failures by task and by what they failed with.
#[derive(Debug, Default)]
pub(super) struct Digest {
    sorts: BTreeMap<(String, String), Sort>,
    /// Those of further sorts, or that were not taken in.
    others: u64,
}

/// Failures of one task with one sort of error.
#[derive(Debug)]
struct Sort {
    count: u64,
    /// What the first one said.
    message: String,
    ids: Vec<String>,
}

impl Digest {
    pub(super) fn is_empty(&self) -> bool {
        self.count() == 0
    }

    pub(super) fn add(&mut self, failure: Failure) {
        let is_full = self.sorts.len() >= MOST;
        let key = (failure.task, failure.kind);
        if is_full && !self.sorts.contains_key(&key) {
            self.others += 1;
            return;
        }
        let sort = self.sorts.entry(key).or_insert_with(|| Sort {
            count: 0,
            message: failure.message,
            ids: Vec::new(),
        });
        sort.count += 1;
        if sort.ids.len() < NAMED {
            sort.ids.push(failure.id);
        }
    }

    /// Adds those of which nothing but their number is known.
    pub(super) fn add_missed(&mut self, count: u64) {
        self.others += count;
    }

    fn count(&self) -> u64 {
        self.sorts.values().map(|sort| sort.count).sum::<u64>() + self.others
    }

    pub(super) fn subject(&self, worker: &str) -> String {
        format!("[celeriac] {} failed on {worker}", calls(self.count()))
    }

    pub(super) fn text(&self, worker: &str) -> String {
        let mut text = format!("{} failed for good on {worker}.\n\n", calls(self.count()));
        for ((task, kind), sort) in &self.sorts {
            // Writing to a string does not fail.
            let _ = write!(
                text,
                "{task}: {kind}, {}\n  {}\n  {}",
                calls(sort.count),
                sort.message,
                sort.ids.join("\n  ")
            );
            let unnamed = sort.count - sort.ids.len() as u64;
            if unnamed > 0 {
                let _ = write!(text, "\n  and {unnamed} more");
            }
            text.push_str("\n\n");
        }
        if self.others > 0 {
            let _ = write!(text, "Not listed: {}\n\n", calls(self.others));
        }
        text.push_str("Arguments and results are left out.\n");
        text
    }
}

fn calls(count: u64) -> String {
    match count {
        1 => "1 call".to_owned(),
        count => format!("{count} calls"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failure(task: &str, id: usize) -> Failure {
        Failure {
            task: task.to_owned(),
            id: format!("id-{id}"),
            kind: "ValueError".to_owned(),
            message: "ValueError('no')".to_owned(),
        }
    }

    #[test]
    fn failures_of_a_sort_are_counted_and_some_are_named() {
        let mut digest = Digest::default();
        assert!(digest.is_empty());
        for id in 0..5 {
            digest.add(failure("shop.pack", id));
        }
        digest.add(failure("shop.add", 7));
        assert_eq!(
            digest.subject("w@box"),
            "[celeriac] 6 calls failed on w@box"
        );
        let wanted = "6 calls failed for good on w@box.\n\n\
             shop.add: ValueError, 1 call\n  ValueError('no')\n  id-7\n\n\
             shop.pack: ValueError, 5 calls\n  ValueError('no')\n  id-0\n  id-1\n  id-2\n  and 2 more\n\n\
             Arguments and results are left out.\n";
        assert_eq!(digest.text("w@box"), wanted);
    }

    #[test]
    fn any_number_of_names_makes_no_larger_mail() {
        let mut digest = Digest::default();
        for number in 0..100_000 {
            digest.add(failure(&format!("task-{number}"), number));
        }
        digest.add_missed(5);
        let text = digest.text("w");
        assert!(text.len() < 10_000, "{}", text.len());
        assert!(text.contains("Not listed: 99955 calls"), "{text}");
        assert!(digest.subject("w").contains("100005 calls"));
    }
}

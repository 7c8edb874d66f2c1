//! A program that defines queues: where its calls go, and what its workers take, on either broker.

use std::process::Command;

use celeriac_testkit::peers::{VirtualHost, redis_url, unique};
use tempfile::TempDir;

use super::{Ran, run};
use crate::support::example;

#[test]
fn a_route_leads_to_all_queues_of_an_exchange_on_redis() {
    let prefix = unique("exchanges");
    let url = redis_url();
    Program::at(format!(
        "{url}?global_keyprefix={prefix}&result_keyprefix={prefix}"
    ))
    .reaches_all_queues();
}

#[test]
fn a_route_leads_to_all_queues_of_an_exchange_on_amqp() {
    let host = VirtualHost::create();
    Program::at(host.url()).reaches_all_queues();
}

/// The example on a broker, in a folder of its own.
struct Program {
    url: String,
    folder: TempDir,
}

impl Program {
    fn at(url: String) -> Self {
        let folder = TempDir::new().unwrap();
        Self { url, folder }
    }

    fn run(&self, words: &[&str]) -> Ran {
        let mut command = Command::new(example("exchanges"));
        command.args(words).current_dir(self.folder.path());
        run(command.env("CELERIAC_ON", &self.url))
    }

    fn done(&self, words: &[&str]) -> String {
        let ran = self.run(words);
        assert_eq!(ran.code, 0, "{words:?}: {}", ran.err);
        ran.out
    }

    /// Runs a worker until its queues are empty, and says how many calls have ever run.
    fn ran_by_worker(&self, queues: &[&str]) -> usize {
        let begin = ["worker", "-P", "threads=1", "--stop-when-idle", "500ms"];
        self.done(&[&begin[..], queues].concat());
        let log = std::fs::read_to_string(self.folder.path().join("log"));
        log.unwrap_or_default().lines().count()
    }

    fn reaches_all_queues(&self) {
        let send = ["send", "note", "log", "--json"];
        let routed = [&send[..], &["--route", "n*e=news"]].concat();
        let sent: serde_json::Value = serde_json::from_str(&self.done(&routed)).unwrap();
        // The queue is reached as all are that its key fits.
        assert_eq!(sent["queue"], "world/news.today");
        let sent: serde_json::Value = serde_json::from_str(&self.done(&send)).unwrap();
        assert_eq!(sent["queue"], "celery");

        // One copy in each of the two, and the other call in the default queue.
        assert_eq!(self.ran_by_worker(&["-Q", "news"]), 1);
        assert_eq!(self.ran_by_worker(&["-Q", "news"]), 1);
        assert_eq!(self.ran_by_worker(&["-X", "archive,news"]), 2);
        assert_eq!(self.ran_by_worker(&["-X", "celery"]), 3);
        assert_eq!(self.ran_by_worker(&[]), 3);
    }
}

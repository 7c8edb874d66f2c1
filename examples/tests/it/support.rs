//! Finds and runs the examples.

use std::path::{Path, PathBuf};
use std::process::Output;
use std::time::Duration;

use assert_cmd::Command;
use celeriac_examples::server::{Page, Server};
use celeriac_testkit::peers::{VirtualHost, redis_url, unique};
use tokio::runtime::Runtime;

/// Makes a test of a function of a place, for every place.
macro_rules! everywhere {
    ($check:ident) => {
        crate::support::everywhere! { $check:
            inline = "inline",
            threads = "threads",
            processes = "processes",
            coroutines = "coroutines",
            hybrid = "processes=2*coroutines=10",
            sqlite = "sqlite:jobs.db",
            redis = "redis",
            amqp = "amqp",
        }
    };
    ($check:ident: $($name:ident = $place:literal,)*) => {
        $(#[test]
        fn $name() {
            $check($place);
        })*
    };
}
pub(crate) use everywhere;

/// The example's binary, which cargo builds beside this test's.
pub(crate) fn path(name: &str) -> PathBuf {
    let mut path = std::env::current_exe().unwrap();
    // From `target/<profile>/deps/it-<hash>` to `target/<profile>/examples/<name>`.
    path.pop();
    path.pop();
    path.push("examples");
    path.push(name);
    assert!(
        path.exists(),
        "{} is missing; `cargo test -p celeriac-examples` builds it, `--test it` alone does not",
        path.display()
    );
    path
}

/// A command that runs the example in `folder`, and fails if it takes over two minutes.
pub(crate) fn example(name: &str, folder: &Path) -> Command {
    let mut command = Command::new(path(name));
    command
        .timeout(Duration::from_secs(120))
        .env_remove("CELERIAC_CLUSTER")
        .env_remove("CELERIAC_ON")
        .current_dir(folder);
    command
}

/// What an example left behind.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) code: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl From<Output> for Ended {
    fn from(output: Output) -> Self {
        Self {
            code: output
                .status
                .code()
                .expect("it ended by itself, and in time"),
            stdout: String::from_utf8(output.stdout).unwrap(),
            stderr: String::from_utf8(output.stderr).unwrap(),
        }
    }
}

impl Ended {
    /// The lines of standard output, of which the last is the summary.
    pub(crate) fn lines(&self) -> Vec<&str> {
        self.stdout.lines().collect()
    }

    /// The seconds that the summary says it took.
    pub(crate) fn seconds(&self) -> f64 {
        let words: Vec<_> = self.lines().pop().unwrap().split(' ').collect();
        assert_eq!(words[words.len() - 3], "in", "{self:?}");
        words[words.len() - 2].parse().unwrap()
    }

    /// That it did all it was asked for, without a word on standard error.
    pub(crate) fn succeeded(self) -> Self {
        assert_eq!((self.code, self.stderr.as_str()), (0, ""), "{self:?}");
        self
    }
}

/// A place, for as long as an example runs there.
pub(crate) struct Ground {
    /// What `--on` is told.
    pub(crate) place: String,
    _host: Option<VirtualHost>,
}

impl Ground {
    /// A part of a server that no other test uses, if `place` is `redis` or `amqp`.
    pub(crate) fn prepare(place: &str) -> Self {
        let (place, host) = match place {
            "redis" => {
                let prefix = unique("example");
                let options = format!("global_keyprefix={prefix}:&result_keyprefix={prefix}:");
                (format!("{}?{options}", redis_url()), None)
            }
            "amqp" => {
                let host = VirtualHost::create();
                (host.url(), Some(host))
            }
            other => (other.to_owned(), None),
        };
        Self { place, _host: host }
    }
}

/// Runs the example on `place` in `folder`.
pub(crate) fn run_in(folder: &Path, name: &str, place: &str, arguments: &[&str]) -> Ended {
    let ground = Ground::prepare(place);
    example(name, folder)
        .args(["--on", &ground.place])
        .args(arguments)
        .output()
        .unwrap()
        .into()
}

/// Runs the example on `place`, in a folder of its own that is gone afterwards.
pub(crate) fn run(name: &str, place: &str, arguments: &[&str]) -> Ended {
    run_in(tempfile::tempdir().unwrap().path(), name, place, arguments)
}

/// A server for as long as its runtime lives.
pub(crate) fn serve<const N: usize>(pages: [(&str, Page); N]) -> (Runtime, Server) {
    let runtime = Runtime::new().unwrap();
    let server = runtime.block_on(Server::start(pages)).unwrap();
    (runtime, server)
}

//! Every flag of `celery worker`, in every version, is understood.

use celeriac_testkit::peers::CeleryVersion;

use crate::support::{On, Project};

/// Prints the flags of `celery` and `celery worker` as JSON: `[[spelling, …], takes a value]`.
const FLAGS: &str = "
from celery.bin.celery import celery
from celery.bin.worker import worker
answer = []
for param in celery.params + worker.params:
    answer.append([list(param.opts) + list(param.secondary_opts), not param.is_flag])
";

/// A value that fits the flag.
fn value(flag: &str) -> &'static str {
    match flag {
        "--loglevel" | "-l" => "debug",
        "--optimization" | "-O" => "fair",
        "--pool-start-method" => "fork",
        "--pool" | "-P" => "solo",
        "--autoscale" => "4,2",
        "--umask" => "022",
        "--workdir" => ".",
        _ => "1",
    }
}

#[test]
fn every_flag_of_every_celery_is_read() {
    for version in [CeleryVersion::V57, CeleryVersion::V55, CeleryVersion::V54] {
        let project = Project::with("plain", On::Redis, version);
        let flags = project.run_plain(FLAGS);
        let flags = flags.as_array().unwrap();
        assert!(flags.len() > 35, "{flags:?}");
        for flag in flags {
            let spellings = flag[0].as_array().unwrap();
            for spelling in spellings.iter().filter_map(|it| it.as_str()) {
                // It is asked for the version, so that nothing starts.
                let words = match (spelling, flag[1].as_bool()) {
                    ("--app" | "-A", _) => format!("{spelling} proj worker --version"),
                    (flag, Some(true)) => {
                        format!("-A proj worker {flag} {} --version", value(flag))
                    }
                    (flag, _) => format!("-A proj worker {flag} --version"),
                };
                let output = project.command(&words).output().unwrap();
                let error = String::from_utf8_lossy(&output.stderr);
                assert!(output.status.success(), "{words}: {error}");
            }
        }
    }
}

#[test]
fn what_is_no_flag_is_refused() {
    let project = Project::new("plain", On::Redis);
    for words in ["--no-such-flag", "-l loud", "-c many", "--autoscale x"] {
        let words = format!("-A proj worker {words} --version");
        let output = project.command(&words).output().unwrap();
        assert_eq!(output.status.code(), Some(2), "{words}");
    }
}

#[test]
fn variables_of_the_environment_are_heeded() {
    let mut project = Project::new("plain", On::Redis);
    project.set("APP", "proj");
    project.set("CELERY_WORKER_CONCURRENCY", "3");
    project.set("CELERY_WORKER_LOGLEVEL", "INFO");
    let worker = project.start("worker");
    worker.wait_for_line(".> concurrency: 3 (prefork)");
    worker.wait_for_line(" ready.");
}

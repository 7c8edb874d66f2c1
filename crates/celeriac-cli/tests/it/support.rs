//! Python projects that tests run under the `celeriac` command.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use celeriac_testkit::peers::{CeleryVersion, OwnedChild, VirtualHost, redis_url, unique};
use serde_json::Value;
use tempfile::TempDir;

/// The folder of the projects.
const APPS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/apps");

/// How long a test waits for what has to come.
const PATIENCE: Duration = Duration::from_secs(60);

/// What a script of a test begins and ends with.
///
/// Without the collector, because an older Celery unsubscribes from a result that is collected, and if
/// that happens while it subscribes to another it waits for its own lock.
const SCRIPT: (&str, &str) = (
    "import gc, json, warnings\ngc.disable()\nwarnings.simplefilter('ignore')\n",
    "\nprint('ANSWER ' + json.dumps(answer), flush=True)\n",
);

/// The program.
pub(crate) fn celeriac() -> PathBuf {
    assert_cmd::cargo::cargo_bin!("celeriac").to_owned()
}

/// Where messages and results go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum On {
    /// Both are kept in Redis.
    Redis,
    /// Messages in RabbitMQ, results in Redis.
    RabbitMq,
    /// Messages in RabbitMQ, which sends results to the caller.
    RabbitMqRpc,
}

/// A copy of a project, with queues and keys of its own.
#[derive(Debug)]
pub(crate) struct Project {
    pub(crate) folder: TempDir,
    python: String,
    environment: Vec<(&'static str, String)>,
    _host: Option<VirtualHost>,
}

impl Project {
    /// The project `name`, run with Celery 5.7.
    pub(crate) fn new(name: &str, on: On) -> Self {
        Self::with(name, on, CeleryVersion::V57)
    }

    pub(crate) fn with(name: &str, on: On, version: CeleryVersion) -> Self {
        let folder = tempfile::tempdir().unwrap();
        copy(&Path::new(APPS).join(name), folder.path());
        let host = (on != On::Redis).then(VirtualHost::create);
        let broker = host.as_ref().map_or_else(redis_url, VirtualHost::url);
        let backend = match on {
            On::RabbitMqRpc => "rpc://".to_owned(),
            _ => redis_url(),
        };
        let path = |name: &str| folder.path().join(name).display().to_string();
        let environment = vec![
            ("BROKER", broker),
            ("BACKEND", backend),
            ("QUEUE", unique("queue")),
            ("PREFIX", format!("{}:", unique("keys"))),
            ("FOLDER", folder.path().display().to_string()),
            ("DATABASE", path("db.sqlite3")),
            ("PYTHONUNBUFFERED", "1".to_owned()),
            ("PYTHONDONTWRITEBYTECODE", "1".to_owned()),
            ("C_FORCE_ROOT", "1".to_owned()),
        ];
        Self {
            folder,
            python: version.python(),
            environment,
            _host: host,
        }
    }

    /// Sets a variable for all that runs in it.
    pub(crate) fn set(&mut self, name: &'static str, value: &str) {
        self.environment.push((name, value.to_owned()));
    }

    /// Starts the worker with these words besides, and waits until it is ready.
    pub(crate) fn worker(&self, words: &str) -> OwnedChild {
        let worker = self.start(&format!("-A proj worker -l INFO {words}"));
        worker.wait_for_line(" ready.");
        worker
    }

    /// The broker as our own commands are told it.
    pub(crate) fn broker(&self) -> String {
        let broker = self.variable("BROKER");
        if broker.starts_with("redis") {
            format!("{broker}?global_keyprefix={}", self.variable("PREFIX"))
        } else {
            broker.to_owned()
        }
    }

    /// Its queue.
    pub(crate) fn queue(&self) -> &str {
        self.variable("QUEUE")
    }

    fn variable(&self, wanted: &str) -> &str {
        let mut all = self.environment.iter();
        let found = all.find(|(name, _)| *name == wanted);
        found.map(|(_, value)| value.as_str()).unwrap()
    }

    /// Starts a worker of Celery's own, and waits until it is ready.
    pub(crate) fn celery_worker(&self, node: &str) -> OwnedChild {
        let words = format!("-m celery -A proj worker -l INFO -P threads -c 1 -n {node}");
        let words = words.split(' ');
        let worker = OwnedChild::start("the Celery worker", &self.python, words, |command| {
            self.configure(command);
        });
        worker.wait_for_line(" ready.");
        worker
    }

    /// Starts `celeriac` with these words.
    pub(crate) fn start(&self, words: &str) -> OwnedChild {
        let program = celeriac();
        let program = program
            .to_str()
            .expect("the target folder has a name in UTF-8");
        let words = words.split_whitespace();
        OwnedChild::start("celeriac", program, words, |command| {
            self.configure(command);
        })
    }

    /// Starts the app's own `celery` with these words.
    pub(crate) fn start_celery(&self, words: &str) -> OwnedChild {
        let words = ["-m", "celery"].into_iter().chain(words.split_whitespace());
        OwnedChild::start("celery", &self.python, words, |command| {
            self.configure(command);
        })
    }

    /// `celeriac` with these words, to be run to its end.
    pub(crate) fn command(&self, words: &str) -> Command {
        let mut command = Command::new(celeriac());
        command.args(words.split_whitespace());
        self.configure(&mut command);
        command
    }

    /// Sets up a command of the project.
    pub(crate) fn configure(&self, command: &mut Command) {
        command
            .current_dir(self.folder.path())
            .env_remove("VIRTUAL_ENV")
            .env("CELERIAC_PYTHON", &self.python)
            .envs(self.environment.iter().map(|(name, value)| (name, value)));
    }

    /// Runs a script that knows all names of the module `proj`, and leaves what it has to say in
    /// `answer`.
    pub(crate) fn run(&self, script: &str) -> Value {
        self.run_in_parts(script, &[])
    }

    /// The same of one that takes long: it prints these lines one after the other, each in time.
    pub(crate) fn run_in_parts(&self, script: &str, parts: &[&str]) -> Value {
        self.play(&format!("from proj import *\n{script}"), parts)
    }

    /// Runs a script that knows nothing.
    pub(crate) fn run_plain(&self, script: &str) -> Value {
        self.play(script, &[])
    }

    fn play(&self, script: &str, parts: &[&str]) -> Value {
        let (start, end) = SCRIPT;
        let path = self.folder.path().join(format!("{}.py", unique("script")));
        fs::write(&path, format!("{start}{script}{end}")).unwrap();
        let path = path.to_str().expect("it is ours");
        let mut child = OwnedChild::start("a script", &self.python, [path], |command| {
            self.configure(command);
        });
        for part in parts {
            child.wait_for_line(part);
        }
        let line = child.wait_for_line("ANSWER ");
        assert!(child.wait().success());
        let (_, answer) = line.split_once("ANSWER ").expect("it was waited for");
        serde_json::from_str(answer).expect("Python writes JSON")
    }

    /// The lines that tasks and handlers have left in a file.
    pub(crate) fn notes(&self, name: &str) -> Vec<String> {
        let text = fs::read_to_string(self.folder.path().join(name)).unwrap_or_default();
        text.lines().map(str::to_owned).collect()
    }

    /// Waits until somebody has left such a line.
    pub(crate) fn wait_for_note(&self, name: &str, line: &str) {
        self.wait_for(name, line, |note| note == line);
    }

    /// Waits until somebody has left a line that contains `text`.
    pub(crate) fn wait_for_note_with(&self, name: &str, text: &str) {
        self.wait_for(name, text, |note| note.contains(text));
    }

    fn wait_for(&self, name: &str, wanted: &str, fits: impl Fn(&str) -> bool) {
        wait_until(&format!("no `{wanted}` in `{name}`"), || {
            self.notes(name).iter().any(|note| fits(note))
        });
    }
}

/// Waits until something is so; `otherwise` says what is wrong if it never is.
pub(crate) fn wait_until(otherwise: &str, is_so: impl Fn() -> bool) {
    let begun = Instant::now();
    while !is_so() {
        assert!(begun.elapsed() < PATIENCE, "{otherwise}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Whether a process exists, and is no zombie.
pub(crate) fn lives(pid: i32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat"));
    stat.is_ok_and(|stat| !stat.rsplit(')').next().unwrap().starts_with(" Z"))
}

fn copy(from: &Path, to: &Path) {
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let to = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            if entry.file_name() != "__pycache__" {
                fs::create_dir(&to).unwrap();
                copy(&entry.path(), &to);
            }
        } else {
            fs::copy(entry.path(), to).unwrap();
        }
    }
}

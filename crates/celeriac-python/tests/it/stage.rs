//! A pool whose children do what the test says.

use std::fs::File;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use celeriac_core::chunk::OutcomeChunk;
use celeriac_core::payload::{ContentType, Payload};
use celeriac_core::runtime::{Conclusion, EncodedResult, Runtime};
use celeriac_core::task::TaskDefinition;
use celeriac_core::{
    CallOptions, Control, Delivery, Executor, Invocation, Limits, Message, QueueName, Reply, Run,
    TaskError, TaskOptions, Work,
};
use celeriac_python::{
    ImportRequest, Interpreter, PoolSettings, PythonApp, PythonPool, StartError,
};
use jiff::Timestamp;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::sync::mpsc;
use tokio::time::timeout;

/// What was said of a call.
#[derive(Debug)]
pub(crate) enum Said {
    Started,
    Stored(EncodedResult),
    Concluded(Conclusion),
    Failed(TaskError),
}

struct Listener(i64, mpsc::UnboundedSender<(i64, Said)>);

impl Listener {
    fn say(&self, said: Said) {
        // The test may have heard enough.
        let _ = self.1.send((self.0, said));
    }
}

impl Reply for Listener {
    fn started(&self) {
        self.say(Said::Started);
    }

    fn outcomes(&self, _: OutcomeChunk) {
        panic!("a runtime answers with conclusions");
    }

    fn failed(&self, error: TaskError) {
        self.say(Said::Failed(error));
    }

    fn concluded(&self, conclusion: Conclusion) {
        self.say(Said::Concluded(conclusion));
    }

    fn stored(&self, result: EncodedResult) {
        self.say(Said::Stored(result));
    }
}

/// A pool, and what it says.
pub(crate) struct Stage {
    pub(crate) pool: PythonPool,
    pub(crate) folder: TempDir,
    heard: mpsc::UnboundedReceiver<(i64, Said)>,
    teller: mpsc::UnboundedSender<(i64, Said)>,
    calls: AtomicI64,
}

pub(crate) fn count(number: usize) -> NonZeroUsize {
    NonZeroUsize::new(number).unwrap()
}

/// Starts the stand-in's fork server.
pub(crate) async fn import(options: Value) -> Result<PythonApp, StartError> {
    let request = ImportRequest {
        version: 1,
        app: "stand_in".to_owned(),
        options: serde_json::from_value(options).unwrap(),
        ..ImportRequest::default()
    };
    let boot = include_str!("stand_in.py");
    PythonApp::import_by(&Interpreter::find(None).unwrap(), boot, request).await
}

impl Stage {
    /// A prefork pool of so many children.
    pub(crate) async fn new(children: usize) -> Self {
        Self::with(PoolSettings::prefork(count(children)), json!({})).await
    }

    pub(crate) async fn with(settings: PoolSettings, options: Value) -> Self {
        let app = import(options).await.unwrap();
        let stage = Self::of(app, settings);
        stage.pool.ready().await.unwrap();
        stage
    }

    pub(crate) fn of(app: PythonApp, settings: PoolSettings) -> Self {
        let (teller, heard) = mpsc::unbounded_channel();
        Self {
            pool: app.start(settings),
            folder: tempfile::tempdir().unwrap(),
            heard,
            teller,
            calls: AtomicI64::new(0),
        }
    }

    /// Sends a call; the number it is heard of by.
    pub(crate) fn call(&self, what: Value) -> i64 {
        self.call_with(what, Limits::NONE).0
    }

    pub(crate) fn call_with(&self, what: Value, limits: Limits) -> (i64, Arc<Control>) {
        self.send("act", what, limits)
    }

    /// Sends a call of any task.
    pub(crate) fn send(&self, task: &str, arguments: Value, limits: Limits) -> (i64, Arc<Control>) {
        let tag = self.calls.fetch_add(1, Ordering::Relaxed) + 1;
        let control = Control::new();
        self.pool.submit(Invocation {
            id: "unused".into(),
            task: &TASK,
            attempt: 1,
            limits,
            control: control.clone(),
            work: Work::Message(delivery(tag, task, &arguments)),
            reply: Arc::new(Listener(tag, self.teller.clone())),
        });
        (tag, control)
    }

    /// Has the end of a call told.
    pub(crate) fn conclude(&self, task: &str, error: TaskError) -> i64 {
        let tag = self.calls.fetch_add(1, Ordering::Relaxed) + 1;
        let reply = Arc::new(Listener(tag, self.teller.clone()));
        self.pool
            .conclude(delivery(tag, task, &json!([])), error, false, reply);
        tag
    }

    /// What is said next.
    pub(crate) async fn next(&mut self) -> (i64, Said) {
        let next = timeout(Duration::from_secs(120), self.heard.recv()).await;
        next.expect("nothing was said in time").unwrap()
    }

    /// Whether something was said that nobody has listened to.
    pub(crate) fn nothing_said(&mut self) -> bool {
        self.heard.try_recv().is_err()
    }

    /// Waits until a call has begun; nothing else may be said meanwhile.
    pub(crate) async fn started(&mut self, tag: i64) {
        match self.next().await {
            (number, Said::Started) => assert_eq!(number, tag),
            other => panic!("{other:?} instead of the start of {tag}"),
        }
    }

    /// Waits for the next end of a call, whatever is said before.
    pub(crate) async fn ended(&mut self) -> (i64, Result<Conclusion, TaskError>) {
        loop {
            match self.next().await {
                (tag, Said::Concluded(conclusion)) => return (tag, Ok(conclusion)),
                (tag, Said::Failed(error)) => return (tag, Err(error)),
                _ => {}
            }
        }
    }

    /// Runs a call that stores one result, and gives what it stored.
    pub(crate) async fn value(&mut self, what: Value) -> Value {
        let tag = self.call(what);
        let (ended, conclusion) = self.ended().await;
        assert_eq!(ended, tag);
        stored(&conclusion.unwrap())
    }

    /// A gate that calls wait at.
    pub(crate) fn gate(&self, name: &str) -> Gate {
        let path = self.folder.path().join(name);
        let done = std::process::Command::new("mkfifo").arg(&path).status();
        assert!(done.unwrap().success());
        Gate { path }
    }
}

/// The only result of a conclusion.
pub(crate) fn stored(conclusion: &Conclusion) -> Value {
    let [result] = &conclusion.results[..] else {
        panic!("{conclusion:?} has not one result");
    };
    let stored: Value = serde_json::from_slice(&result.payload.bytes).unwrap();
    stored["result"].clone()
}

/// A named pipe that calls read until it is opened.
pub(crate) struct Gate {
    path: PathBuf,
}

impl Gate {
    pub(crate) fn path(&self) -> &str {
        self.path.to_str().unwrap()
    }

    /// Lets the calls through that wait. Blocks until there is one.
    pub(crate) fn open(&self) {
        drop(File::options().write(true).open(&self.path).unwrap());
    }
}

fn delivery(tag: i64, task: &str, arguments: &Value) -> Arc<Delivery> {
    let body = Payload::encode(ContentType::Json, &json!([arguments, {}, {}])).unwrap();
    let options = CallOptions {
        id: Some(format!("call-{tag}").as_str().into()),
        ..CallOptions::default()
    };
    let now = Timestamp::UNIX_EPOCH;
    Arc::new(Delivery {
        tag,
        queue: QueueName::default(),
        deliveries: 1,
        revoked: false,
        message: Message::new(task, body, &options, &TaskOptions::DEFAULT, now),
    })
}

pub(crate) static TASK: TaskDefinition = TaskDefinition {
    name: "act",
    signature: "",
    parameters: &[],
    is_async: false,
    wants_context: false,
    options: TaskOptions::DEFAULT,
    call: |_, _, _| Run::Ready(Err(TaskError::lost("it runs in Python"))),
};

/// The processes whose parents are these, and theirs.
pub(crate) fn descendants(of: u32) -> Vec<u32> {
    let mut found = vec![of];
    let mut next = 0;
    while next < found.len() {
        let pid = found[next];
        next += 1;
        for task in std::fs::read_dir(format!("/proc/{pid}/task"))
            .into_iter()
            .flatten()
        {
            let path = task.unwrap().path().join("children");
            let children = std::fs::read_to_string(path).unwrap_or_default();
            found.extend(
                children
                    .split_whitespace()
                    .map(|pid| pid.parse::<u32>().unwrap()),
            );
        }
    }
    found.split_off(1)
}

/// Whether a process exists, and is no zombie.
pub(crate) fn lives(pid: u32) -> bool {
    let status = std::fs::read_to_string(Path::new("/proc").join(pid.to_string()).join("stat"));
    status.is_ok_and(|stat| !stat.rsplit(')').next().unwrap().starts_with(" Z"))
}

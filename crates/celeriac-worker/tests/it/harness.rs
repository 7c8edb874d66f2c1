//! A worker between the fake broker and the stage.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use celeriac_core::task::encode_body;
use celeriac_core::{
    AckProfile, CallOptions, ContentType, ErrorKind, Limits, Message, Registry, RetryPolicy, Run,
    TaskDefinition, TaskOptions,
};
use celeriac_worker::{Finish, Observer, RunningWorker, TaskRef, Worker, WorkerSettings};
use jiff::Timestamp;

use crate::broker::FakeBroker;
use crate::stage::Stage;

const fn task(name: &'static str, options: TaskOptions) -> TaskDefinition {
    TaskDefinition {
        name,
        signature: name,
        parameters: &[],
        is_async: false,
        wants_context: true,
        options,
        call: |_, _, _| Run::Ready(Ok(Vec::new())),
    }
}

static TASKS: [TaskDefinition; 4] = [
    task(
        "plain",
        TaskOptions {
            limits: Limits {
                soft: Some(Duration::from_secs(7)),
                hard: Some(Duration::from_secs(9)),
            },
            ..TaskOptions::DEFAULT
        },
    ),
    task(
        "early",
        TaskOptions {
            ack: AckProfile::Early,
            ..TaskOptions::DEFAULT
        },
    ),
    task(
        "retried",
        TaskOptions {
            retry: RetryPolicy {
                retries: 3,
                ..RetryPolicy::NONE
            },
            ..TaskOptions::DEFAULT
        },
    ),
    task(
        "limited",
        TaskOptions {
            rate_limit: Some(celeriac_core::RateLimit {
                count: 2,
                per: Duration::from_secs(1),
            }),
            ..TaskOptions::DEFAULT
        },
    ),
];

/// A call of `task` without arguments.
pub(crate) fn message(task: &str) -> Message {
    message_with(task, &CallOptions::default())
}

pub(crate) fn message_with(task: &str, options: &CallOptions) -> Message {
    let body = encode_body(ContentType::Json, &()).unwrap();
    Message::new(task, body, options, &TaskOptions::DEFAULT, Timestamp::now())
}

pub(crate) struct Harness {
    pub(crate) broker: FakeBroker,
    pub(crate) stage: Arc<Stage>,
    pub(crate) worker: RunningWorker,
    pub(crate) heard: Arc<Heard>,
}

impl Harness {
    pub(crate) async fn new() -> Self {
        Self::with(2, |_| {}).await
    }

    pub(crate) async fn with(slots: usize, change: impl FnOnce(&mut WorkerSettings)) -> Self {
        let (broker, stage, heard) = (FakeBroker::new(), Stage::new(slots), Arc::default());
        let mut settings = WorkerSettings::default();
        change(&mut settings);
        let registry = Registry::of(&TASKS).unwrap();
        let worker = Worker::new(Arc::new(broker.clone()), stage.clone(), registry, settings)
            .observer(Arc::<Heard>::clone(&heard))
            .start()
            .await
            .unwrap();
        Self {
            broker,
            stage,
            worker,
            heard,
        }
    }

    /// Queues calls of `task` and returns their tags.
    pub(crate) fn push(&self, task: &str, count: usize) -> Vec<i64> {
        (0..count)
            .map(|_| self.broker.push(message(task)))
            .collect()
    }
}

/// What an observer was told, in words.
#[derive(Debug, Default)]
pub(crate) struct Heard(Mutex<Vec<String>>);

impl Heard {
    pub(crate) fn words(&self) -> Vec<String> {
        self.0.lock().unwrap().clone()
    }

    fn hear(&self, word: String) {
        self.0.lock().unwrap().push(word);
    }
}

impl Observer for Heard {
    fn received(&self, call: TaskRef<'_>) {
        self.hear(format!("received {}", call.task));
    }

    fn started(&self, call: TaskRef<'_>) {
        self.hear(format!("started {}", call.task));
    }

    fn retried(&self, call: TaskRef<'_>, why: ErrorKind) {
        self.hear(format!("retried {} {}", call.task, why.as_str()));
    }

    fn finished(&self, call: TaskRef<'_>, how: Finish, runtime: Option<Duration>) {
        self.hear(format!("finished {} {how:?} {runtime:?}", call.task));
    }
}

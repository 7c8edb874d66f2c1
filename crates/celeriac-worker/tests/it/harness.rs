//! A worker between the fake broker and the stage.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use celeriac_core::task::encode_body;
use celeriac_core::{
    AckProfile, Broker, CallOptions, CeleryAcks, Conclusion, ContentType, ErrorKind, Limits,
    Message, Registry, RetryPolicy, Run, TaskDefinition, TaskOptions,
};
use celeriac_worker::{Finish, Observer, RunningWorker, TaskRef, Worker, WorkerSettings};
use jiff::Timestamp;

use crate::broker::FakeBroker;
use crate::stage::Stage;
use crate::troupe::Troupe;

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

/// A task of a runtime.
const fn celery(name: &'static str, late: bool, kind: bool) -> TaskDefinition {
    let acks = CeleryAcks {
        late,
        on_failure: kind,
        on_timeout: kind,
        reject_on_worker_lost: !kind,
    };
    task(
        name,
        TaskOptions {
            ack: AckProfile::Celery(acks),
            ..TaskOptions::DEFAULT
        },
    )
}

/// The tasks of a runtime.
static RUNTIMES: [TaskDefinition; 3] = [
    celery("celery.early", false, true),
    celery("celery.late", true, true),
    // Rejects failures, delivers again what was over its limit or lost its child.
    celery("celery.strict", true, false),
];

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
    pub(crate) troupe: Arc<Troupe>,
    pub(crate) worker: RunningWorker,
    pub(crate) heard: Arc<Heard>,
}

impl Harness {
    pub(crate) async fn new() -> Self {
        Self::with(2, |_| {}).await
    }

    pub(crate) async fn with(slots: usize, change: impl FnOnce(&mut WorkerSettings)) -> Self {
        let make = |broker, troupe: &Troupe, settings| {
            let registry = Registry::of(&TASKS).unwrap();
            Worker::new(broker, troupe.stage.clone(), registry, settings)
        };
        Self::started(slots, change, make).await
    }

    /// A worker whose tasks belong to a runtime.
    pub(crate) async fn for_runtime(
        slots: usize,
        change: impl FnOnce(&mut WorkerSettings),
    ) -> Self {
        let make = |broker, troupe: &Troupe, settings| {
            let registry = Registry::of(TASKS.iter().chain(&RUNTIMES)).unwrap();
            Worker::for_runtime(broker, Arc::new(troupe.clone()), registry, settings)
        };
        Self::started(slots, change, make).await
    }

    async fn started(
        slots: usize,
        change: impl FnOnce(&mut WorkerSettings),
        make: impl FnOnce(Arc<dyn Broker>, &Troupe, WorkerSettings) -> Worker,
    ) -> Self {
        let (broker, stage, heard) = (FakeBroker::new(), Stage::new(slots), Arc::default());
        let troupe = Arc::new(Troupe::new(stage.clone()));
        let mut settings = WorkerSettings::default();
        change(&mut settings);
        let worker = make(Arc::new(broker.clone()), &troupe, settings)
            .observer(Arc::<Heard>::clone(&heard))
            .start()
            .await
            .unwrap();
        Self {
            broker,
            stage,
            troupe,
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

    fn concluded(&self, call: TaskRef<'_>, conclusion: &Conclusion) {
        self.hear(format!("concluded {} {:?}", call.task, conclusion.end));
    }

    fn retried(&self, call: TaskRef<'_>, why: ErrorKind) {
        self.hear(format!("retried {} {}", call.task, why.as_str()));
    }

    fn finished(&self, call: TaskRef<'_>, how: Finish, runtime: Option<Duration>) {
        self.hear(format!("finished {} {how:?} {runtime:?}", call.task));
    }
}

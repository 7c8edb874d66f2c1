//! Submits calls and gathers their outcomes.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::sync::mpsc::{self, Receiver, Sender};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use celeriac_core::chunk::ChunkBuilder;
use celeriac_core::outcome::{Outcome, TaskError};
use celeriac_core::payload::{ContentType, Payload};
use celeriac_core::task::{Task, push_body};
use celeriac_core::{
    Control, Executor, Invocation, Limits, OutcomeChunk, Reply, ShutdownMode, TaskId, Work,
};
use celeriac_executor::processes::{ProcessPool, ProcessSettings};

/// No wait in these tests is longer.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

pub(crate) fn settings(children: usize) -> ProcessSettings {
    ProcessSettings {
        children: children.try_into().unwrap(),
        ..ProcessSettings::default()
    }
}

pub(crate) fn pool(children: usize) -> ProcessPool {
    ProcessPool::start(settings(children)).unwrap()
}

pub(crate) fn coroutine_pool(children: usize, coroutines: usize) -> ProcessPool {
    ProcessPool::start(ProcessSettings {
        coroutines: Some(coroutines.try_into().unwrap()),
        ..settings(children)
    })
    .unwrap()
}

enum News {
    Started,
    Outcomes(OutcomeChunk),
    Failed(TaskError),
}

struct Line(Mutex<Sender<News>>);

impl Line {
    fn send(&self, news: News) {
        let _ = self.0.lock().unwrap().send(news);
    }
}

impl Reply for Line {
    fn started(&self) {
        self.send(News::Started);
    }
    fn outcomes(&self, outcomes: OutcomeChunk) {
        self.send(News::Outcomes(outcomes));
    }
    fn failed(&self, error: TaskError) {
        self.send(News::Failed(error));
    }
}

/// Calls that were submitted together.
pub(crate) struct Calls {
    pub(crate) control: Arc<Control>,
    /// How long the calls answered so far ran, together.
    pub(crate) busy: Duration,
    news: Receiver<News>,
    count: usize,
    started: bool,
    outcomes: BTreeMap<usize, Outcome<Payload>>,
}

/// What a test may set about an invocation.
pub(crate) struct Order {
    pub(crate) limits: Limits,
    pub(crate) content_type: ContentType,
    pub(crate) id: TaskId,
}

impl Default for Order {
    fn default() -> Self {
        Self {
            limits: Limits::NONE,
            content_type: ContentType::Msgpack,
            id: TaskId::new(),
        }
    }
}

fn limited(limits: Limits) -> Order {
    Order {
        limits,
        ..Order::default()
    }
}

pub(crate) fn hard(ms: u64) -> Order {
    limited(Limits {
        hard: Some(Duration::from_millis(ms)),
        soft: None,
    })
}

pub(crate) fn soft(ms: u64) -> Order {
    limited(Limits {
        soft: Some(Duration::from_millis(ms)),
        hard: None,
    })
}

pub(crate) fn submit<T: Task>(
    pool: &ProcessPool,
    order: Order,
    calls: impl IntoIterator<Item = T::Args>,
) -> Calls {
    let mut chunk = ChunkBuilder::new(order.content_type);
    for args in calls {
        push_body(&mut chunk, &args).unwrap();
    }
    let count = chunk.len();
    let (sender, news) = mpsc::channel();
    let control = Control::new();
    pool.submit(Invocation {
        id: order.id,
        task: T::DEFINITION,
        attempt: 1,
        limits: order.limits,
        control: control.clone(),
        work: Work::Encoded(chunk.finish()),
        reply: Arc::new(Line(Mutex::new(sender))),
    });
    Calls {
        control,
        busy: Duration::ZERO,
        news,
        count,
        started: false,
        outcomes: BTreeMap::new(),
    }
}

pub(crate) fn chunk<T: Task>(
    pool: &ProcessPool,
    calls: impl IntoIterator<Item = T::Args>,
) -> Calls {
    submit::<T>(pool, Order::default(), calls)
}

pub(crate) fn one<T: Task>(pool: &ProcessPool, args: T::Args) -> Calls {
    chunk::<T>(pool, [args])
}

/// Runs one call to its end.
pub(crate) fn call<T: Task>(pool: &ProcessPool, args: T::Args) -> Outcome<T::Output> {
    one::<T>(pool, args).only::<T>()
}

impl Calls {
    fn hear(&mut self) {
        let news = self.news.recv_timeout(PATIENCE).expect("news in time");
        match news {
            News::Started => {
                assert!(!self.started, "it was started twice");
                self.started = true;
            }
            News::Outcomes(outcomes) => {
                assert!(!outcomes.is_empty());
                self.busy += outcomes.busy;
                for (index, outcome) in (outcomes.first..).zip(outcomes.payloads()) {
                    assert!(index < self.count);
                    let before = self.outcomes.insert(index, outcome);
                    assert!(before.is_none(), "call {index} has two outcomes");
                }
            }
            News::Failed(error) => {
                for index in 0..self.count {
                    self.outcomes
                        .entry(index)
                        .or_insert_with(|| Err(error.clone()));
                }
            }
        }
    }

    pub(crate) fn wait_started(&mut self) {
        while !self.started {
            self.hear();
        }
    }

    /// Waits until `count` outcomes are there.
    pub(crate) fn wait_for(&mut self, count: usize) {
        while self.outcomes.len() < count {
            self.hear();
        }
    }

    pub(crate) fn is_started(&self) -> bool {
        self.started
    }

    /// Every outcome in the order of the calls.
    pub(crate) fn all<T: Task>(mut self) -> Vec<Outcome<T::Output>> {
        self.wait_for(self.count);
        assert!(self.news.try_recv().is_err(), "news after the last outcome");
        self.outcomes
            .into_values()
            .map(|outcome| outcome.map(|payload| payload.decode().unwrap()))
            .collect()
    }

    pub(crate) fn only<T: Task>(self) -> Outcome<T::Output> {
        let mut all = self.all::<T>();
        assert_eq!(all.len(), 1);
        all.remove(0)
    }
}

/// Runs a shutdown to its end on this thread, and says how long it took.
pub(crate) fn shut_down(pool: &ProcessPool, mode: ShutdownMode) -> Duration {
    let begun = Instant::now();
    tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap()
        .block_on(pool.shutdown(mode));
    begun.elapsed()
}

/// Looks until `ready` gives something.
pub(crate) fn until<V>(what: &str, mut ready: impl FnMut() -> Option<V>) -> V {
    let begun = Instant::now();
    loop {
        if let Some(value) = ready() {
            return value;
        }
        assert!(begun.elapsed() < PATIENCE, "{what} did not happen");
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// The lines of a ledger.
pub(crate) fn lines(path: &str) -> Vec<String> {
    fs::read_to_string(path)
        .unwrap_or_default()
        .lines()
        .map(str::to_owned)
        .collect()
}

pub(crate) fn wait_for_line(path: &str) {
    until("a note", || (!lines(path).is_empty()).then_some(()));
}

/// A fresh directory, and the path of a ledger in it.
pub(crate) fn ledger() -> (tempfile::TempDir, String) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("ledger").display().to_string();
    (folder, path)
}

pub(crate) fn is_alive(pid: u32) -> bool {
    // A zombie still has a directory, but no memory.
    fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| {
        !stat
            .rsplit(')')
            .next()
            .unwrap_or("")
            .trim_start()
            .starts_with('Z')
    })
}

/// Whether the process table has it, dead or alive.
pub(crate) fn exists(pid: u32) -> bool {
    Path::new(&format!("/proc/{pid}")).exists()
}

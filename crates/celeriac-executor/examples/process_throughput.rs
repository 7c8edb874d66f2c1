//! Measures the process pool: empty calls, large bodies, a cold start.
//!
//! `cargo run --release -p celeriac-executor --example process_throughput`

use std::error::Error;
use std::io::{self, Write as _};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use celeriac_core::chunk::ChunkBuilder;
use celeriac_core::outcome::{Outcome, TaskError};
use celeriac_core::payload::ContentType;
use celeriac_core::registry::TASKS;
use celeriac_core::task::{Run, Task, TaskDefinition, TaskOptions, call_encoded, push_body};
use celeriac_core::{
    Context, Control, Executor, Invocation, Limits, OutcomeChunk, Reply, TaskId, Work,
};
use celeriac_executor::processes::{ProcessPool, ProcessSettings};

/// Returns its number.
enum Empty {}

impl Task for Empty {
    type Input = u64;
    type Args = (u64,);
    type Output = u64;
    const DEFINITION: &'static TaskDefinition = &TaskDefinition {
        name: "empty",
        signature: "empty(n: u64) -> u64",
        parameters: &["n"],
        is_async: false,
        wants_context: false,
        options: TaskOptions::DEFAULT,
        call: call_encoded::<Empty>,
    };

    fn args(input: u64) -> (u64,) {
        (input,)
    }

    fn run((n,): (u64,), _: &Context) -> Run<Outcome<u64>> {
        Run::Ready(Ok(n))
    }
}

#[linkme::distributed_slice(TASKS)]
static EMPTY: &TaskDefinition = Empty::DEFINITION;

/// Returns its bytes.
enum Echo {}

impl Task for Echo {
    type Input = Bytes;
    type Args = (Bytes,);
    type Output = Bytes;
    const DEFINITION: &'static TaskDefinition = &TaskDefinition {
        name: "echo",
        signature: "echo(body: Bytes) -> Bytes",
        parameters: &["body"],
        is_async: false,
        wants_context: false,
        options: TaskOptions::DEFAULT,
        call: call_encoded::<Echo>,
    };

    fn args(input: Bytes) -> (Bytes,) {
        (input,)
    }

    fn run((body,): (Bytes,), _: &Context) -> Run<Outcome<Bytes>> {
        Run::Ready(Ok(body))
    }
}

#[linkme::distributed_slice(TASKS)]
static ECHO: &TaskDefinition = Echo::DEFINITION;

/// Counts outcomes as a client would: each value is decoded.
#[derive(Default)]
struct Tally {
    under_way: Mutex<usize>,
    changed: Condvar,
    sum: AtomicUsize,
}

impl Tally {
    /// Waits until fewer than `limit` calls are under way, and adds `more`.
    fn enter(&self, limit: usize, more: usize) {
        let count = self
            .under_way
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let mut count = self
            .changed
            .wait_while(count, |count| *count >= limit)
            .unwrap_or_else(PoisonError::into_inner);
        *count += more;
    }

    fn drain(&self) {
        self.enter(1, 0);
    }
}

struct Counted<T>(Arc<Tally>, usize, std::marker::PhantomData<fn() -> T>);

impl<T: Task<Output: Weight>> Reply for Counted<T> {
    fn outcomes(&self, outcomes: OutcomeChunk) {
        let mut weight = 0;
        for payload in outcomes.payloads() {
            let value: Result<T::Output, _> = payload.expect("no call fails").decode();
            weight += value.expect("it is what the task returned").weight();
        }
        self.0.sum.fetch_add(weight, Ordering::Relaxed);
        let mut count = self
            .0
            .under_way
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let before = *count;
        *count -= outcomes.len();
        // Waking the sender costs more than the call did, so it is done now and then.
        if *count == 0 || before / self.1 != *count / self.1 {
            self.0.changed.notify_one();
        }
    }

    fn failed(&self, error: TaskError) {
        let _ = writeln!(io::stderr(), "failed: {error}");
    }
}

trait Weight {
    fn weight(&self) -> usize;
}

impl Weight for u64 {
    fn weight(&self) -> usize {
        1
    }
}

impl Weight for Bytes {
    fn weight(&self) -> usize {
        self.len()
    }
}

/// Sends `count` calls in chunks of `size`, at most `limit` calls under way; says how long it took.
fn measure<T: Task<Output: Weight>>(
    pool: &ProcessPool,
    count: usize,
    size: usize,
    limit: usize,
    args: impl Fn(usize) -> T::Args,
) -> Duration {
    let tally = Arc::new(Tally::default());
    let begun = Instant::now();
    for first in (0..count).step_by(size) {
        let mut chunk = ChunkBuilder::new(ContentType::Msgpack);
        for n in first..(first + size).min(count) {
            push_body(&mut chunk, &args(n)).expect("the arguments can be encoded");
        }
        tally.enter(limit, chunk.len());
        pool.submit(Invocation {
            id: TaskId::new(),
            task: T::DEFINITION,
            attempt: 1,
            limits: Limits::NONE,
            control: Control::new(),
            work: Work::Encoded(chunk.finish()),
            reply: Arc::new(Counted::<T>(
                tally.clone(),
                limit / 2,
                std::marker::PhantomData,
            )),
        });
    }
    tally.drain();
    begun.elapsed()
}

fn main() -> Result<(), Box<dyn Error>> {
    let settings = ProcessSettings {
        children: 2.try_into()?,
        ..ProcessSettings::default()
    };
    let mut out = io::stdout();
    let mut starts = Vec::new();
    for _ in 0..10 {
        let begun = Instant::now();
        let pool = ProcessPool::start(settings)?;
        measure::<Empty>(&pool, 2, 1, 10, |n| (n as u64,));
        starts.push(begun.elapsed());
    }
    starts.sort();
    writeln!(
        out,
        "cold start of 2 and a call: median {:?}, worst {:?}",
        starts[5], starts[9]
    )?;

    let pool = ProcessPool::start(settings)?;
    for (count, size, limit) in [
        (200_000, 1, 1024),
        (2_000_000, 100, 20_000),
        (10_000_000, 1000, 50_000),
    ] {
        for _ in 0..3 {
            let took = measure::<Empty>(&pool, count, size, limit, |n| (n as u64,));
            let rate = f64::from(u32::try_from(count)?) / took.as_secs_f64();
            writeln!(out, "empty calls, chunks of {size}: {rate:.0}/s")?;
        }
    }
    let body: Bytes = vec![7; 1_000_000].into();
    for _ in 0..3 {
        let took = measure::<Echo>(&pool, 1000, 1, 8, |_| (body.clone(),));
        let rate = 1000.0 / took.as_secs_f64();
        writeln!(
            out,
            "bodies of 1 MB there and back: {rate:.0} MB/s each way"
        )?;
    }
    Ok(())
}

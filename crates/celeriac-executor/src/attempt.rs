//! Runs one invocation in this process: on the current thread, or as a future.
//!
//! # Invariants
//!
//! - A plain function cannot be stopped: at its hard limit its outcome is a time-out, and what it
//!   returns later is dropped by the reply. A future is dropped at its next await.
//! - Time limits hold for an invocation as a whole, so callers that set them send single calls.

use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::{Duration, Instant};

use celeriac_core::task::EncodedCall;
use celeriac_core::{
    Chunk, Context, Control, ErrorKind, Interrupt, Invocation, Limits, Outcome, OutcomeChunk,
    Reply, Run, Scope, TaskDefinition, TaskError, Work,
};
use tokio::task::AbortHandle;
use tokio::time::sleep;

use crate::drive::{block_on, reactor};

/// A future that runs longer than this without an await holds up its neighbours.
const BLOCKING: Duration = Duration::from_millis(100);

/// Runs `invocation` to its end on this thread; `on_hard_limit` is called, elsewhere, if that takes
/// longer than its hard limit.
pub(crate) fn run_here(invocation: Invocation, on_hard_limit: impl FnOnce() + Send + 'static) {
    let Some(attempt) = Attempt::start(invocation) else {
        return;
    };
    if attempt.task.is_async {
        return block_on(attempt.run());
    }
    let Attempt {
        task,
        work,
        limits,
        control,
        reply,
        context,
    } = attempt;
    let _alarm = Alarm::set(limits, &control, &reply, on_hard_limit);
    within(reply.scope().as_deref(), || match work {
        Work::Local(call) => match call(&context) {
            Run::Ready(()) => {}
            Run::Pending(future) => block_on(future),
        },
        Work::Shared(calls) => while calls.run(&context, None) {},
        Work::Encoded(chunk) => {
            reply.outcomes(run_chunk(task.call, &chunk, &control, &context));
        }
        // It was refused before it began.
        Work::Message(_) => {}
    });
}

/// Runs `calls` in their scope, if they have one.
fn within(scope: Option<&dyn Scope>, calls: impl FnOnce()) {
    let Some(scope) = scope else { return calls() };
    let mut calls = Some(calls);
    scope.within(&mut || {
        if let Some(calls) = calls.take() {
            calls();
        }
    });
}

/// Runs the invocation of an `async` task as a future.
pub(crate) async fn run_as_future(invocation: Invocation) {
    if let Some(attempt) = Attempt::start(invocation) {
        attempt.run().await;
    }
}

/// An invocation that nobody called off before its start.
struct Attempt {
    task: &'static TaskDefinition,
    work: Work,
    limits: Limits,
    control: Arc<Control>,
    reply: Arc<dyn Reply>,
    context: Context,
}

impl Attempt {
    fn start(invocation: Invocation) -> Option<Self> {
        let context = begin(&invocation)?;
        let Invocation {
            task,
            limits,
            control,
            work,
            reply,
            ..
        } = invocation;
        Some(Self {
            task,
            work,
            limits,
            control,
            reply,
            context,
        })
    }

    /// Runs the calls of an `async` function, each step of them in their scope.
    async fn run(self) {
        let scope = self.reply.scope();
        let mut calls = pin!(self.run_calls());
        std::future::poll_fn(|context| {
            let mut polled = Poll::Pending;
            within(scope.as_deref(), || polled = calls.as_mut().poll(context));
            polled
        })
        .await;
    }

    /// Runs them one after another, within their limits.
    async fn run_calls(self) {
        let Self {
            task,
            limits,
            ref control,
            ..
        } = self;
        match self.work {
            Work::Local(call) => {
                if let Run::Pending(future) = call(&self.context)
                    && let Err(error) = bounded(task, future, limits, control).await
                {
                    self.reply.failed(error);
                }
            }
            // Only calls of plain functions are shared.
            Work::Shared(calls) => while calls.run(&self.context, None) {},
            Work::Encoded(chunk) => {
                let start = Instant::now();
                let mut outcomes = OutcomeChunk::builder(chunk.content_type(), 0);
                for (index, body) in chunk.iter().enumerate() {
                    let context = self.context.nth(index);
                    outcomes.push(&match (task.call)(chunk.content_type(), body, &context) {
                        Run::Ready(outcome) => outcome,
                        Run::Pending(future) => bounded(task, future, limits, control)
                            .await
                            .and_then(|outcome| outcome),
                    });
                }
                self.reply.outcomes(outcomes.finish(start.elapsed()));
            }
            // It was refused before it began.
            Work::Message(_) => {}
        }
    }
}

/// Tells that an invocation starts, and makes its context, unless somebody has called it off.
pub(crate) fn begin(invocation: &Invocation) -> Option<Context> {
    let Invocation {
        id,
        attempt,
        limits,
        control,
        work,
        reply,
        ..
    } = invocation;
    if let Some(interrupt) = control.interrupted() {
        reply.failed(TaskError::interrupted(interrupt));
        return None;
    }
    if let Work::Message(_) = work {
        let reason = "it came as a message, which only the runtime of its program can read";
        reply.failed(TaskError::new(ErrorKind::BadArguments, reason));
        return None;
    }
    reply.started();
    let deadline = limits.first().map(|limit| Instant::now() + limit);
    let context = Context::new(id.clone(), *attempt, deadline, control.clone());
    Some(match work {
        Work::Encoded(chunk) => context.encoded_in(chunk.content_type()),
        Work::Local(_) | Work::Shared(_) | Work::Message(_) => context,
    })
}

/// Runs the calls of a plain function one after another.
fn run_chunk(
    call: EncodedCall,
    chunk: &Chunk,
    control: &Control,
    context: &Context,
) -> OutcomeChunk {
    let start = Instant::now();
    let mut outcomes = OutcomeChunk::builder(chunk.content_type(), 0);
    for (index, body) in chunk.iter().enumerate() {
        outcomes.push(&match control.interrupted() {
            Some(interrupt) if index > 0 => Err(TaskError::interrupted(interrupt)),
            _ => match call(chunk.content_type(), body, &context.nth(index)) {
                Run::Ready(outcome) => outcome,
                Run::Pending(future) => block_on(future),
            },
        });
    }
    outcomes.finish(start.elapsed())
}

/// Polls `future` until it is done, cancelled or past its hard limit, whichever is first.
async fn bounded<V>(
    task: &'static TaskDefinition,
    future: impl Future<Output = V>,
    limits: Limits,
    control: &Control,
) -> Outcome<V> {
    let soft = async {
        match limits.soft {
            Some(limit) => {
                sleep(limit).await;
                control.interrupt(Interrupt::SoftTimeLimit);
                std::future::pending().await
            }
            None => std::future::pending().await,
        }
    };
    let hard = async {
        match limits.hard {
            Some(limit) => {
                sleep(limit).await;
                limit
            }
            None => std::future::pending().await,
        }
    };
    tokio::select! {
        biased;
        value = timed(task, future) => Ok(value),
        interrupt = control.wait_cancelled() => Err(TaskError::interrupted(interrupt)),
        limit = hard => Err(TaskError::time_limit(limit)),
        never = soft => never,
    }
}

/// Polls `future` and warns of each poll that held its thread for long.
async fn timed<V>(task: &'static TaskDefinition, future: impl Future<Output = V>) -> V {
    let mut future = std::pin::pin!(future);
    std::future::poll_fn(|context| {
        let start = Instant::now();
        let poll = future.as_mut().poll(context);
        let blocked = start.elapsed();
        if blocked > BLOCKING {
            tracing::warn!(
                task.name = task.name,
                blocked_ms = u64::try_from(blocked.as_millis()).unwrap_or(u64::MAX),
                "task blocked its event loop; move the blocking part to `spawn_blocking`, or run \
                 the task on threads or processes"
            );
        }
        poll
    })
    .await
}

/// The time limits of a plain function, watched from outside until dropped.
struct Alarm(Option<AbortHandle>);

impl Alarm {
    fn set(
        limits: Limits,
        control: &Arc<Control>,
        reply: &Arc<dyn Reply>,
        on_hard_limit: impl FnOnce() + Send + 'static,
    ) -> Self {
        if !limits.any() {
            return Self(None);
        }
        let (control, reply) = (control.clone(), reply.clone());
        let start = tokio::time::Instant::now();
        let watch = reactor().spawn(async move {
            if let Some(soft) = limits.soft {
                tokio::time::sleep_until(start + soft).await;
                control.interrupt(Interrupt::SoftTimeLimit);
            }
            if let Some(hard) = limits.hard {
                tokio::time::sleep_until(start + hard).await;
                reply.failed(TaskError::time_limit(hard));
                control.interrupt(Interrupt::Cancelled);
                on_hard_limit();
            }
        });
        Self(Some(watch.abort_handle()))
    }
}

impl Drop for Alarm {
    fn drop(&mut self) {
        if let Some(watch) = &self.0 {
            watch.abort();
        }
    }
}

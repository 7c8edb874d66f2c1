//! A child that runs many calls at once, as coroutines.
//!
//! Hard limits and cancellation are kept in here, at the next `await`; the parent only steps in if a
//! call blocks the runtime. Plain functions run on threads of their own and cannot be ended.

use std::future::{pending, poll_fn};
use std::io;
use std::os::fd::OwnedFd;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use celeriac_core::outcome::{Outcome, TaskError};
use celeriac_core::task::Run;
use celeriac_core::{BoxFuture, Control, Interrupt};
use futures_util::future::{Either, select};
use tokio::runtime::Builder;
use tokio::time::sleep;

use super::super::arena::CallName;
use super::Inside;
use super::inboxes::Inboxes;
use super::input::Input;
use super::order::{Order, begin, records};
use crate::os;

/// Two, so that one coroutine that blocks does not stop the timers of the others.
const WORKERS: usize = 2;

/// Threads for plain functions stay: a signal stack is leaked with each.
const FOREVER: Duration = Duration::from_secs(365 * 24 * 60 * 60);

/// Runs what comes until the parent hangs up.
pub(super) fn serve(inside: &Arc<Inside>, socket: OwnedFd) -> io::Result<()> {
    let count = inside.arena.shape().lanes;
    let runtime = Builder::new_multi_thread()
        .worker_threads(WORKERS)
        .max_blocking_threads(count)
        .thread_keep_alive(FOREVER)
        .thread_name("celeriac-coroutine")
        .on_thread_start(os::guard_stack)
        .enable_all()
        .build()?;
    let lanes = Arc::new(Lanes::new(count));
    let mut input = Input::new(socket);
    let mut inboxes = Inboxes::default();
    loop {
        while let Some(frame) = input.next()? {
            let Some((order, chunk)) = accept(inside, frame, &mut inboxes)? else {
                continue;
            };
            for (index, record) in (0..order.count).zip(records(&chunk)) {
                let call = Call {
                    inside: inside.clone(),
                    order: order.clone(),
                    index,
                    record: chunk.slice_ref(record),
                    lanes: lanes.clone(),
                    lane: lanes.take(),
                };
                call.begin();
                runtime.spawn(call.run());
            }
        }
        if !input.fill()? {
            runtime.shutdown_background();
            return Ok(());
        }
    }
}

/// Reads a request, unless the parent took it back.
fn accept(
    inside: &Inside,
    frame: &[u8],
    inboxes: &mut Inboxes,
) -> io::Result<Option<(Arc<Order>, Bytes)>> {
    let (order, header, inline) = Order::read(frame)?;
    if !inside.arena.board().claim(header.seat, header.serial) {
        return Ok(None);
    }
    let chunk = Bytes::copy_from_slice(inside.body(&header, inline, inboxes)?);
    inboxes.tidy();
    Ok(Some((Arc::new(order), chunk)))
}

/// The lanes that run nothing.
struct Lanes {
    count: usize,
    free: Mutex<Vec<usize>>,
    freed: Condvar,
}

impl Lanes {
    fn new(count: usize) -> Self {
        Self {
            count,
            free: Mutex::new((0..count).rev().collect()),
            freed: Condvar::new(),
        }
    }

    /// Waits for a free lane.
    fn take(&self) -> usize {
        let free = self.free.lock().unwrap_or_else(PoisonError::into_inner);
        self.freed
            .wait_while(free, |free| free.is_empty())
            .unwrap_or_else(PoisonError::into_inner)
            .pop()
            .expect("it waited for one")
    }

    /// Gives a lane back; says whether all are free now.
    fn give(&self, lane: usize) -> bool {
        let mut free = self.free.lock().unwrap_or_else(PoisonError::into_inner);
        free.push(lane);
        self.freed.notify_one();
        free.len() == self.count
    }
}

/// One call in its lane.
struct Call {
    inside: Arc<Inside>,
    order: Arc<Order>,
    index: u32,
    record: Bytes,
    lanes: Arc<Lanes>,
    lane: usize,
}

impl Call {
    fn name(&self) -> CallName {
        self.order.name(self.index)
    }

    fn begin(&self) {
        let since = self.order.stamp();
        self.inside
            .arena
            .board()
            .begin(self.lane, self.name(), since);
    }

    async fn run(self) {
        let outcome = match self.inside.unwanted(&self.order) {
            Some(error) => Err(error),
            None => self.outcome().await,
        };
        self.inside.answer(&self.order, self.index, outcome);
        self.inside.arena.board().rest(self.lane);
        if self.lanes.give(self.lane) {
            self.inside.outbox.flush();
        } else {
            self.inside.watch.arm();
        }
    }

    async fn outcome(&self) -> Outcome<Vec<u8>> {
        let control = self.inside.control(self.order.about(self.index));
        let (arena, seat) = (self.inside.arena, self.order.ticket.seat);
        let name = self.name();
        let _hearing = (self.inside.watch).listen(arena, seat, self.lane, name, &control);
        let ended = Box::pin(self.ended(&control));
        match select(Box::pin(self.finish(&control)), ended).await {
            Either::Left((outcome, _)) => outcome,
            Either::Right((error, _)) => Err(error),
        }
    }

    /// Runs the call to its end.
    async fn finish(&self, control: &Arc<Control>) -> Outcome<Vec<u8>> {
        let context = self.order.context(self.index, control.clone());
        if self.order.task.is_async {
            return match begin(&self.order, &self.record, &context) {
                Run::Ready(outcome) => outcome,
                Run::Pending(future) => self.in_turns(future).await,
            };
        }
        let (inside, name) = (self.inside.clone(), self.name());
        let (order, record) = (self.order.clone(), self.record.clone());
        let run = tokio::task::spawn_blocking(move || {
            let _turn = inside.watch.turn(name);
            begin(&order, &record, &context)
        });
        match run.await {
            Ok(Run::Ready(outcome)) => outcome,
            Ok(Run::Pending(future)) => future.await,
            Err(error) => Err(TaskError::lost(format!("its thread ended: {error}"))),
        }
    }

    /// Takes a turn for each poll of a future that has a soft limit.
    async fn in_turns<V>(&self, mut future: BoxFuture<'static, V>) -> V {
        if self.order.soft.is_none() {
            return future.await;
        }
        poll_fn(|context| {
            let _turn = self.inside.watch.turn(self.name());
            future.as_mut().poll(context)
        })
        .await
    }

    /// Resolves when the call has to end, with the reason.
    async fn ended(&self, control: &Control) -> TaskError {
        let limited = Box::pin(self.limited());
        let cancelled = Box::pin(control.wait_cancelled());
        match select(limited, cancelled).await {
            Either::Left((error, _)) => error,
            Either::Right((Interrupt::Shutdown, _)) => TaskError::shutdown(),
            Either::Right(_) => TaskError::cancelled(),
        }
    }

    /// Resolves at the hard limit.
    async fn limited(&self) -> TaskError {
        match self.order.hard {
            Some(hard) => {
                sleep(hard).await;
                TaskError::time_limit(hard)
            }
            None => pending().await,
        }
    }
}

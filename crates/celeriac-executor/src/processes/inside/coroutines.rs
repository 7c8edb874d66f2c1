//! A child that runs many calls at once, as coroutines.
//!
//! Limits and cancellation are kept in here, at the next `await`; the parent only steps in if a call
//! blocks the runtime. Plain functions run on threads of their own and cannot be ended.

use std::future::pending;
use std::io;
use std::os::fd::OwnedFd;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use celeriac_core::outcome::{Outcome, TaskError};
use celeriac_core::task::Run;
use celeriac_core::{Control, Interrupt};
use futures_util::future::{Either, select};
use tokio::runtime::Builder;
use tokio::time::sleep;

use super::super::arena::CallName;
use super::super::clock;
use super::super::wire::{Fields, RUN, RunHeader};
use super::inboxes::Inboxes;
use super::input::Input;
use super::{Inside, Order, begin, records};
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
    let unknown = || io::Error::other("its parent sent a frame it does not know");
    let mut fields = Fields(frame);
    if fields.u8() != Some(RUN) {
        return Err(unknown());
    }
    let header = RunHeader::read(&mut fields).ok_or_else(unknown)?;
    let order = Order::new(&header).ok_or_else(unknown)?;
    if !inside.arena.claim(header.seat, header.serial) {
        return Ok(None);
    }
    let chunk = Bytes::copy_from_slice(inside.body(&header, fields.0, inboxes)?);
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
        CallName {
            serial: self.order.ticket.serial,
            index: self.index,
        }
    }

    fn begin(&self) {
        let since = self.order.hard.map(|_| clock::now());
        self.inside.arena.begin(self.lane, self.name(), since);
    }

    async fn run(self) {
        let outcome = match self.inside.unwanted(&self.order) {
            Some(error) => Err(error),
            None => self.outcome().await,
        };
        self.inside.answer(&self.order, self.index, outcome);
        self.inside.arena.rest(self.lane);
        if self.lanes.give(self.lane) {
            self.inside.outbox.flush();
        } else {
            self.inside.watch.arm();
        }
    }

    async fn outcome(&self) -> Outcome<Vec<u8>> {
        let control = self.control();
        let ended = Box::pin(self.ended(&control));
        let outcome = match select(Box::pin(self.finish(&control)), ended).await {
            Either::Left((outcome, _)) => outcome,
            Either::Right((error, _)) => Err(error),
        };
        self.inside.watch.unlisten(self.name());
        outcome
    }

    /// A control that hears the parent and tells it of progress.
    fn control(&self) -> Arc<Control> {
        let control = Control::new();
        let inside = self.inside.clone();
        let about = self.order.about(self.index);
        control.on_progress(move |progress| {
            inside.outbox.progress(about, progress);
            inside.watch.arm();
        });
        let seat = self.order.ticket.seat;
        self.inside
            .watch
            .listen(self.inside.arena, seat, self.name(), &control, None);
        control
    }

    /// Runs the call to its end.
    async fn finish(&self, control: &Arc<Control>) -> Outcome<Vec<u8>> {
        let context = self.order.context(self.index, control.clone());
        if self.order.task.is_async {
            return match begin(&self.order, &self.record, &context) {
                Run::Ready(outcome) => outcome,
                Run::Pending(future) => future.await,
            };
        }
        let (order, record) = (self.order.clone(), self.record.clone());
        let run = tokio::task::spawn_blocking(move || begin(&order, &record, &context));
        match run.await {
            Ok(Run::Ready(outcome)) => outcome,
            Ok(Run::Pending(future)) => future.await,
            Err(error) => Err(TaskError::lost(format!("its thread ended: {error}"))),
        }
    }

    /// Resolves when the call has to end, with the reason.
    async fn ended(&self, control: &Control) -> TaskError {
        let limited = Box::pin(self.limited(control));
        let cancelled = Box::pin(control.wait_cancelled());
        match select(limited, cancelled).await {
            Either::Left((error, _)) => error,
            Either::Right((Interrupt::Shutdown, _)) => TaskError::shutdown(),
            Either::Right(_) => TaskError::cancelled(),
        }
    }

    /// Interrupts the call at its soft limit, and resolves at its hard one.
    async fn limited(&self, control: &Control) -> TaskError {
        let soft = self.order.soft;
        if let Some(soft) = soft
            && self.order.hard.is_none_or(|hard| soft < hard)
        {
            sleep(soft).await;
            control.interrupt(Interrupt::SoftTimeLimit);
        }
        let Some(hard) = self.order.hard else {
            return pending().await;
        };
        sleep(hard.saturating_sub(soft.unwrap_or_default())).await;
        TaskError::time_limit(hard)
    }
}

//! A child that runs one call after another.

use std::io;
use std::os::fd::OwnedFd;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use celeriac_core::outcome::{Outcome, TaskError};
use celeriac_core::task::Run;
use celeriac_core::{BoxFuture, Context, Control, Interrupt};
use futures_util::future::{Either, select};
use tokio::runtime::{Builder, Runtime};

use super::Inside;
use super::inboxes::Inboxes;
use super::input::Input;
use super::order::{Order, begin, records};

/// The only one.
const LANE: usize = 0;

/// Runs what comes until the parent hangs up.
pub(super) fn serve(inside: &Arc<Inside>, socket: OwnedFd) -> io::Result<()> {
    let mut input = Input::new(socket);
    let mut server = Server {
        inside,
        inboxes: Inboxes::default(),
        runtime: None,
        idle: Control::new(),
    };
    loop {
        while let Some(frame) = input.next()? {
            server.frame(frame)?;
        }
        inside.outbox.flush();
        if !input.fill()? {
            return Ok(());
        }
    }
}

struct Server<'a> {
    inside: &'a Arc<Inside>,
    inboxes: Inboxes,
    runtime: Option<Runtime>,
    /// For tasks that cannot listen.
    idle: Arc<Control>,
}

impl Server<'_> {
    fn frame(&mut self, frame: &[u8]) -> io::Result<()> {
        let (order, header, inline) = Order::read(frame)?;
        let arena = self.inside.arena;
        // From here on a death is the first call's: reading its arguments may be what kills.
        arena.board().begin(LANE, order.name(0), order.stamp());
        if !arena.board().claim(header.seat, header.serial) {
            return Ok(());
        }
        let mut inboxes = std::mem::take(&mut self.inboxes);
        let chunk = self.inside.body(&header, inline, &mut inboxes)?;
        self.chunk(&order, chunk);
        inboxes.tidy();
        self.inboxes = inboxes;
        Ok(())
    }

    fn chunk(&mut self, order: &Order, chunk: &[u8]) {
        let inside = self.inside;
        let mut control = self.idle.clone();
        // One that cannot be looked at serves all calls.
        let mut context = order.context(0, control.clone());
        let mut hearing = None;
        for (index, record) in (0..order.count).zip(records(chunk)) {
            let name = order.name(index);
            inside.arena.board().begin(LANE, name, order.stamp());
            if let Some(error) = inside.unwanted(order) {
                inside.answer(order, index, Err(error));
                continue;
            }
            // With a soft limit each call has one of its own, since it begins anew with each.
            if order.listens() && (hearing.is_none() || order.soft.is_some()) {
                drop(hearing.take());
                control = inside.control(order.about(index));
                let (arena, seat) = (inside.arena, order.ticket.seat);
                let listening = inside.watch.listen(arena, seat, LANE, name, &control);
                // The turn ends first.
                hearing = Some((inside.watch.turn(name), listening));
            }
            if inside.watch.is_asleep() && inside.outbox.is_pending() {
                inside.watch.arm();
            }
            if order.listens() {
                context = order.context(index, control.clone());
            }
            let outcome = match begin(order, record, &context) {
                Run::Ready(outcome) => outcome,
                Run::Pending(future) => self.block_on(future, &context),
            };
            inside.answer(order, index, outcome);
        }
    }

    /// Runs an async task to its end, or until it is cancelled.
    fn block_on(
        &mut self,
        future: BoxFuture<'static, Outcome<Vec<u8>>>,
        context: &Context,
    ) -> Outcome<Vec<u8>> {
        if self.runtime.is_none() {
            match Builder::new_current_thread().enable_all().build() {
                Ok(runtime) => self.runtime = Some(runtime),
                Err(error) => {
                    return Err(TaskError::lost(format!(
                        "its child could not make a runtime: {error}"
                    )));
                }
            }
        }
        let runtime = self.runtime.as_ref().expect("it was just made");
        let ended = Box::pin(context.control().wait_cancelled());
        let run = || runtime.block_on(select(future, ended));
        match catch_unwind(AssertUnwindSafe(run)) {
            Ok(Either::Left((outcome, _))) => outcome,
            Ok(Either::Right((Interrupt::Shutdown, _))) => Err(TaskError::shutdown()),
            Ok(Either::Right(_)) => Err(TaskError::cancelled()),
            Err(panic) => Err(TaskError::from_panic(&*panic)),
        }
    }
}

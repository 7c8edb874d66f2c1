//! A coroutine to talk to: values go in, values come out, and its state lives between them.
//!
//! What Python writes as a generator, with `yield` in both directions, is here an `async` function
//! that has an [`Inbox`], an [`Outbox`] or both, and runs where the app's tasks run.
//!
//! # Invariants
//!
//! - Both directions are bounded: whoever is ahead waits for the other.
//! - A session's stream ends only after its coroutine has, and with its error if it failed.
//! - Nothing outlives its session: dropping it ends the coroutine at its next await.

use std::convert::Infallible;
use std::fmt;
use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use celeriac_core::{
    ContentType, Control, ErrorKind, Interrupt, Invocation, Limits, Outcome, OutcomeChunk, Place,
    Reply, Run, TaskDefinition, TaskError, TaskId, TaskOptions, Work,
};
use futures_util::{FutureExt as _, Stream};
use tokio::sync::{mpsc, watch};

use crate::app::App;
use crate::error::{Error, Result};
use crate::launcher::Launcher;
use crate::slot::Slot;

/// How many values one direction holds before its sender waits.
const AHEAD: usize = 16;

/// What an invocation of a session says it runs.
static DEFINITION: TaskDefinition = TaskDefinition {
    name: "celeriac.session",
    signature: "session(inbox, outbox)",
    parameters: &[],
    is_async: true,
    wants_context: false,
    options: TaskOptions::DEFAULT,
    call: refuse_encoded,
};

fn refuse_encoded(_: ContentType, _: &[u8], _: &celeriac_core::Context) -> Run<Outcome<Vec<u8>>> {
    let error = "a session cannot be sent: its state lives in the process that opened it";
    Run::Ready(Err(TaskError::new(ErrorKind::Unregistered, error)))
}

impl App {
    /// Starts a coroutine and gives the line to it: a task that keeps its state between values.
    ///
    /// It takes one slot of the place until it ends, so on `threads=N` at most N sessions run and
    /// the others wait. At a shutdown its inbox ends once it is read empty.
    ///
    /// ```
    /// use celeriac::prelude::*;
    /// use celeriac::{Inbox, Outbox};
    ///
    /// async fn count_letters(mut inbox: Inbox<String>, outbox: Outbox<usize>) {
    ///     let mut letters = 0;
    ///     while let Some(word) = inbox.next().await {
    ///         letters += word.chars().count();
    ///         outbox.send(letters).await;
    ///     }
    /// }
    ///
    /// # #[celeriac::task] fn any() {}
    /// # celeriac::blocking::block_on(async {
    /// let app = App::on("threads=1").await?;
    /// let mut letters = app.open(count_letters)?;
    /// assert_eq!(letters.ask("one".to_owned()).await?, 3);
    /// assert_eq!(letters.ask("three".to_owned()).await?, 8);
    /// # Ok::<(), celeriac::Error>(()) }).unwrap();
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::Session`] on any place but `threads` and `coroutines`: the state lives in this
    /// process, beside the caller.
    pub fn open<I, O, F>(
        &self,
        body: impl FnOnce(Inbox<I>, Outbox<O>) -> F + Send + 'static,
    ) -> Result<Session<I, O>>
    where
        I: Send + 'static,
        O: Send + 'static,
        F: Future<Output = ()> + Send + 'static,
    {
        let reason = match self.place() {
            Place::Threads(_) | Place::Coroutines(_) => None,
            Place::Inline => Some("it runs a call to its end before the caller goes on"),
            _ => Some("its state would be in another process"),
        };
        if let Some(reason) = reason {
            let place = self.place().clone();
            return Err(Error::Session { place, reason });
        }
        let (inputs, from_session) = mpsc::channel(AHEAD);
        let (to_session, outputs) = mpsc::channel(AHEAD);
        let inbox = Inbox {
            inputs: from_session,
            closing: self.launcher.closing(),
        };
        let outbox = Outbox(to_session);
        let end = Arc::new(End(Slot::new()));
        let returned = end.clone();
        let control = Control::new();
        let work = Work::Local(Box::new(move |_| {
            let run = AssertUnwindSafe(async move { body(inbox, outbox).await }).catch_unwind();
            Run::Pending(Box::pin(run.map(move |run| {
                returned
                    .0
                    .fill(run.map_err(|panic| TaskError::from_panic(&*panic)));
            })))
        }));
        self.launcher.executor.submit(Invocation {
            id: TaskId::new(),
            task: &DEFINITION,
            attempt: 1,
            limits: Limits::NONE,
            control: control.clone(),
            work,
            reply: end.clone(),
        });
        Ok(Session {
            inputs: Some(inputs),
            outputs,
            end: Some(end),
            control,
            _launcher: self.launcher.clone(),
        })
    }

    /// Starts a coroutine that only gives: a generator. It runs at most a few values ahead of
    /// whoever takes them, so it may be endless.
    ///
    /// ```
    /// use celeriac::prelude::*;
    /// use celeriac::Outbox;
    ///
    /// async fn powers_of_two(outbox: Outbox<u64>) {
    ///     for exponent in 0.. {
    ///         outbox.send(1 << exponent).await;
    ///     }
    /// }
    ///
    /// # #[celeriac::task] fn any() {}
    /// # celeriac::blocking::block_on(async {
    /// let app = App::on("threads=1").await?;
    /// let mut powers = app.stream(powers_of_two)?;
    /// assert_eq!(powers.next().await, Some(Ok(1)));
    /// assert_eq!(powers.next().await, Some(Ok(2)));
    /// # Ok::<(), celeriac::Error>(()) }).unwrap();
    /// ```
    ///
    /// # Errors
    ///
    /// As [`open`](Self::open).
    pub fn stream<O, F>(
        &self,
        body: impl FnOnce(Outbox<O>) -> F + Send + 'static,
    ) -> Result<Session<Infallible, O>>
    where
        O: Send + 'static,
        F: Future<Output = ()> + Send + 'static,
    {
        self.open(|_: Inbox<Infallible>, outbox| body(outbox))
    }
}

/// The line to a coroutine: give it values of `I`, take values of `O`.
///
/// Opened by [`App::open`], or by [`App::stream`] if nothing goes in. It is a [`Stream`] of what
/// the coroutine gives. [`close`](Self::close) it to let the coroutine come to its end; dropping it
/// ends the coroutine at its next await. An open session keeps its app's pool alive.
pub struct Session<I, O> {
    /// `None` once closed.
    inputs: Option<mpsc::Sender<I>>,
    outputs: mpsc::Receiver<O>,
    /// How the coroutine ended; `None` once that was told.
    end: Option<Arc<End>>,
    control: Arc<Control>,
    _launcher: Arc<Launcher>,
}

impl<I, O> Session<I, O> {
    /// Gives the coroutine a value, and waits for the next it gives: for coroutines that answer
    /// each value with one.
    ///
    /// # Errors
    ///
    /// Why the coroutine ended without an answer; [`NoResult`](crate::ErrorKind::NoResult) if it
    /// returned, or the session was closed.
    ///
    /// # Cancel safety
    ///
    /// None: a dropped wait leaves its answer to whoever asks next.
    pub async fn ask(&mut self, input: I) -> Result<O, TaskError> {
        let told = self.tell(input).await;
        match self.next().await {
            Some(answer) => answer.and_then(|answer| told.map(|()| answer)),
            None => Err(over()),
        }
    }

    /// Gives the coroutine a value. Waits while it is too far behind.
    ///
    /// # Errors
    ///
    /// [`NoResult`](crate::ErrorKind::NoResult) if the coroutine takes no more;
    /// [`next`](Self::next) says why.
    ///
    /// # Cancel safety
    ///
    /// A dropped wait has given nothing.
    pub async fn tell(&mut self, input: I) -> Result<(), TaskError> {
        match &self.inputs {
            Some(inputs) => inputs.send(input).await.map_err(|_| over()),
            None => Err(over()),
        }
    }

    /// Waits for the next value the coroutine gives, and for its end if there is none: `None`, or
    /// the error it ended with. Cancel safe.
    pub async fn next(&mut self) -> Option<Outcome<O>> {
        std::future::poll_fn(|context| self.poll_output(context)).await
    }

    /// Gives no more: the coroutine's inbox ends once it is read empty. What the coroutine still
    /// gives can be taken, to the end.
    pub fn close(&mut self) {
        self.inputs = None;
    }

    fn poll_output(&mut self, context: &mut Context<'_>) -> Poll<Option<Outcome<O>>> {
        if let Some(output) = ready!(self.outputs.poll_recv(context)) {
            return Poll::Ready(Some(Ok(output)));
        }
        let Some(end) = &self.end else {
            return Poll::Ready(None);
        };
        let outcome = ready!(end.0.poll_take(context));
        self.end = None;
        Poll::Ready(outcome.err().map(Err))
    }
}

/// The error of whoever talks to a coroutine that has ended.
fn over() -> TaskError {
    TaskError::new(ErrorKind::NoResult, "the session is over")
}

impl<I, O> Stream for Session<I, O> {
    type Item = Outcome<O>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.poll_output(context)
    }
}

impl<I, O> Drop for Session<I, O> {
    fn drop(&mut self) {
        self.control.interrupt(Interrupt::Cancelled);
    }
}

impl<I, O> fmt::Debug for Session<I, O> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Session")
            .field("closed", &self.inputs.is_none())
            .finish_non_exhaustive()
    }
}

/// Where a coroutine takes what its session is given.
#[derive(Debug)]
pub struct Inbox<I> {
    inputs: mpsc::Receiver<I>,
    closing: watch::Receiver<Option<celeriac_core::ShutdownMode>>,
}

impl<I> Inbox<I> {
    /// Waits for the next value; `None` once the session is closed or the app shut down, and all
    /// was taken. Cancel safe.
    pub async fn next(&mut self) -> Option<I> {
        tokio::select! {
            biased;
            input = self.inputs.recv() => input,
            // The session keeps the sender alive; without it nothing comes any more either.
            _ = self.closing.wait_for(Option::is_some) => None,
        }
    }
}

/// Where a coroutine gives values to whoever holds its session: its `yield`.
#[derive(Debug, Clone)]
pub struct Outbox<O>(mpsc::Sender<O>);

impl<O> Outbox<O> {
    /// Gives a value. Waits while its taker is too far behind.
    ///
    /// Does not return if the session was dropped: the coroutine ends here, and what it holds is
    /// dropped.
    pub async fn send(&self, output: O) {
        if self.0.send(output).await.is_err() {
            // Dropping a session interrupts its coroutine, which is about to be dropped.
            std::future::pending::<()>().await;
        }
    }
}

/// How the coroutine ended: as it says itself, or as its executor says if it did not return.
struct End(Slot<()>);

impl Reply for End {
    fn outcomes(&self, _: OutcomeChunk) {
        unreachable!("a session is no encoded call");
    }

    fn failed(&self, error: TaskError) {
        self.0.fill(Err(error));
    }
}

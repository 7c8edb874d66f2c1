//! A pool of Python children, of which the tasks are those of a Celery app.
//!
//! One thread, the reactor, owns the fork server, every process that it forks, and every call. It
//! lives as long as the pool, because the processes die with the thread that started them.
//!
//! ```text
//!  submit ─▶ queue ─▶ reactor ───── RUN ─────▶ child: Celery's tracer ─▶ task
//!                        ▲   ◀─ STARTED, DONE ─┘
//!                        └── what a child has not read goes to others
//! ```
//!
//! # Invariants
//!
//! - Every call is answered once. A child that dies costs the calls that it ran; what it had not begun
//!   is run by others, and only if several died that way is it lost too.
//! - Nothing blocks the reactor: it never waits for one process alone.
//! - No process outlives the pool.

mod books;
mod call;
mod child;
mod credit;
mod death;
mod desk;
mod mailbox;
mod process;
mod reactor;
mod settings;
mod start_error;

use std::fmt;
use std::io;
use std::num::NonZeroUsize;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use celeriac_core::executor::Bounds;
use celeriac_core::outcome::TaskError;
use celeriac_core::payload::ContentType;
use celeriac_core::runtime::Runtime;
use celeriac_core::{BoxFuture, Delivery, Executor, Invocation, Reply, ShutdownMode, TaskId};
use serde_json::{Map, Value};
use tokio::sync::{oneshot, watch};

use self::desk::{Ask, Asker};
use self::mailbox::{Letter, Mailbox};
use self::reactor::Reactor;
use crate::head::CallHead;
use crate::import::ImportRequest;
use crate::interpreter::Interpreter;
use crate::report::AppReport;
use crate::server::Recipe;
use crate::sources;

#[cfg(test)]
pub(crate) use self::death::terminated;
pub use self::desk::ServiceError;
pub use self::settings::{PoolKind, PoolSettings, Stray};
pub use self::start_error::StartError;

/// An app that was imported, in a fork server that waits for what is to be forked.
///
/// Dropping it ends the fork server.
#[derive(Debug)]
pub struct PythonApp {
    thread: PoolThread,
    report: AppReport,
    started: watch::Receiver<Option<Result<(), StartError>>>,
    hindered: watch::Receiver<Option<StartError>>,
    failed: watch::Receiver<Option<StartError>>,
    emptied: watch::Receiver<bool>,
}

impl PythonApp {
    /// Starts a fork server and has it import an app. What the app prints goes where our output goes.
    ///
    /// # Errors
    ///
    /// [`StartError`]; nothing is left behind then.
    ///
    /// # Cancel safety
    ///
    /// A dropped future ends the fork server.
    pub async fn import(
        interpreter: &Interpreter,
        request: ImportRequest,
    ) -> Result<Self, StartError> {
        let modules = sources::MODULES.iter();
        let modules = modules.map(|&(name, source)| (name.to_owned(), source.into()));
        Self::import_with(Recipe {
            interpreter: interpreter.clone(),
            boot: sources::BOOT.to_owned(),
            modules: modules.collect(),
            main: sources::MAIN.to_owned(),
            request,
        })
        .await
    }

    /// The same with another Python side.
    ///
    /// # Errors
    ///
    /// As [`import`](Self::import).
    #[doc(hidden)]
    pub async fn import_by(
        interpreter: &Interpreter,
        boot: &str,
        request: ImportRequest,
    ) -> Result<Self, StartError> {
        Self::import_with(Recipe {
            interpreter: interpreter.clone(),
            boot: boot.to_owned(),
            modules: Map::new(),
            main: String::new(),
            request,
        })
        .await
    }

    async fn import_with(recipe: Recipe) -> Result<Self, StartError> {
        let mailbox = Arc::new(Mailbox::new()?);
        let (imported, report) = oneshot::channel();
        let news = News {
            imported: Mutex::new(Some(imported)),
            started: watch::Sender::new(None),
            hindered: watch::Sender::new(None),
            failed: watch::Sender::new(None),
            emptied: watch::Sender::new(false),
        };
        let (started, emptied) = (news.started.subscribe(), news.emptied.subscribe());
        let (hindered, failed) = (news.hindered.subscribe(), news.failed.subscribe());
        let reactor_mailbox = mailbox.clone();
        // The fork server dies with the thread that started it, so that thread has to be the reactor.
        let thread = std::thread::Builder::new()
            .name("celeriac-python".to_owned())
            .spawn(move || Reactor::run(recipe, reactor_mailbox, news))?;
        let thread = PoolThread {
            mailbox,
            handle: Mutex::new(Some(thread)),
        };
        match report.await {
            Ok(report) => Ok(Self {
                thread,
                report: report?,
                started,
                hindered,
                failed,
                emptied,
            }),
            Err(_) => Err(io::Error::other("the pool's thread panicked").into()),
        }
    }

    /// What the fork server reported.
    pub fn report(&self) -> &AppReport {
        &self.report
    }

    /// Has children forked. Returns before they are [ready](PythonPool::ready).
    pub fn start(self, settings: PoolSettings) -> PythonPool {
        let slots = settings.slots;
        let pool = PythonPool {
            slots: AtomicUsize::new(settings.children.saturating_mul(slots).get()),
            slots_each: slots,
            bounds: Mutex::new(follows(&settings)),
            tells_received: settings.tells_received,
            started: self.started,
            hindered: self.hindered,
            failed: self.failed,
            emptied: self.emptied,
            thread: self.thread,
        };
        pool.thread.mailbox.leave(Letter::Start(Box::new(settings)));
        pool
    }
}

/// The bounds of a pool whose size follows the work.
fn follows(settings: &PoolSettings) -> Option<Bounds> {
    let (fewest, most) = (settings.fewest, settings.children);
    (fewest < most).then_some(Bounds { fewest, most })
}

/// A pool of Python children, and the service process beside them.
///
/// The [shutdown](Executor::shutdown) ends the children. The service remains, for what is to be told
/// then, until [`close`](Self::close). Dropping the pool kills all of them.
pub struct PythonPool {
    thread: PoolThread,
    slots: AtomicUsize,
    slots_each: NonZeroUsize,
    /// Between which bounds the number of children follows the work, if it does.
    bounds: Mutex<Option<Bounds>>,
    tells_received: bool,
    started: watch::Receiver<Option<Result<(), StartError>>>,
    hindered: watch::Receiver<Option<StartError>>,
    failed: watch::Receiver<Option<StartError>>,
    emptied: watch::Receiver<bool>,
}

impl PythonPool {
    /// Waits until all children that there are at first can run calls. Cancel safe.
    ///
    /// # Errors
    ///
    /// [`StartError`] if none will ever; the pool has then ended.
    pub async fn ready(&self) -> Result<(), StartError> {
        let mut started = self.started.clone();
        match started.wait_for(Option::is_some).await {
            Ok(result) => result.clone().unwrap_or(Ok(())),
            Err(_) => Err(io::Error::other("the pool has ended").into()),
        }
    }

    /// Why no call can begin at the moment, although the pool goes on: since it was ready, child after child
    /// has died at its start, and none is left. Nothing again as soon as one lives.
    pub fn hindrance(&self) -> Option<StartError> {
        self.hindered.borrow().clone()
    }

    /// Waits until the pool, after it was ready, has ended because its fork server keeps dying: what it
    /// held is answered, and what comes is refused. Waits for ever if the pool ends otherwise. Cancel safe.
    pub async fn failed(&self) -> StartError {
        let mut failed = self.failed.clone();
        if let Ok(error) = failed.wait_for(Option::is_some).await
            && let Some(error) = &*error
        {
            return error.clone();
        }
        std::future::pending().await
    }

    /// Sends the signals of Celery's main process at an event of its life: `ready`, `shutting_down` or
    /// `shutdown`, with the further fields that spec/child.md names.
    ///
    /// # Errors
    ///
    /// [`ServiceError`] if the app's handlers were not reached.
    pub async fn lifecycle(
        &self,
        event: &str,
        mut fields: Map<String, Value>,
    ) -> Result<Value, ServiceError> {
        fields.insert("event".to_owned(), event.into());
        self.ask(CallHead::new("lifecycle", fields)).await
    }

    /// Has the app's own remote control command run, and gives its reply.
    ///
    /// # Errors
    ///
    /// [`ServiceError`], with the exception that it raised.
    pub async fn control(&self, name: &str, arguments: Value) -> Result<Value, ServiceError> {
        let mut fields = Map::new();
        fields.insert("name".to_owned(), name.into());
        fields.insert("arguments".to_owned(), arguments);
        self.ask(CallHead::new("control", fields)).await
    }

    async fn ask(&self, head: CallHead) -> Result<Value, ServiceError> {
        let (asker, answer) = oneshot::channel();
        let ask = Ask::new(head, None, Asker::Somebody(asker));
        self.thread.mailbox.leave(Letter::Ask(ask));
        answer.await.unwrap_or(Err(ServiceError::Closed))
    }

    /// Ends a call: one that waits is not begun, and the child that runs it gets `signal` by its number.
    /// A coroutine is cancelled instead.
    pub fn terminate(&self, id: &TaskId, signal: i32) {
        self.thread
            .mailbox
            .leave(Letter::Terminate(id.clone(), signal));
    }

    /// Changes the number of children. Those that are too many leave when they have nothing to run.
    pub fn resize(&self, children: NonZeroUsize) {
        let slots = children.saturating_mul(self.slots_each).get();
        self.slots.store(slots, Ordering::Relaxed);
        self.thread.mailbox.leave(Letter::Resize(children.get()));
    }

    /// What the pool and its processes do now, for people to read: for each process, what it runs and since
    /// when, and the stack of each of its threads, though it be blocked. Takes a moment, and up to three
    /// seconds if a process is stopped. Nothing if the pool has ended. Cancel safe.
    pub async fn stacks(&self) -> Option<String> {
        let (asker, answer) = oneshot::channel();
        self.thread.mailbox.leave(Letter::Stacks(asker));
        answer.await.ok()
    }

    /// Ends the service and the fork server, once they have done what they were asked before; and
    /// kills children that are left. Resolves when no process is left.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future does not stop it.
    pub async fn close(&self) {
        self.thread.mailbox.leave(Letter::Close);
        let mut emptied = self.emptied.clone();
        // The sender goes with the thread.
        while emptied.changed().await.is_ok() {}
        self.thread.join();
    }
}

impl Executor for PythonPool {
    fn slots(&self) -> NonZeroUsize {
        NonZeroUsize::new(self.slots.load(Ordering::Relaxed)).unwrap_or(NonZeroUsize::MIN)
    }

    fn content_type(&self) -> Option<ContentType> {
        Some(ContentType::Json)
    }

    fn submit(&self, invocation: Invocation) {
        self.thread.mailbox.submit(invocation);
    }

    fn resize(&self, slots: NonZeroUsize) -> bool {
        let children = slots.get().div_ceil(self.slots_each.get());
        if let Some(children) = NonZeroUsize::new(children) {
            Self::resize(self, children);
        }
        true
    }

    fn autoscale(&self, fewest: Option<usize>, most: Option<NonZeroUsize>) -> Option<Bounds> {
        let mut bounds = self.bounds.lock().unwrap_or_else(PoisonError::into_inner);
        let new = (*bounds)?.changed(fewest, most);
        if bounds.replace(new) != Some(new) {
            let slots = new.most.saturating_mul(self.slots_each).get();
            self.slots.store(slots, Ordering::Relaxed);
            self.thread.mailbox.leave(Letter::Autoscale(new));
        }
        Some(new)
    }

    fn renew(&self) -> bool {
        self.thread.mailbox.leave(Letter::Renew);
        true
    }

    fn is_hindered(&self) -> bool {
        self.hindered.borrow().is_some()
    }

    fn shutdown(&self, mode: ShutdownMode) -> BoxFuture<'_, ()> {
        self.thread.mailbox.leave(Letter::Shutdown(mode));
        Box::pin(async move {
            let mut emptied = self.emptied.clone();
            // If the thread is gone, so are the children.
            let _ = emptied.wait_for(|&emptied| emptied).await;
        })
    }
}

impl Runtime for PythonPool {
    fn conclude(
        &self,
        delivery: Arc<Delivery>,
        error: TaskError,
        comes_again: bool,
        reply: Arc<dyn Reply>,
    ) {
        let head = CallHead::ending(&error, comes_again);
        let ask = Ask::new(head, Some(delivery), Asker::Ending(reply));
        self.thread.mailbox.leave(Letter::Ask(ask));
    }

    fn terminate(&self, id: &TaskId, signal: i32) {
        Self::terminate(self, id, signal);
    }

    fn received(&self, delivery: &Arc<Delivery>) {
        if self.tells_received {
            let head = CallHead::new("received", Map::new());
            let ask = Ask::new(head, Some(delivery.clone()), Asker::Nobody);
            self.thread.mailbox.leave(Letter::Ask(ask));
        }
    }
}

impl fmt::Debug for PythonPool {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("PythonPool")
            .field("slots", &self.slots)
            .finish_non_exhaustive()
    }
}

/// The reactor's thread, and the way to it. Dropping it ends everything.
struct PoolThread {
    mailbox: Arc<Mailbox>,
    handle: Mutex<Option<JoinHandle<()>>>,
}

impl PoolThread {
    /// Waits for the thread, unless this is it: a reply may be what drops the pool.
    fn join(&self) {
        let handle = self
            .handle
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        if let Some(handle) = handle
            && handle.thread().id() != std::thread::current().id()
        {
            let _ = handle.join();
        }
    }
}

impl Drop for PoolThread {
    fn drop(&mut self) {
        self.mailbox.leave(Letter::Kill);
        self.join();
    }
}

impl fmt::Debug for PoolThread {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("PoolThread")
    }
}

/// What the reactor has to tell of the life of its pool.
struct News {
    imported: Mutex<Option<oneshot::Sender<Result<AppReport, StartError>>>>,
    started: watch::Sender<Option<Result<(), StartError>>>,
    hindered: watch::Sender<Option<StartError>>,
    failed: watch::Sender<Option<StartError>>,
    emptied: watch::Sender<bool>,
}

impl News {
    /// The app was imported, or cannot be. Only the first time counts.
    fn imported(&self, result: Result<AppReport, StartError>) {
        let sender = self
            .imported
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        if let Some(sender) = sender {
            // Whoever asked may have left; the thread is then ended by its owner.
            let _ = sender.send(result);
        }
    }

    /// The pool is ready, or will never be; false if it had been one or the other before.
    fn started(&self, result: Result<(), StartError>) -> bool {
        if self.started.borrow().is_some() {
            return false;
        }
        if let Err(error) = &result {
            self.imported(Err(error.clone()));
        }
        self.started.send_replace(Some(result));
        true
    }

    /// No call can begin, or calls can again; true if it was the other way before.
    fn hindered(&self, why: Option<StartError>) -> bool {
        let is_news = self.hindered.borrow().is_some() != why.is_some();
        self.hindered.send_replace(why);
        is_news
    }

    /// The pool was ready once, and cannot go on.
    fn failed(&self, error: StartError) {
        self.failed.send_replace(Some(error));
    }

    /// No child is left, and none will be.
    fn emptied(&self) {
        self.emptied
            .send_if_modified(|emptied| !std::mem::replace(emptied, true));
    }

    /// The pool has ended.
    fn ended(&self) {
        self.started(Err(io::Error::other("the pool has ended").into()));
        self.emptied();
    }
}

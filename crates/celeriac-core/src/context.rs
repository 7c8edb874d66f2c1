//! What a running task can ask and tell, and what others can tell it.

use std::fmt;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Instant;

use serde::{Deserialize, Serialize};
use tokio::sync::watch;

use crate::canvas::{Canvas, Encoding, Nothing, Replacement};
use crate::id::TaskId;
use crate::outcome::{ErrorKind, TaskError};
use crate::payload::{ContentType, DEFAULT_BODY_LIMIT_BYTES};

/// Why a running task should stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Interrupt {
    /// Its soft time limit has passed; the hard one may follow.
    SoftTimeLimit,
    /// Its sender, or an operator, wants it no more.
    Cancelled,
    /// The pool or worker is shutting down and will not wait.
    Shutdown,
}

/// The error of a task that was asked to stop and did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{}", match .0 {
    Interrupt::SoftTimeLimit => "the soft time limit has passed",
    Interrupt::Cancelled => "it was cancelled",
    Interrupt::Shutdown => "it was shut down",
})]
pub struct Interrupted(pub Interrupt);

impl Interrupted {
    /// The kind of the outcome this error leads to.
    pub fn kind(self) -> ErrorKind {
        match self.0 {
            Interrupt::SoftTimeLimit => ErrorKind::TimeLimit,
            Interrupt::Cancelled => ErrorKind::Cancelled,
            Interrupt::Shutdown => ErrorKind::Shutdown,
        }
    }
}

/// How far a task has come.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Progress {
    /// Units done so far.
    pub done: u64,
    /// Units in all; 0 if unknown.
    pub total: u64,
    /// What it is doing, for people.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub message: String,
}

/// The connection between a running task and whoever waits for it.
///
/// One end is in the [`Context`] of the task, the other in the handle of its sender. Interrupts go
/// in, progress comes out; neither is lost if the other end looks later.
pub struct Control {
    interrupt: Newest<Interrupt>,
    progress: Newest<Progress>,
    hooks: Mutex<Hooks>,
}

/// The newest word that was passed, and who waits for one.
///
/// Most calls are never interrupted and report nothing, so the channel is made at its first use:
/// it is larger than all else that is kept of a call.
struct Newest<T>(OnceLock<watch::Sender<Option<T>>>);

impl<T: Clone> Newest<T> {
    fn channel(&self) -> &watch::Sender<Option<T>> {
        self.0.get_or_init(|| watch::Sender::new(None))
    }

    fn get(&self) -> Option<T> {
        self.0.get()?.borrow().clone()
    }
}

impl<T> Default for Newest<T> {
    fn default() -> Self {
        Self(OnceLock::new())
    }
}

type InterruptHook = Box<dyn Fn(Interrupt) + Send>;
type ProgressHook = Box<dyn Fn(&Progress) + Send>;

#[derive(Default)]
struct Hooks {
    interrupt: Option<InterruptHook>,
    progress: Option<ProgressHook>,
}

impl Control {
    /// A connection nobody has used yet.
    pub fn new() -> Arc<Self> {
        Arc::new(Self {
            interrupt: Newest::default(),
            progress: Newest::default(),
            hooks: Mutex::default(),
        })
    }

    /// Asks the task to stop.
    ///
    /// A later interrupt replaces a soft time limit; otherwise the first one stays.
    pub fn interrupt(&self, interrupt: Interrupt) {
        let changed = self.interrupt.channel().send_if_modified(|current| {
            let replace = matches!(current, None | Some(Interrupt::SoftTimeLimit))
                && *current != Some(interrupt);
            if replace {
                *current = Some(interrupt);
            }
            replace
        });
        if changed && let Some(hook) = &self.lock().interrupt {
            hook(interrupt);
        }
    }

    /// Why the task should stop, if it should.
    pub fn interrupted(&self) -> Option<Interrupt> {
        self.interrupt.get()
    }

    /// Waits until the task should stop. Cancel safe.
    pub async fn wait_interrupted(&self) -> Interrupt {
        let mut receiver = self.interrupt.channel().subscribe();
        let seen = receiver.wait_for(Option::is_some).await;
        (*seen.expect("the sender is a field of `self`")).expect("waited for it")
    }

    /// Waits until the task should stop for a reason other than its soft time limit. Cancel safe.
    pub async fn wait_cancelled(&self) -> Interrupt {
        let mut receiver = self.interrupt.channel().subscribe();
        let seen = receiver
            .wait_for(|interrupt| {
                matches!(interrupt, Some(Interrupt::Cancelled | Interrupt::Shutdown))
            })
            .await;
        (*seen.expect("the sender is a field of `self`")).expect("waited for it")
    }

    /// Calls `hook` at each interrupt from now on, and at once if there was one.
    ///
    /// There is one hook, the executor's; it must not block.
    pub fn on_interrupt(&self, hook: impl Fn(Interrupt) + Send + 'static) {
        let mut hooks = self.lock();
        if let Some(interrupt) = self.interrupted() {
            hook(interrupt);
        }
        hooks.interrupt = Some(Box::new(hook));
    }

    /// Records how far the task has come.
    pub fn report(&self, progress: Progress) {
        if let Some(hook) = &self.lock().progress {
            hook(&progress);
        }
        self.progress.channel().send_replace(Some(progress));
    }

    /// How far the task has come, if it said.
    pub fn progress(&self) -> Option<Progress> {
        self.progress.get()
    }

    /// A receiver of each progress report; slow readers see the newest.
    pub fn watch_progress(&self) -> watch::Receiver<Option<Progress>> {
        self.progress.channel().subscribe()
    }

    /// Calls `hook` at each progress report from now on. There is one hook; it must not block.
    pub fn on_progress(&self, hook: impl Fn(&Progress) + Send + 'static) {
        self.lock().progress = Some(Box::new(hook));
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Hooks> {
        self.hooks.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Control {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Control")
            .field("interrupt", &self.interrupted())
            .field("progress", &self.progress())
            .finish_non_exhaustive()
    }
}

/// What a task knows of its own execution. A task gets it by having a parameter `&Context`.
///
/// Cloning is cheap and gives the same execution.
#[derive(Debug, Clone)]
pub struct Context {
    id: TaskId,
    attempt: u32,
    soft_deadline: Option<Instant>,
    control: Arc<Control>,
    content_type: ContentType,
}

impl Context {
    /// The context of the execution that `control` steers.
    pub fn new(
        id: TaskId,
        attempt: u32,
        soft_deadline: Option<Instant>,
        control: Arc<Control>,
    ) -> Self {
        Self {
            id,
            attempt,
            soft_deadline,
            control,
            content_type: ContentType::Msgpack,
        }
    }

    /// The context of a call whose arguments are encoded in `content_type`; MessagePack if nobody
    /// says it.
    #[must_use]
    pub fn encoded_in(mut self, content_type: ContentType) -> Self {
        self.content_type = content_type;
        self
    }

    /// The context of the `index`-th call of the same chunk.
    #[must_use]
    pub fn nth(&self, index: usize) -> Self {
        Self {
            id: self.id.nth(index),
            ..self.clone()
        }
    }

    /// The id of this call; the same in every attempt.
    pub fn id(&self) -> &TaskId {
        &self.id
    }

    /// Which attempt this is, counted from 1.
    pub fn attempt(&self) -> u32 {
        self.attempt
    }

    /// When the task should be done: its soft time limit, or its hard one if it has no soft one.
    pub fn deadline(&self) -> Option<Instant> {
        self.soft_deadline
    }

    /// Whether somebody wants the task to stop.
    pub fn is_interrupted(&self) -> bool {
        self.control.interrupted().is_some()
    }

    /// Returns the reason as an error if the task should stop; meant for `context.check()?`.
    ///
    /// # Errors
    ///
    /// [`Interrupted`], which as the task's own error makes its outcome cancelled or timed out.
    pub fn check(&self) -> Result<(), Interrupted> {
        self.control
            .interrupted()
            .map_or(Ok(()), |interrupt| Err(Interrupted(interrupt)))
    }

    /// Waits until somebody wants the task to stop, and says why. Cancel safe.
    pub async fn interrupted(&self) -> Interrupted {
        Interrupted(self.control.wait_interrupted().await)
    }

    /// Reports that `done` of `total` units are finished; a `total` of 0 means unknown.
    pub fn progress(&self, done: u64, total: u64) {
        self.control.report(Progress {
            done,
            total,
            message: String::new(),
        });
    }

    /// Reports progress with a word on what is being done.
    pub fn progress_message(&self, done: u64, total: u64, message: impl Into<String>) {
        self.control.report(Progress {
            done,
            total,
            message: message.into(),
        });
    }

    /// Ends this call by putting `canvas` in its place; return what this returns.
    ///
    /// What `canvas` returns is what this call returns: under its id, to whoever waits for it, to the
    /// next step of its chain and to its chord. What is linked to this call follows the last call of
    /// `canvas`. The attempts of this call end here; those of `canvas` have rules of their own.
    ///
    /// On a broker each call can be replaced, and on a pool each but those of a map.
    ///
    /// ```
    /// # use celeriac_core::canvas::{Canvas, Nothing};
    /// # use celeriac_core::{Context, TaskError};
    /// # type Pages = celeriac_core::canvas::Chain<u64, Nothing>;
    /// fn count(context: &Context, pages: Pages) -> Result<u64, TaskError> {
    ///     context.replace(pages)
    /// }
    /// ```
    ///
    /// # Errors
    ///
    /// Always: the [`TaskError`] that carries `canvas`, or says that its arguments have no form.
    pub fn replace<C>(&self, canvas: C) -> Result<C::Value, TaskError>
    where
        C: Canvas<Takes = Nothing>,
    {
        let encoding = Encoding {
            content_type: self.content_type,
            limit_bytes: DEFAULT_BODY_LIMIT_BYTES,
            serializer: None,
            compression: None,
        };
        Err(match encoding.freeze(canvas.into_node()) {
            Ok(chain) => TaskError::replaced(Replacement {
                content_type: self.content_type,
                chain,
            }),
            Err(error) => TaskError::from_error(error),
        })
    }

    /// The connection to the sender.
    pub fn control(&self) -> &Arc<Control> {
        &self.control
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicU32, Ordering};

    #[test]
    fn a_cancel_replaces_a_soft_limit_but_nothing_replaces_a_cancel() {
        let control = Control::new();
        control.interrupt(Interrupt::SoftTimeLimit);
        control.interrupt(Interrupt::Cancelled);
        control.interrupt(Interrupt::Shutdown);
        assert_eq!(control.interrupted(), Some(Interrupt::Cancelled));
    }

    #[test]
    fn a_hook_hears_an_interrupt_that_came_before_it() {
        let control = Control::new();
        control.interrupt(Interrupt::Cancelled);
        let heard = Arc::new(AtomicU32::new(0));
        let counter = heard.clone();
        control.on_interrupt(move |_| {
            counter.fetch_add(1, Ordering::Relaxed);
        });
        control.interrupt(Interrupt::Cancelled);
        assert_eq!(heard.load(Ordering::Relaxed), 1);
    }
}

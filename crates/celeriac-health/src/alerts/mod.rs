//! Mails of tasks that failed for good: at most one in a while, each of which tells all that failed since
//! the one before.
//!
//! The worker waits for none of it. What it tells faster than it can be taken in is counted only, and
//! while no mail can be sent the next one grows, within bounds.

mod args;
mod digest;
mod post;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use celeriac_core::Brief;
use celeriac_worker::{Observer, Reason, TaskRef};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep_until, timeout};
use tracing::warn;

pub use self::args::AlertArgs;
use self::digest::{Digest, Failure};
use self::post::Post;

/// The most failures that wait to be taken in.
const MOST: usize = 1000;
/// How long what fails at once is gathered.
const GATHERED: Duration = Duration::from_secs(1);
/// How long the last mail may take.
const LAST: Duration = Duration::from_secs(5);

/// Why no failures can be mailed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AlertError {
    /// The URL, which is not shown because of its password, makes no sense.
    #[error("the URL of --smtp cannot be used")]
    Url(#[source] lettre::transport::smtp::Error),
    /// The mails have no sender.
    #[error("`{address}` cannot be the sender of alerts")]
    From {
        /// What was tried.
        address: String,
        /// What is wrong with it.
        source: lettre::address::AddressError,
    },
}

/// Who mails failures, until it is told to end.
#[derive(Debug)]
pub(crate) struct Alerts {
    hearer: Arc<Hearer>,
    end: oneshot::Sender<()>,
    mailing: JoinHandle<()>,
}

impl Alerts {
    /// Begins, if there is anybody to tell. Needs a tokio runtime with I/O and time.
    pub(crate) fn start(args: &AlertArgs, worker: &str) -> Result<Option<Self>, AlertError> {
        let Some(post) = Post::of(args, worker)? else {
            return Ok(None);
        };
        let (tell, heard) = mpsc::channel(MOST);
        let (end, ending) = oneshot::channel();
        let hearer = Arc::new(Hearer {
            tell,
            missed: AtomicU64::new(0),
        });
        let mailer = Mailer {
            post,
            worker: worker.to_owned(),
            every: args.alert_every,
            hearer: hearer.clone(),
            digest: Digest::default(),
            fails: false,
        };
        Ok(Some(Self {
            hearer,
            end,
            mailing: tokio::spawn(mailer.run(heard, ending)),
        }))
    }

    /// What is to be told of failures.
    pub(crate) fn observer(&self) -> Arc<dyn Observer> {
        self.hearer.clone()
    }

    /// Mails what is left.
    pub(crate) async fn end(self) {
        // It has ended already if nobody hears.
        let _ = self.end.send(());
        let abort = self.mailing.abort_handle();
        if timeout(LAST, self.mailing).await.is_err() {
            warn!("the last failures could not be mailed in time");
            abort.abort();
        }
    }
}

/// Passes failures on.
#[derive(Debug)]
struct Hearer {
    tell: mpsc::Sender<Failure>,
    /// How many were not passed on, and are in no mail yet.
    missed: AtomicU64,
}

impl Observer for Hearer {
    fn failed(&self, call: TaskRef<'_>, why: Reason<'_>) {
        let failure = Failure {
            task: Brief(call.task).to_string(),
            id: Brief(call.id).to_string(),
            kind: Brief(why.kind).to_string(),
            message: Brief(why.message).to_string(),
        };
        if self.tell.try_send(failure).is_err() {
            self.missed.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// Gathers failures and mails them.
struct Mailer {
    post: Post,
    worker: String,
    every: Duration,
    hearer: Arc<Hearer>,
    digest: Digest,
    /// Whether the last mail could not be sent.
    fails: bool,
}

impl Mailer {
    async fn run(mut self, mut heard: mpsc::Receiver<Failure>, mut ending: oneshot::Receiver<()>) {
        let mut earliest = Instant::now();
        let mut at = earliest;
        loop {
            tokio::select! {
                Some(failure) = heard.recv() => {
                    if self.digest.is_empty() {
                        at = earliest.max(Instant::now() + GATHERED.min(self.every));
                    }
                    self.digest.add(failure);
                }
                () = sleep_until(at), if !self.digest.is_empty() => {
                    self.mail().await;
                    earliest = Instant::now() + self.every;
                    at = earliest;
                }
                _ = &mut ending => break,
            }
        }
        while let Ok(failure) = heard.try_recv() {
            self.digest.add(failure);
        }
        if !self.digest.is_empty() {
            self.mail().await;
        }
    }

    /// Sends what was gathered, which is kept if that fails.
    async fn mail(&mut self) {
        let missed = &self.hearer.missed;
        self.digest.add_missed(missed.swap(0, Ordering::Relaxed));
        let subject = self.digest.subject(&self.worker);
        let text = self.digest.text(&self.worker);
        match self.post.send(&subject, text).await {
            Ok(()) => {
                self.digest = Digest::default();
                if std::mem::take(&mut self.fails) {
                    warn!("failures are mailed again");
                }
            }
            Err(error) => {
                if !std::mem::replace(&mut self.fails, true) {
                    warn!(error = &*error, "failures cannot be mailed, will try again");
                }
            }
        }
    }
}

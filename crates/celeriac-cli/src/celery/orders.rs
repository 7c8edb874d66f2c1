//! What signals ask of the worker, from its first moment to its last.

use std::io;
use std::sync::Arc;
use std::thread::{self, JoinHandle};

use signal_hook::iterator::Handle;
use tokio::sync::{Notify, watch};

use super::signals::{Ladder, STACKS, Step, listen, say};

/// The steps that were asked for, and the thread that hears of them; dropping it ends the thread.
#[derive(Debug)]
pub(crate) struct Orders {
    steps: watch::Receiver<Option<Step>>,
    stacks: Arc<Notify>,
    listening: Handle,
    listener: Option<JoinHandle<()>>,
}

impl Orders {
    /// Begins to listen, so that no signal ends the process by itself. Steps are told to a person, unless
    /// it is `quiet`.
    pub(crate) fn listen(quiet: bool) -> io::Result<Self> {
        let (mut signals, listening) = listen()?;
        let (tell, steps) = watch::channel(None);
        let remap = std::env::var("REMAP_SIGTERM").ok();
        let mut ladder = Ladder::new(remap.as_deref());
        let stacks = Arc::new(Notify::new());
        let ask = stacks.clone();
        let listener = thread::Builder::new()
            .name("celeriac-signals".to_owned())
            .spawn(move || {
                for signal in signals.forever() {
                    if signal == STACKS {
                        ask.notify_one();
                        continue;
                    }
                    let step = ladder.step(signal);
                    for text in step.says.iter().filter(|_| !quiet) {
                        say(text);
                    }
                    // At the end nobody needs to know.
                    let _ = tell.send(Some(step));
                }
            })?;
        Ok(Self {
            steps,
            stacks,
            listening,
            listener: Some(listener),
        })
    }

    /// The last that was asked for.
    pub(crate) fn last(&self) -> Option<Step> {
        self.steps.borrow().clone()
    }

    /// Is notified when somebody wants to know what the worker is doing; at the start too, for later.
    pub(crate) fn stacks(&self) -> Arc<Notify> {
        self.stacks.clone()
    }

    /// The next that is asked for.
    ///
    /// # Cancel safety
    ///
    /// Safe: nothing is lost.
    pub(crate) async fn next(&mut self) -> Step {
        loop {
            if self.steps.changed().await.is_err() {
                // The thread has ended, and no other step will come.
                std::future::pending::<()>().await;
            }
            if let Some(step) = self.steps.borrow_and_update().clone() {
                return step;
            }
        }
    }
}

impl Drop for Orders {
    fn drop(&mut self) {
        self.listening.close();
        if let Some(listener) = self.listener.take() {
            // If it panicked, its signals are nobody's any more.
            let _ = listener.join();
        }
    }
}

//! Those who speak for a worker while it works: one answers remote control, one tells monitors.

use std::sync::Arc;
use std::time::Duration;

use celeriac_core::Bus;
use celeriac_wire::Clock;
use tokio::runtime::Handle;
use tokio::sync::{oneshot, watch};
use tokio::task::{JoinHandle, spawn_blocking};
use tokio::time::timeout;

use crate::control::{Control, Identity};
use crate::dispatcher::Operator;
use crate::events::{News, Teller};
use crate::worker::Stopper;

/// How long the last words may take.
const LEAVE: Duration = Duration::from_millis(500);

/// See the module. They end with the worker.
#[derive(Debug)]
pub(crate) struct Attendants {
    telling: JoinHandle<()>,
    /// Dropped when nothing more may be told.
    hush: oneshot::Sender<()>,
}

impl Attendants {
    /// Begins to answer and to tell, until `left` resolves.
    pub(crate) async fn start(
        identity: Identity,
        bus: Arc<dyn Bus>,
        operator: Operator,
        clock: Arc<Clock>,
        news: News,
        stopper: Stopper,
        left: oneshot::Receiver<()>,
    ) -> Self {
        let (stop, mut answering) = watch::channel(false);
        let telling = stop.subscribe();
        let teller = Teller::new(
            identity.node.clone(),
            bus.clone(),
            news.clone(),
            clock.clone(),
            operator.clone(),
            identity.settings.heartbeat,
        );
        if identity.settings.answers {
            let control = Control::new(identity, bus, operator, clock, news, stopper);
            let listener = control.open().await;
            tokio::spawn(async move {
                tokio::select! {
                    () = control.run(listener) => {}
                    _ = answering.changed() => {}
                }
            });
        }
        tokio::spawn(async move {
            // Nothing is sent: the worker drops its end.
            let _ = left.await;
            stop.send_replace(true);
        });
        let (hush, hushed) = oneshot::channel::<()>();
        let runtime = Handle::current();
        // On a thread of its own: the dispatcher's has more to do than to write down what was done.
        let telling = spawn_blocking(move || {
            runtime.block_on(async {
                tokio::select! {
                    () = teller.run(telling) => {}
                    _ = hushed => {}
                }
            });
        });
        Self { telling, hush }
    }

    /// Waits until the last words are said, but not for long.
    pub(crate) async fn leave(self) {
        // Whatever is not said by then never is.
        let _ = timeout(LEAVE, self.telling).await;
        drop(self.hush);
    }
}

//! Moves bytes between a socket and its switchboard, for as long as the connection lasts.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::{Buf as _, BytesMut};
use futures_util::FutureExt as _;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, ReadHalf, WriteHalf, split};
use tokio::sync::{Notify, watch};
use tokio::time::{Instant, MissedTickBehavior, interval, timeout};

use super::LinkError;
use super::frame::{self, HEARTBEAT};
use super::login::Agreed;
use super::outbox::Outbox;
use super::socket::Socket;
use super::switchboard::Switchboard;

/// How many bytes are read at once.
const READ_BYTES: usize = 64 * 1024;

/// How often a connection without heartbeats looks whether it is still needed.
const SELDOM: Duration = Duration::from_secs(15);

/// How many times it ticks from one heartbeat to the next.
const TICKS: u32 = 4;

/// How long the last words to a server may take.
const GOODBYE: Duration = Duration::from_secs(1);

/// What handles and pump of one connection share.
#[derive(Debug)]
pub(super) struct Shared {
    switchboard: Mutex<Switchboard>,
    /// Something is to be sent.
    send: Notify,
    /// Whether the server takes no messages for now.
    pub(super) blocked: watch::Sender<bool>,
    /// Whether the connection has ended.
    pub(super) over: watch::Sender<bool>,
    /// How often what had gathered was sent.
    sent: watch::Sender<u64>,
    /// Until when it may take to end politely.
    hurry: watch::Sender<Option<Instant>>,
    alive: Mutex<Alive>,
    /// How long the server took to answer when it had nothing to do for it.
    turn: Mutex<Duration>,
}

/// What tells that this program stood still, and the server may have given up the connection.
#[derive(Debug)]
struct Alive {
    ticked: Instant,
    /// For how long it may stand still; nothing if there are no heartbeats.
    heartbeat: Option<Duration>,
    stood_still: bool,
}

impl Alive {
    fn look(&mut self) -> bool {
        let heartbeat = self.heartbeat;
        self.stood_still |= heartbeat.is_some_and(|it| self.ticked.elapsed() > it);
        self.stood_still
    }
}

impl Shared {
    pub(super) fn new(switchboard: Switchboard) -> Self {
        Self {
            switchboard: Mutex::new(switchboard),
            send: Notify::new(),
            blocked: watch::Sender::new(false),
            over: watch::Sender::new(false),
            sent: watch::Sender::new(0),
            hurry: watch::Sender::new(None),
            alive: Mutex::new(Alive {
                ticked: Instant::now(),
                heartbeat: None,
                stood_still: false,
            }),
            turn: Mutex::default(),
        }
    }

    /// How long the server takes to answer.
    pub(super) fn turn(&self) -> Duration {
        *self.turn.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// It took so long.
    pub(super) fn turned(&self, took: Duration) {
        *self.turn.lock().unwrap_or_else(PoisonError::into_inner) = took;
    }

    /// Whether this program has stood still for longer than a heartbeat, and the server has not answered
    /// since.
    pub(super) fn stood_still(&self) -> bool {
        self.alive().look()
    }

    /// The server has answered.
    pub(super) fn answered(&self) {
        let mut alive = self.alive();
        (alive.ticked, alive.stood_still) = (Instant::now(), false);
    }

    fn ticked(&self) {
        let mut alive = self.alive();
        alive.look();
        alive.ticked = Instant::now();
    }

    fn alive(&self) -> MutexGuard<'_, Alive> {
        self.alive.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn switchboard(&self) -> MutexGuard<'_, Switchboard> {
        self.switchboard
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// Has what was said sent.
    pub(super) fn send(&self) {
        self.send.notify_one();
    }

    /// Waits until all that was said before is sent, or never will be.
    pub(super) async fn sent(&self) {
        let (mut sent, mut over) = (self.sent.subscribe(), self.over.subscribe());
        let mine = {
            let switchboard = self.switchboard();
            switchboard.gathered + u64::from(!switchboard.outgoing.is_empty())
        };
        tokio::select! {
            biased;
            _ = sent.wait_for(|sent| *sent >= mine) => {}
            _ = over.wait_for(|over| *over) => {}
        }
    }

    /// The connection is to end within `limit`, whether the server answers or not.
    pub(super) fn end_within(&self, limit: Duration) {
        self.hurry.send_replace(Some(Instant::now() + limit));
    }
}

/// See the module.
pub(super) struct Pump {
    shared: Arc<Shared>,
    reading: ReadHalf<Socket>,
    writing: WriteHalf<Socket>,
    incoming: BytesMut,
    outgoing: Outbox,
    /// Whether all that was written has left: encryption may keep some of it back.
    is_flushed: bool,
    gathered: u64,
    most_bytes: usize,
    heartbeat: Option<Duration>,
    last_sent: Instant,
    /// How often it ticked since something was heard. Time alone does not tell: after this program
    /// was held up, what has arrived meanwhile is still to be read.
    silent_ticks: u32,
}

impl Pump {
    pub(super) fn new(shared: Arc<Shared>, socket: Socket, agreed: Agreed) -> Self {
        let (reading, writing) = split(socket);
        let heartbeat_s = Some(agreed.heartbeat_s).filter(|seconds| *seconds > 0);
        let heartbeat = heartbeat_s.map(|seconds| Duration::from_secs(seconds.into()));
        shared.alive().heartbeat = heartbeat;
        Self {
            shared,
            reading,
            writing,
            incoming: agreed.incoming,
            outgoing: Outbox::default(),
            is_flushed: true,
            gathered: 0,
            most_bytes: agreed.frame_bytes,
            heartbeat,
            last_sent: Instant::now(),
            silent_ticks: 0,
        }
    }

    /// Runs until the connection ends, and tells all who wait for something on it.
    pub(super) async fn run(mut self) {
        let shared = self.shared.clone();
        let error = match self.work().await {
            Ok(never) => match never {},
            Err(error) => error,
        };
        shared.switchboard().end(&error);
        shared.over.send_replace(true);
        // A server that has ended the connection is told that we heard it.
        let goodbye = std::mem::take(&mut shared.switchboard().outgoing);
        let last_words = async {
            if matches!(error, LinkError::Refused { .. }) && self.outgoing.is_empty() {
                let _ = self.writing.write_all(&goodbye.bytes).await;
            }
            let _ = self.writing.shutdown().await;
        };
        // One that reads no more must not keep us.
        let _ = timeout(GOODBYE, last_words).await;
    }

    async fn work(&mut self) -> Result<std::convert::Infallible, LinkError> {
        let shared = self.shared.clone();
        let mut hurry = shared.hurry.subscribe();
        let mut ticks = interval(self.heartbeat.map_or(SELDOM, |it| it / TICKS));
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        self.take_in()?;
        loop {
            self.gather();
            let deadline = *hurry.borrow_and_update();
            let is_sending = !self.outgoing.is_empty() || !self.is_flushed;
            self.incoming.reserve(READ_BYTES);
            tokio::select! {
                read = self.reading.read_buf(&mut self.incoming) => {
                    if read? == 0 {
                        return Err(LinkError::Lost("the server hung up".to_owned()));
                    }
                    self.silent_ticks = 0;
                    self.take_in()?;
                }
                written = push(&mut self.writing, self.outgoing.next()), if is_sending => {
                    self.outgoing.advance(written?);
                    self.last_sent = Instant::now();
                    self.flush()?;
                }
                () = shared.send.notified(), if !is_sending => {}
                _ = ticks.tick() => self.tick()?,
                _ = hurry.changed() => {}
                () = until(deadline) => {
                    return Err(LinkError::Lost("it was closed".to_owned()));
                }
            }
        }
    }

    /// Sees to it that what was written leaves. If it cannot leave yet, that goes on beside reading,
    /// as writing does.
    fn flush(&mut self) -> Result<(), LinkError> {
        if self.outgoing.is_empty() {
            let flushed = self.writing.flush().now_or_never();
            self.is_flushed = flushed.transpose()?.is_some();
            if self.is_flushed {
                self.shared.sent.send_replace(self.gathered);
            }
        }
        Ok(())
    }

    /// Takes over what callers have said, once all before it is sent.
    fn gather(&mut self) {
        if self.outgoing.is_empty() && self.is_flushed {
            self.outgoing.clear(READ_BYTES);
            let mut switchboard = self.shared.switchboard();
            std::mem::swap(&mut self.outgoing, &mut switchboard.outgoing);
            switchboard.gathered += u64::from(!self.outgoing.is_empty());
            self.gathered = switchboard.gathered;
        }
    }

    /// Takes in the frames that have arrived.
    fn take_in(&mut self) -> Result<(), LinkError> {
        let mut taken = 0;
        {
            let mut switchboard = self.shared.switchboard();
            while let Some((frame, size)) = frame::split(&self.incoming[taken..], self.most_bytes)?
            {
                switchboard.take_in(&frame)?;
                taken += size;
            }
            let blocked = switchboard.blocked.is_some();
            self.shared.blocked.send_if_modified(|before| {
                let changed = *before != blocked;
                if changed && blocked {
                    let reason = switchboard.blocked.as_deref();
                    tracing::warn!(reason, "the server takes no messages for now");
                }
                *before = blocked;
                changed
            });
        }
        self.incoming.advance(taken);
        Ok(())
    }

    /// Says that we are here, and sees whether the server is.
    fn tick(&mut self) -> Result<(), LinkError> {
        let Some(heartbeat) = self.heartbeat else {
            return Ok(());
        };
        self.shared.ticked();
        self.silent_ticks += 1;
        if self.silent_ticks > 2 * TICKS {
            let seconds = (heartbeat * 2).as_secs();
            return Err(LinkError::Lost(format!(
                "nothing was heard for {seconds} s"
            )));
        }
        let is_idle = self.outgoing.is_empty() && self.is_flushed;
        if is_idle && self.last_sent.elapsed() >= heartbeat / 2 {
            frame::put(&mut self.outgoing.bytes, HEARTBEAT, 0, |_| {});
        }
        Ok(())
    }
}

/// Writes some of `bytes`; if none are left, waits until what was written has left.
async fn push(writing: &mut WriteHalf<Socket>, bytes: &[u8]) -> std::io::Result<usize> {
    if bytes.is_empty() {
        writing.flush().await.map(|()| 0)
    } else {
        writing.write(bytes).await
    }
}

async fn until(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => tokio::time::sleep_until(deadline).await,
        None => std::future::pending().await,
    }
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::pin::Pin;
    use std::task::{Context, Poll};

    use celeriac_testkit::within;
    use tokio::io::{AsyncRead, AsyncWrite, DuplexStream, ReadBuf, duplex};

    use super::super::method::{self, id};
    use super::*;

    /// Takes what is written, but never comes to the end of sending it.
    struct Clogged(DuplexStream);

    impl AsyncRead for Clogged {
        fn poll_read(
            mut self: Pin<&mut Self>,
            context: &mut Context<'_>,
            into: &mut ReadBuf<'_>,
        ) -> Poll<io::Result<()>> {
            Pin::new(&mut self.0).poll_read(context, into)
        }
    }

    impl AsyncWrite for Clogged {
        fn poll_write(
            mut self: Pin<&mut Self>,
            context: &mut Context<'_>,
            bytes: &[u8],
        ) -> Poll<io::Result<usize>> {
            Pin::new(&mut self.0).poll_write(context, bytes)
        }

        fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Pending
        }

        fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Pending
        }
    }

    fn pump(socket: Socket) -> (Arc<Shared>, Pump) {
        let agreed = Agreed {
            channels: 1,
            frame_bytes: 4096,
            heartbeat_s: 0,
            incoming: BytesMut::new(),
        };
        let shared = Arc::new(Shared::new(Switchboard::new(1, 4096)));
        (shared.clone(), Pump::new(shared, socket, agreed))
    }

    #[tokio::test]
    async fn a_server_is_heard_while_what_was_said_cannot_leave() {
        let (ours, mut theirs) = duplex(4096);
        let (shared, pump) = pump(Box::new(Clogged(ours)));
        let pump = tokio::spawn(pump.run());
        frame::put(
            &mut shared.switchboard().outgoing.bytes,
            HEARTBEAT,
            0,
            |_| {},
        );
        shared.send();
        within(theirs.read_exact(&mut [0; frame::OVERHEAD]))
            .await
            .unwrap();

        let mut blocked = Vec::new();
        method::put(&mut blocked, 0, id::BLOCKED, |out| {
            frame::put_short(out, "no room");
        });
        theirs.write_all(&blocked).await.unwrap();

        let mut heard = shared.blocked.subscribe();
        within(heard.wait_for(|blocked| *blocked)).await.unwrap();
        shared.end_within(Duration::ZERO);
        within(pump).await.unwrap();
    }

    #[tokio::test]
    async fn a_program_that_was_held_up_reads_before_it_gives_up() {
        const HEARTBEAT_LASTS: Duration = Duration::from_millis(20);
        let (ours, mut theirs) = duplex(4096);
        let (shared, mut pump) = pump(Box::new(ours));
        pump.heartbeat = Some(HEARTBEAT_LASTS);
        tokio::spawn(pump.run());
        let mut heartbeat = Vec::new();
        frame::put(&mut heartbeat, HEARTBEAT, 0, |_| {});
        for _ in 0..20 {
            theirs.write_all(&heartbeat).await.unwrap();
            // Nothing else runs meanwhile, on this runtime of one thread.
            std::thread::sleep(3 * HEARTBEAT_LASTS);
            tokio::task::yield_now().await;
            assert!(!*shared.over.borrow());
        }
        // What it hears at last is nothing.
        let mut over = shared.over.subscribe();
        within(over.wait_for(|over| *over)).await.unwrap();
    }
}

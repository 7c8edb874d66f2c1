//! Moves bytes between a socket and its switchboard, for as long as the connection lasts.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::{Buf as _, BytesMut};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, ReadHalf, WriteHalf, split};
use tokio::sync::{Notify, watch};
use tokio::time::{Instant, MissedTickBehavior, interval};

use super::LinkError;
use super::frame::{self, HEARTBEAT};
use super::login::Agreed;
use super::socket::Socket;
use super::switchboard::Switchboard;

/// How many bytes are read at once.
const READ_BYTES: usize = 64 * 1024;

/// How often a connection without heartbeats looks whether it is still needed.
const SELDOM: Duration = Duration::from_secs(15);

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
        }
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
    outgoing: Vec<u8>,
    sent: usize,
    gathered: u64,
    most_bytes: usize,
    heartbeat: Option<Duration>,
    last_sent: Instant,
    last_heard: Instant,
}

impl Pump {
    pub(super) fn new(shared: Arc<Shared>, socket: Socket, agreed: Agreed) -> Self {
        let (reading, writing) = split(socket);
        let now = Instant::now();
        let heartbeat_s = Some(agreed.heartbeat_s).filter(|seconds| *seconds > 0);
        Self {
            shared,
            reading,
            writing,
            incoming: agreed.incoming,
            outgoing: Vec::new(),
            sent: 0,
            gathered: 0,
            most_bytes: agreed.frame_bytes,
            heartbeat: heartbeat_s.map(|seconds| Duration::from_secs(seconds.into())),
            last_sent: now,
            last_heard: now,
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
        if matches!(error, LinkError::Refused { .. }) && self.sent == self.outgoing.len() {
            let _ = self.writing.write_all(&goodbye).await;
        }
        let _ = self.writing.shutdown().await;
    }

    async fn work(&mut self) -> Result<std::convert::Infallible, LinkError> {
        let shared = self.shared.clone();
        let mut hurry = shared.hurry.subscribe();
        let mut ticks = interval(self.heartbeat.map_or(SELDOM, |it| it / 4));
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        self.take_in()?;
        loop {
            self.gather();
            let deadline = *hurry.borrow_and_update();
            let is_sending = self.sent < self.outgoing.len();
            self.incoming.reserve(READ_BYTES);
            tokio::select! {
                read = self.reading.read_buf(&mut self.incoming) => {
                    if read? == 0 {
                        return Err(LinkError::Lost("the server hung up".to_owned()));
                    }
                    self.last_heard = Instant::now();
                    self.take_in()?;
                }
                written = self.writing.write(&self.outgoing[self.sent..]), if is_sending => {
                    self.sent += written?;
                    self.last_sent = Instant::now();
                    if self.sent == self.outgoing.len() {
                        self.writing.flush().await?;
                        shared.sent.send_replace(self.gathered);
                    }
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

    /// Takes over what callers have said, once all before it is sent.
    fn gather(&mut self) {
        if self.sent == self.outgoing.len() {
            self.sent = 0;
            self.outgoing.clear();
            self.outgoing.shrink_to(READ_BYTES);
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
        let silent = self.last_heard.elapsed();
        if silent > heartbeat * 2 {
            let seconds = silent.as_secs();
            return Err(LinkError::Lost(format!(
                "nothing was heard for {seconds} s"
            )));
        }
        let is_idle = self.sent == self.outgoing.len();
        if is_idle && self.last_sent.elapsed() >= heartbeat / 2 {
            frame::put(&mut self.outgoing, HEARTBEAT, 0, |_| {});
        }
        Ok(())
    }
}

async fn until(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => tokio::time::sleep_until(deadline).await,
        None => std::future::pending().await,
    }
}

//! One direction of a connection through a faulty network.

use std::future::pending;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{ReadHalf, WriteHalf};
use tokio::select;
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep, sleep_until};

use super::proxy::Way;
use super::weather::Weather;

/// How many reads may be under way.
const UNDER_WAY: usize = 1024;

/// How a connection ended.
pub(super) enum End {
    /// A side closed it.
    Closed,
    /// It was reset.
    Cut,
    /// It ended within something.
    Torn,
}

/// What is under way, and when it arrives.
struct Parcel {
    due: Instant,
    bytes: Vec<u8>,
}

/// Sends what comes from one side on its way: one after the other, but not one waiting for the other's
/// arrival.
async fn send(mut from: ReadHalf<'_>, line: &mpsc::Sender<Parcel>, sky: &watch::Receiver<Weather>) {
    let mut bytes = vec![0; 64 * 1024];
    while let Ok(count @ 1..) = from.read(&mut bytes).await {
        let (takes, delay) = {
            let weather = sky.borrow();
            (weather.takes(count), weather.delay)
        };
        if !takes.is_zero() {
            sleep(takes).await;
        }
        let parcel = Parcel {
            due: Instant::now() + delay,
            bytes: bytes[..count].to_vec(),
        };
        if line.send(parcel).await.is_err() {
            return;
        }
    }
}

/// One direction of a connection.
pub(super) struct Pump<'a> {
    to: WriteHalf<'a>,
    weather: watch::Sender<Weather>,
    sky: watch::Receiver<Weather>,
    way: Way,
    carried: usize,
    /// The end of what was carried: a marker may come in pieces.
    tail: Vec<u8>,
}

impl<'a> Pump<'a> {
    pub(super) fn new(to: WriteHalf<'a>, weather: &watch::Sender<Weather>, way: Way) -> Self {
        Self {
            to,
            sky: weather.subscribe(),
            weather: weather.clone(),
            way,
            carried: 0,
            tail: Vec::new(),
        }
    }

    /// Carries until one side closes or fails; then the other one learns of it. An error is a fault.
    pub(super) async fn run(mut self, from: ReadHalf<'_>) -> Result<(), End> {
        let (line, arriving) = mpsc::channel(UNDER_WAY);
        let sky = self.sky.clone();
        let sending = async {
            send(from, &line, &sky).await;
            drop(line);
            // What is still under way arrives.
            pending().await
        };
        select! {
            ended = self.deliver(arriving) => ended,
            never = sending => never,
        }
    }

    async fn deliver(&mut self, mut arriving: mpsc::Receiver<Parcel>) -> Result<(), End> {
        while let Some(Parcel { due, bytes }) = arriving.recv().await {
            // Where there is no delay none is to come of a timer that counts milliseconds.
            if due > Instant::now() {
                sleep_until(due).await;
            }
            let direction = self.way as usize;
            // The sender outlives the connection, which holds one.
            let _ = self.sky.wait_for(|it| !it.held[direction]).await;
            let left = self.left();
            let carried = &bytes[..bytes.len().min(left)];
            if self.to.write_all(carried).await.is_err() {
                break;
            }
            self.carried += carried.len();
            if self.way == Way::Replies {
                self.spring(carried);
            }
            if bytes.len() >= left {
                return Err(End::Torn);
            }
        }
        // It fails if the other side was faster.
        let _ = self.to.shutdown().await;
        Ok(())
    }

    /// How many bytes it carries before it ends.
    fn left(&self) -> usize {
        match self.sky.borrow().torn {
            Some((way, bytes)) if way == self.way => bytes.saturating_sub(self.carried),
            _ => usize::MAX,
        }
    }

    /// Lets the fault happen that waits for what was just carried.
    fn spring(&mut self, carried: &[u8]) {
        let trap = self.sky.borrow().trap.clone();
        let Some((marker, fault)) = trap else { return };
        self.tail.extend_from_slice(carried);
        if self
            .tail
            .windows(marker.len())
            .any(|bytes| *bytes == *marker)
        {
            self.weather.send_modify(|weather| {
                weather.strike(fault);
                weather.trap = None;
                weather.sprung = true;
            });
            self.tail.clear();
        }
        let kept = marker.len().saturating_sub(1).min(self.tail.len());
        self.tail.drain(..self.tail.len() - kept);
    }
}

//! What the thread waits for.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::buffer::spare_capacity;
use rustix::event::epoll::{CreateFlags, Event, EventData, EventFlags};
use rustix::event::{Timespec, epoll};

use super::Reactor;
use crate::pool::mailbox::Mailbox;
use crate::pool::process::Process;

/// The most events that are taken at once.
const MOST_EVENTS: usize = 128;

/// Who is heard.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Source {
    Bell,
    Control,
    /// The end of the fork server.
    Server,
    /// Packets of the process with this number.
    Channel(u64),
    /// Its end.
    Death(u64),
}

impl Source {
    fn token(self) -> EventData {
        EventData::new_u64(match self {
            Self::Bell => 0,
            Self::Control => 1,
            Self::Server => 2,
            Self::Channel(number) => number << 2 | 3,
            Self::Death(number) => number << 2,
        })
    }

    fn from_token(token: EventData) -> Self {
        let token = token.u64();
        match (token, token & 3) {
            (0, _) => Self::Bell,
            (1, _) => Self::Control,
            (2, _) => Self::Server,
            (_, 3) => Self::Channel(token >> 2),
            _ => Self::Death(token >> 2),
        }
    }
}

pub(super) struct Waiting {
    epoll: OwnedFd,
    events: Vec<Event>,
}

impl Waiting {
    pub(super) fn new(mailbox: &Arc<Mailbox>) -> io::Result<Self> {
        let waiting = Self {
            epoll: epoll::create(CreateFlags::CLOEXEC)?,
            events: Vec::with_capacity(MOST_EVENTS),
        };
        waiting.hear(mailbox.bell(), Source::Bell)?;
        Ok(waiting)
    }

    /// Hears `descriptor` until it is closed or forgotten.
    pub(super) fn hear(&self, descriptor: BorrowedFd<'_>, source: Source) -> io::Result<()> {
        Ok(epoll::add(
            &self.epoll,
            descriptor,
            source.token(),
            EventFlags::IN,
        )?)
    }

    pub(super) fn forget(&self, descriptor: impl AsFd) {
        // It may never have been heard.
        let _ = epoll::delete(&self.epoll, descriptor);
    }

    /// Hears, or no more, when there is room to write.
    pub(super) fn hear_room(&self, descriptor: BorrowedFd<'_>, source: Source, wanted: bool) {
        let flags = if wanted {
            EventFlags::IN | EventFlags::OUT
        } else {
            EventFlags::IN
        };
        let _ = epoll::modify(&self.epoll, descriptor, source.token(), flags);
    }

    fn wait(&mut self, timeout: Option<Duration>) {
        // Rounded up to what the system counts in, so that nothing is looked at too early.
        let timeout = timeout.and_then(|timeout| {
            let millis = timeout.as_nanos().div_ceil(1_000_000);
            Timespec::try_from(Duration::from_millis(millis.try_into().ok()?)).ok()
        });
        self.events.clear();
        // An interruption is a wait that ended early.
        let _ = epoll::wait(
            &self.epoll,
            spare_capacity(&mut self.events),
            timeout.as_ref(),
        );
    }
}

impl Reactor {
    /// Waits for whatever comes first, and hears it.
    pub(super) fn wait(&mut self, now: Instant) {
        let timeout = self
            .wake_at(now)
            .map(|at| at.saturating_duration_since(now));
        let awake = timeout == Some(Duration::ZERO) || !self.mailbox.fall_asleep();
        self.waiting
            .wait(if awake { Some(Duration::ZERO) } else { timeout });
        let events = std::mem::take(&mut self.waiting.events);
        let sources = events.iter().map(|event| Source::from_token(event.data));
        self.mailbox
            .wake_up(sources.clone().any(|source| source == Source::Bell));
        let now = Instant::now();
        for source in sources {
            self.on_event(source, now);
        }
        self.waiting.events = events;
    }

    fn wake_at(&self, now: Instant) -> Option<Instant> {
        let start_timeout = self.start_timeout();
        let children = self.children.iter();
        let children =
            children.flat_map(|child| [child.process.wake_at(start_timeout), child.overdue_at()]);
        children
            .flatten()
            .chain(self.books.next_alarm())
            .chain(self.desk.wake_at(start_timeout))
            .chain(self.launch.wake_at())
            .chain(self.scale_at(now))
            .chain(self.stacks_at())
            .chain(self.closing_at())
            .min()
    }

    pub(super) fn start_timeout(&self) -> Duration {
        let settings = self.settings.as_ref();
        settings.map_or(Duration::from_secs(60), |settings| settings.start_timeout)
    }

    /// Hears what a process says from now on.
    pub(super) fn hear_process(&self, process: &Process) {
        let source = Source::Channel(process.number);
        if let Err(error) = self.waiting.hear(process.channel.as_fd(), source) {
            tracing::error!(
                error = &error as &dyn std::error::Error,
                "a process cannot be heard"
            );
        }
    }
}

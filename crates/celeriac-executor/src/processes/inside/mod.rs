//! What runs in a child.
//!
//! A child never reaches `main`: it enters through a constructor, leaves a keeper behind, serves its
//! socket and exits. Three threads live in it: the first one waits, one serves, and one watches.

mod blocking;
mod coroutines;
mod inboxes;
mod input;
mod keeper;
mod order;
mod outbox;
mod stream;
mod watch;

use std::fs;
use std::io::{self, IoSliceMut, Write as _};
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::thread;

use celeriac_core::outcome::{ErrorKind, Outcome, TaskError};
use celeriac_core::task::recycle;
use celeriac_core::{Control, PayloadError};
use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags};
use rustix::process::{Resource, Rlimit, Signal};

use self::inboxes::Inboxes;
use self::order::Order;
use self::outbox::Outbox;
use self::watch::Watch;
use super::arena::{Arena, CAUSE, Notice};
use super::setup::Setup;
use super::wire::{About, RunHeader};
use crate::os;

/// The stack of the thread that runs tasks: what a main thread has on most systems.
const STACK_BYTES: usize = 8 * 1024 * 1024;

/// The exit status of a child that could not begin to serve.
const EXIT_NOT_STARTED: i32 = 70;

/// Serves the parent that `marker` names, then exits.
#[expect(clippy::exit, reason = "a child ends here, before `main` was reached")]
pub(crate) fn enter(marker: &str) -> ! {
    let status = match prepare(marker).and_then(serve) {
        Ok(()) => 0,
        Err(error) => {
            let _ = writeln!(io::stderr(), "celeriac: a child cannot start: {error}");
            EXIT_NOT_STARTED
        }
    };
    std::process::exit(status)
}

/// Ties this process to its parent, and takes the socket into one of its own.
fn prepare(marker: &str) -> io::Result<OwnedFd> {
    let parent = super::setup::read_marker(marker)
        .ok_or_else(|| io::Error::other("it was not started by this version of celeriac"))?;
    // For the keeper, who has work to do then.
    rustix::process::set_parent_process_death_signal(Some(Signal::TERM))?;
    let actual = rustix::process::getppid().map(|pid| pid.as_raw_nonzero().get());
    if actual != Some(parent) {
        return Err(io::Error::other("its parent is gone"));
    }
    os::ignore_signals();
    let none = Rlimit {
        current: Some(0),
        maximum: Some(0),
    };
    rustix::process::setrlimit(Resource::Core, none)?;
    let socket = keeper::stand_between(os::take_stdin()?)?;
    // Best effort: if memory runs out, the kernel should take a child and not the parent.
    let _ = fs::read_to_string("/proc/self/oom_score_adj").and_then(|own| {
        let own: i32 = own.trim().parse().unwrap_or(0);
        fs::write(
            "/proc/self/oom_score_adj",
            (own + 500).min(1000).to_string(),
        )
    });
    Ok(socket)
}

/// Receives the setup and the arena, says hello and runs what comes until the parent hangs up.
fn serve(socket: OwnedFd) -> io::Result<()> {
    let (setup, file) = receive_setup(&socket)?;
    let arena: &'static Arena = Box::leak(Box::new(Arena::open(file, setup.shape)?));
    os::note_overflows(arena.board().words(), CAUSE)?;
    let outbox = Outbox::new(socket.try_clone()?, arena)?;
    let inside = Arc::new(Inside {
        arena,
        outbox,
        watch: Watch::new()?,
        body_limit: setup.body_limit,
    });
    let watched = inside.clone();
    thread::Builder::new()
        .name("celeriac-watch".to_owned())
        .spawn(move || watched.watch.run(&watched))?;
    inside.outbox.hello();
    let server = thread::Builder::new()
        .name("celeriac-task".to_owned())
        .stack_size(STACK_BYTES)
        .spawn(move || {
            os::guard_stack();
            if setup.coroutines {
                coroutines::serve(&inside, socket)
            } else {
                blocking::serve(&inside, socket)
            }
        })?;
    server
        .join()
        .map_err(|_| io::Error::other("its serving thread panicked"))?
}

fn receive_setup(socket: &OwnedFd) -> io::Result<(Setup, OwnedFd)> {
    let mut bytes = [0; Setup::SIZE];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut ancillary = RecvAncillaryBuffer::new(&mut space);
    let received = rustix::io::retry_on_intr(|| {
        rustix::net::recvmsg(
            socket,
            &mut [IoSliceMut::new(&mut bytes)],
            &mut ancillary,
            RecvFlags::CMSG_CLOEXEC,
        )
    })?;
    let file = ancillary
        .drain()
        .find_map(|message| match message {
            RecvAncillaryMessage::ScmRights(mut files) => files.next(),
            _ => None,
        })
        .filter(|_| received.bytes == bytes.len())
        .ok_or_else(|| io::Error::other("its parent sent no setup"))?;
    Ok((Setup::read(&bytes), file))
}

/// What the threads of a child share.
struct Inside {
    arena: &'static Arena,
    outbox: Outbox,
    watch: Watch,
    body_limit: usize,
}

impl Inside {
    /// The chunk that came in the frame or in the inbox.
    fn body<'a>(
        &self,
        header: &RunHeader<'_>,
        inline: &'a [u8],
        inboxes: &'a mut Inboxes,
    ) -> io::Result<&'a [u8]> {
        if header.inbox == 0 {
            return Ok(inline);
        }
        inboxes.chunk(self.arena, header.seat, header.inbox as usize)
    }

    /// The outcome of a call nobody wants begun any more, if that is so.
    fn unwanted(&self, order: &Order) -> Option<TaskError> {
        match self
            .arena
            .board()
            .notice(order.ticket.seat, order.ticket.serial)?
        {
            Notice::Soft => None,
            Notice::Cancel => Some(TaskError::cancelled()),
            Notice::Shutdown | Notice::SkipRest => Some(TaskError::shutdown()),
        }
    }

    /// A control that tells the parent of a call's progress.
    fn control(self: &Arc<Self>, about: About) -> Arc<Control> {
        let control = Control::new();
        let inside = self.clone();
        control.on_progress(move |progress| {
            inside.outbox.progress(about, progress);
            inside.watch.arm();
        });
        control
    }

    /// Sends an outcome, unless its value is too large.
    fn answer(&self, order: &Order, index: u32, outcome: Outcome<Vec<u8>>) {
        let outcome = outcome.and_then(|value| {
            if value.len() <= self.body_limit {
                return Ok(value);
            }
            let error = PayloadError::TooLarge {
                size_bytes: value.len(),
                limit_bytes: self.body_limit,
            };
            Err(TaskError::new(
                ErrorKind::BadResult,
                format!("its result: {error}"),
            ))
        });
        self.outbox
            .outcome(&order.ticket, order.about(index), &outcome);
        if let Ok(value) = outcome {
            recycle(value);
        }
    }
}

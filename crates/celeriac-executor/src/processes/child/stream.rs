//! The parent's end of a child's socket, with what has not gone through it yet.

use std::io::{self, IoSlice};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};

use rustix::io::Errno;
use rustix::net::{
    AddressFamily, SendAncillaryBuffer, SendAncillaryMessage, SendFlags, SocketFlags, SocketType,
};

use super::super::arena::{Arena, RING_BYTES};
use super::super::setup::Setup;
use super::super::wire::{CHILD_FRAME_LIMIT, OUTCOMES_HEADER, split_frame};

/// The socket, which never blocks, and its buffers.
pub(super) struct Stream {
    socket: OwnedFd,
    /// Bytes the socket has not taken yet.
    out: Vec<u8>,
    sent: usize,
    /// Bytes of the child's stream that are not a whole frame yet, and where they begin in it.
    input: Vec<u8>,
    input_at: u64,
    ended: bool,
}

/// What a look into the socket brought.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Read {
    /// Nothing that was not there before.
    Nothing,
    /// Bytes, and there may be more.
    Some,
    /// Bytes, and there are no more now.
    Last,
    /// The child's end is closed.
    End,
}

/// Bytes that were read, to be taken off frame by frame.
pub(super) struct Arrived {
    bytes: Vec<u8>,
    start: usize,
}

impl Arrived {
    /// The next whole frame; an error says what is none.
    pub(super) fn next(&mut self) -> Result<Option<&[u8]>, String> {
        match split_frame(&self.bytes[self.start..], CHILD_FRAME_LIMIT) {
            Ok(Some((frame, taken))) => {
                self.start += taken;
                Ok(Some(frame))
            }
            Ok(None) => Ok(None),
            Err(too_long) => Err(format!("a frame of {} bytes", too_long.0)),
        }
    }
}

impl Stream {
    /// A stream, and the child's end of it, in which the setup and the arena wait to be found.
    pub(super) fn open(setup: Setup, arena: &Arena) -> io::Result<(Self, OwnedFd)> {
        let (socket, theirs) = rustix::net::socketpair(
            AddressFamily::UNIX,
            SocketType::STREAM,
            SocketFlags::CLOEXEC,
            None,
        )?;
        rustix::io::ioctl_fionbio(&socket, true)?;
        send_setup(&socket, setup, arena)?;
        let stream = Self {
            socket,
            out: Vec::new(),
            sent: 0,
            input: Vec::new(),
            input_at: 0,
            ended: false,
        };
        Ok((stream, theirs))
    }

    pub(super) fn socket(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }

    /// Whether the child's end is open, as far as is known.
    pub(super) fn is_open(&self) -> bool {
        !self.ended
    }

    /// What is sent next is appended here.
    pub(super) fn out(&mut self) -> &mut Vec<u8> {
        &mut self.out
    }

    /// Whether bytes wait for the socket.
    pub(super) fn wants_to_write(&self) -> bool {
        self.sent < self.out.len() && !self.ended
    }

    /// Hands the socket what it takes now.
    pub(super) fn flush(&mut self) {
        while self.wants_to_write() {
            match rustix::net::send(&self.socket, &self.out[self.sent..], SendFlags::NOSIGNAL) {
                Ok(sent) => self.sent += sent,
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => return,
                // It is dying; the rest is said when it is dead.
                Err(_) => break,
            }
        }
        self.out.clear();
        self.sent = 0;
    }

    /// Says that nothing more will be sent.
    pub(super) fn hang_up(&self) {
        let _ = rustix::net::shutdown(&self.socket, rustix::net::Shutdown::Write);
    }

    /// Reads as much as fits `scratch`.
    pub(super) fn read(&mut self, scratch: &mut [u8]) -> Read {
        match rustix::io::retry_on_intr(|| rustix::io::read(&self.socket, &mut *scratch)) {
            Ok(read) if read > 0 => {
                self.input.extend_from_slice(&scratch[..read]);
                if read < scratch.len() {
                    Read::Last
                } else {
                    Read::Some
                }
            }
            Err(Errno::AGAIN) => Read::Nothing,
            _ => {
                self.ended = true;
                Read::End
            }
        }
    }

    /// What was read and not taken yet; to be given back.
    pub(super) fn arrived(&mut self) -> Arrived {
        Arrived {
            bytes: std::mem::take(&mut self.input),
            start: 0,
        }
    }

    /// Keeps what was not a whole frame.
    pub(super) fn give_back(&mut self, arrived: Arrived) {
        self.input = arrived.bytes;
        self.input.drain(..arrived.start);
        self.input_at += arrived.start as u64;
    }

    /// After the child's death: reads from the black box what it had finished and not sent.
    pub(super) fn recover(&mut self, arena: &Arena) {
        let received = self.input_at + self.input.len() as u64;
        let missing = arena.board().produced().saturating_sub(received);
        if missing == 0 || missing > RING_BYTES as u64 {
            return;
        }
        let old = self.input.len();
        let missing = usize::try_from(missing).expect("it fits the ring");
        self.input.resize(old + missing, 0);
        if arena.read_ring(received, &mut self.input[old..]).is_err() {
            self.input.truncate(old);
            return;
        }
        // The last frame may still have been growing: it ends where the stream does.
        if let Some(at) = arena.board().open_at()
            && let Some(start) = at.checked_sub(self.input_at)
            && let Ok(start) = usize::try_from(start)
            && start + OUTCOMES_HEADER <= self.input.len()
            && let Ok(length) = u32::try_from(self.input.len() - start - 4)
        {
            self.input[start..start + 4].copy_from_slice(&length.to_le_bytes());
        }
    }
}

/// Leaves the setup and the arena in the socket for the child to find.
fn send_setup(socket: &OwnedFd, setup: Setup, arena: &Arena) -> io::Result<()> {
    let file = [arena.file()];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut ancillary = SendAncillaryBuffer::new(&mut space);
    ancillary.push(SendAncillaryMessage::ScmRights(&file));
    rustix::net::sendmsg(
        socket,
        &[IoSlice::new(&setup.write())],
        &mut ancillary,
        SendFlags::NOSIGNAL,
    )?;
    Ok(())
}

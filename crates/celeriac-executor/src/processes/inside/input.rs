//! The frames a parent sends, read in large pieces.

use std::io;
use std::os::fd::OwnedFd;

use super::super::wire::{PARENT_FRAME_LIMIT, split_frame};

const READ_BYTES: usize = 64 * 1024;

/// The receiving end of the socket.
pub(super) struct Input {
    socket: OwnedFd,
    buffer: Vec<u8>,
    start: usize,
    end: usize,
}

impl Input {
    pub(super) fn new(socket: OwnedFd) -> Self {
        Self {
            socket,
            buffer: vec![0; READ_BYTES],
            start: 0,
            end: 0,
        }
    }

    /// The next whole frame that has been read, if there is one.
    pub(super) fn next(&mut self) -> io::Result<Option<&[u8]>> {
        let bytes = &self.buffer[self.start..self.end];
        match split_frame(bytes, PARENT_FRAME_LIMIT) {
            Ok(Some((frame, taken))) => {
                self.start += taken;
                Ok(Some(frame))
            }
            Ok(None) => Ok(None),
            Err(too_long) => Err(io::Error::other(format!(
                "its parent sent a frame of {} bytes",
                too_long.0
            ))),
        }
    }

    /// Waits for more bytes; false if there will be none.
    pub(super) fn fill(&mut self) -> io::Result<bool> {
        self.buffer.copy_within(self.start..self.end, 0);
        self.end -= self.start;
        self.start = 0;
        if self.buffer.len() - self.end < READ_BYTES / 2 {
            self.buffer.resize(self.buffer.len() + READ_BYTES, 0);
        }
        let room = &mut self.buffer[self.end..];
        let read = rustix::io::retry_on_intr(|| rustix::io::read(&self.socket, &mut *room))?;
        self.end += read;
        Ok(read != 0)
    }
}

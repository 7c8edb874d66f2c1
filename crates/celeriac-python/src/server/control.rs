//! Frames to and from the fork server.

use std::collections::VecDeque;
use std::io::{ErrorKind, IoSlice, Read as _};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;

use rustix::cmsg_space;
use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::packet::Junk;

/// No frame is longer: a report names every task, and there may be thousands.
const FRAME_LIMIT: usize = 64 * 1024 * 1024;

/// So many descriptors travel beside a frame.
const DESCRIPTORS: usize = 2;

/// The worker's end of the control socket. It never waits.
#[derive(Debug)]
pub(super) struct Control {
    socket: UnixStream,
    outbox: VecDeque<Frame>,
    inbox: Vec<u8>,
    closed: bool,
}

#[derive(Debug)]
struct Frame {
    bytes: Vec<u8>,
    sent: usize,
    /// What travels beside its first byte.
    descriptors: Vec<OwnedFd>,
}

impl Control {
    pub(super) fn new(socket: UnixStream) -> Self {
        Self {
            socket,
            outbox: VecDeque::new(),
            inbox: Vec::new(),
            closed: false,
        }
    }

    /// Puts a frame behind those that wait.
    pub(super) fn send(&mut self, frame: &impl Serialize, descriptors: Vec<OwnedFd>) {
        let mut bytes = vec![0; 4];
        serde_json::to_writer(&mut bytes, frame)
            .expect("its keys are texts, and a Vec takes every byte");
        let size = u32::try_from(bytes.len() - 4).expect("a frame is below 4 GiB");
        bytes[..4].copy_from_slice(&size.to_le_bytes());
        self.outbox.push_back(Frame {
            bytes,
            sent: 0,
            descriptors,
        });
    }

    /// Sends what waits; false if some of it still does. An error is left to whoever reads.
    pub(super) fn flush(&mut self) -> bool {
        while let Some(frame) = self.outbox.front_mut() {
            match frame.send(&self.socket) {
                Ok(count) => frame.sent += count,
                Err(rustix::io::Errno::AGAIN) => return false,
                Err(_) => {
                    self.outbox.clear();
                    return true;
                }
            }
            if frame.sent == frame.bytes.len() {
                self.outbox.pop_front();
            }
        }
        true
    }

    /// Whether the other side has hung up.
    pub(super) fn is_closed(&self) -> bool {
        self.closed
    }

    /// The frames that came since the last time.
    pub(super) fn receive<T: DeserializeOwned>(&mut self) -> Result<Vec<T>, Junk> {
        let mut some = [0; 16 * 1024];
        loop {
            match self.socket.read(&mut some) {
                Ok(0) => {
                    self.closed = true;
                    break;
                }
                Ok(count) => self.inbox.extend_from_slice(&some[..count]),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => {
                    self.closed |= error.kind() != ErrorKind::WouldBlock;
                    break;
                }
            }
        }
        let mut frames = Vec::new();
        let mut rest = &self.inbox[..];
        while let Some((size, behind)) = rest.split_first_chunk() {
            let size = usize::try_from(u32::from_le_bytes(*size)).unwrap_or(usize::MAX);
            if size > FRAME_LIMIT {
                return Err(Junk::new(format!("a frame of {size} bytes")));
            }
            let Some((frame, behind)) = behind.split_at_checked(size) else {
                break;
            };
            let frame = serde_json::from_slice(frame)
                .map_err(|error| Junk::new(format!("a frame does not decode: {error}")))?;
            frames.push(frame);
            rest = behind;
        }
        self.inbox = rest.to_vec();
        Ok(frames)
    }
}

impl Frame {
    fn send(&mut self, socket: &UnixStream) -> rustix::io::Result<usize> {
        let rest = [IoSlice::new(&self.bytes[self.sent..])];
        let beside: Vec<_> = self.descriptors.iter().map(AsFd::as_fd).collect();
        let mut space = [MaybeUninit::uninit(); cmsg_space!(ScmRights(DESCRIPTORS))];
        let mut buffer = SendAncillaryBuffer::new(&mut space);
        if !beside.is_empty() {
            buffer.push(SendAncillaryMessage::ScmRights(&beside));
        }
        let sent = sendmsg(socket, &rest, &mut buffer, SendFlags::NOSIGNAL)?;
        self.descriptors.clear();
        Ok(sent)
    }
}

impl AsFd for Control {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write as _;

    use serde_json::Value;

    #[test]
    fn frames_that_come_in_pieces_are_put_together() {
        let (near, mut far) = UnixStream::pair().unwrap();
        near.set_nonblocking(true).unwrap();
        let mut control = Control::new(near);
        far.write_all(b"\x02\0\0\0{}\x07\0\0\0{\"a\"").unwrap();
        assert_eq!(control.receive::<Value>().unwrap().len(), 1);
        assert_eq!(control.receive::<Value>().unwrap().len(), 0);
        far.write_all(b":1}").unwrap();
        assert_eq!(control.receive::<Value>().unwrap()[0]["a"], 1);
        far.write_all(b"\xff\xff\xff\xff").unwrap();
        assert!(control.receive::<Value>().is_err());
    }

    #[test]
    fn what_does_not_fit_is_sent_later() {
        let (near, mut far) = UnixStream::pair().unwrap();
        near.set_nonblocking(true).unwrap();
        let mut control = Control::new(near);
        let large = "x".repeat(3_000_000);
        control.send(&large, Vec::new());
        assert!(!control.flush());
        let reader = std::thread::spawn(move || {
            let mut read = vec![0; large.len() + 2 + 4];
            far.read_exact(&mut read).unwrap();
            read
        });
        while !control.flush() {
            std::thread::yield_now();
        }
        assert!(reader.join().unwrap().ends_with(b"xx\""));
    }
}

//! The worker's side of the line to one forked process.

use std::io::{IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{MemfdFlags, SeekFrom};
use rustix::io::Errno;
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags,
    SendAncillaryBuffer, SendAncillaryMessage, SendFlags, SocketFlags, SocketType,
};
use rustix::{cmsg_space, fs, io, net};

use crate::packet::{self, HEAD, IN_FILE, Junk, PACKET_LIMIT};

/// The most bytes that a packet in a file may have.
const FILE_LIMIT: u64 = 1 << 30;

/// The size of the page.
const PAGE: u64 = 4096;

/// The most bytes of its stacks that are read; a hundred deep threads are less.
const STACKS_LIMIT: usize = 4 << 20;

/// A socket for packets, and a page of memory with room for stacks behind it, that are shared with one process.
#[derive(Debug)]
pub(crate) struct Channel {
    near: OwnedFd,
    /// The process has this end too. What lies there unread can be taken back.
    far: OwnedFd,
    page: OwnedFd,
}

/// What became of a packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Sent {
    Yes,
    /// There is no room until the process reads.
    Full,
}

/// What was read.
#[derive(Debug)]
pub(crate) enum Received<'a> {
    Packet(&'a [u8]),
    Nothing,
}

impl Channel {
    pub(crate) fn new() -> io::Result<Self> {
        let flags = SocketFlags::CLOEXEC;
        let (near, far) = net::socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None)?;
        let page = fs::memfd_create("celeriac-page", MemfdFlags::CLOEXEC)?;
        let channel = Self { near, far, page };
        channel.clear_stacks()?;
        Ok(channel)
    }

    /// What a process is given: its end, and the page.
    pub(crate) fn shared(&self) -> io::Result<[OwnedFd; 2]> {
        Ok([
            io::fcntl_dupfd_cloexec(&self.far, 0)?,
            io::fcntl_dupfd_cloexec(&self.page, 0)?,
        ])
    }

    /// Sends a packet, in a file if it is a large one. Never waits.
    pub(crate) fn send(&self, packet: &[u8]) -> io::Result<Sent> {
        let flags = SendFlags::DONTWAIT | SendFlags::NOSIGNAL;
        let sent = if packet.len() <= PACKET_LIMIT {
            net::send(&self.near, packet, flags)
        } else {
            self.send_file(packet, flags)
        };
        match sent {
            Ok(_) => Ok(Sent::Yes),
            // So many files may be on their way at once.
            Err(Errno::AGAIN | Errno::NOBUFS | Errno::TOOMANYREFS) => Ok(Sent::Full),
            Err(error) => Err(error),
        }
    }

    fn send_file(&self, packet: &[u8], flags: SendFlags) -> io::Result<usize> {
        let file = fs::memfd_create("celeriac-packet", MemfdFlags::CLOEXEC)?;
        let mut rest = packet;
        while !rest.is_empty() {
            let written = io::write(&file, rest)?;
            rest = &rest[written..];
        }
        let mut record = [0; HEAD];
        record[0] = IN_FILE;
        let files = [file.as_fd()];
        let mut space = [MaybeUninit::uninit(); cmsg_space!(ScmRights(1))];
        let mut beside = SendAncillaryBuffer::new(&mut space);
        beside.push(SendAncillaryMessage::ScmRights(&files));
        net::sendmsg(&self.near, &[IoSlice::new(&record)], &mut beside, flags)
    }

    /// Reads a packet into `buffer`, if there is one.
    ///
    /// # Errors
    ///
    /// [`Junk`] if it is none.
    pub(crate) fn receive<'a>(&self, buffer: &'a mut Vec<u8>) -> Result<Received<'a>, Junk> {
        receive(self.near.as_fd(), buffer)
    }

    /// Takes back the oldest packet that the process has not read, if there is one: its kind and number.
    pub(crate) fn take_back(&self, buffer: &mut Vec<u8>) -> Option<(u8, u64)> {
        match receive(self.far.as_fd(), buffer) {
            Ok(Received::Packet(packet)) => packet::label(packet),
            // What we sent is never junk.
            Ok(Received::Nothing) | Err(_) => None,
        }
    }

    /// Says on the page which call is interrupted.
    pub(crate) fn note_interrupted(&self, seq: u64) -> io::Result<()> {
        io::pwrite(&self.page, &seq.to_le_bytes(), 0).map(drop)
    }

    /// Makes room behind the page for what the process is about to say of its stacks. It writes where the
    /// position is, which both share.
    pub(crate) fn clear_stacks(&self) -> io::Result<()> {
        fs::ftruncate(&self.page, PAGE)?;
        fs::seek(&self.page, SeekFrom::Start(PAGE)).map(drop)
    }

    /// How many bytes it has written there by now.
    pub(crate) fn stacks_size(&self) -> u64 {
        let size = fs::fstat(&self.page).map_or(0, |status| status.st_size);
        u64::try_from(size).unwrap_or(0).saturating_sub(PAGE)
    }

    /// What it has written there, up to a limit.
    pub(crate) fn stacks(&self) -> io::Result<String> {
        let size = usize::try_from(self.stacks_size()).unwrap_or(usize::MAX);
        let mut text = vec![0; size.min(STACKS_LIMIT)];
        let read = io::pread(&self.page, &mut text, PAGE)?;
        Ok(String::from_utf8_lossy(&text[..read]).into_owned())
    }
}

impl AsFd for Channel {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.near.as_fd()
    }
}

fn receive<'a>(socket: BorrowedFd<'_>, buffer: &'a mut Vec<u8>) -> Result<Received<'a>, Junk> {
    tidy(buffer);
    buffer.resize(buffer.len().max(PACKET_LIMIT), 0);
    let mut space = [MaybeUninit::uninit(); cmsg_space!(ScmRights(1))];
    let mut beside = RecvAncillaryBuffer::new(&mut space);
    let flags = RecvFlags::DONTWAIT | RecvFlags::CMSG_CLOEXEC;
    let read = loop {
        let mut into = [IoSliceMut::new(&mut buffer[..PACKET_LIMIT])];
        match net::recvmsg(socket, &mut into, &mut beside, flags) {
            Ok(read) => break read,
            Err(Errno::INTR) => {}
            // Whatever is wrong with the socket, the death of the process says.
            Err(_) => return Ok(Received::Nothing),
        }
    };
    let file = beside.drain().find_map(|message| match message {
        RecvAncillaryMessage::ScmRights(mut files) => files.next(),
        _ => None,
    });
    if read.flags.contains(ReturnFlags::TRUNC) {
        return Err(Junk::new("a packet is longer than any may be"));
    }
    if read.bytes == 0 {
        return Ok(Received::Nothing);
    }
    match (buffer[0], file) {
        (IN_FILE, Some(file)) => contents(&file, buffer).map(Received::Packet),
        (IN_FILE, None) => Err(Junk::new("a packet in a file has none beside it")),
        _ => Ok(Received::Packet(&buffer[..read.bytes])),
    }
}

/// Gives back the memory that a large packet took.
pub(crate) fn tidy(buffer: &mut Vec<u8>) {
    if buffer.capacity() > 16 * PACKET_LIMIT {
        *buffer = Vec::new();
    }
}

/// The packet that a file holds.
fn contents<'a>(file: &OwnedFd, buffer: &'a mut Vec<u8>) -> Result<&'a [u8], Junk> {
    let unreadable = |error: Errno| Junk::new(format!("a packet cannot be read: {error}"));
    let size = fs::fstat(file).map_err(unreadable)?.st_size;
    let size = u64::try_from(size).unwrap_or(u64::MAX);
    if size > FILE_LIMIT {
        return Err(Junk::new(format!("a packet has {size} bytes")));
    }
    let size = usize::try_from(size).expect("it is below 1 GiB");
    buffer.resize(size.max(PACKET_LIMIT), 0);
    let mut done = 0;
    while done < size {
        // Its sender may make it shorter meanwhile.
        match io::pread(file, &mut buffer[done..size], done as u64).map_err(unreadable)? {
            0 => break,
            read => done += read,
        }
    }
    Ok(&buffer[..done])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::packet::{Order, put, put_short};

    fn packet(seq: u64, body: &[u8]) -> Vec<u8> {
        let mut packet = Vec::new();
        put(&mut packet, Order::Run, seq, |_| {}, body);
        packet
    }

    #[test]
    fn what_is_not_read_is_taken_back_in_its_order() {
        let channel = Channel::new().unwrap();
        let mut leave = Vec::new();
        put_short(&mut leave, Order::Leave, 0);
        let large = vec![7; 3 * PACKET_LIMIT];
        for sent in [packet(1, b"a"), packet(2, &large), packet(3, b"b"), leave] {
            assert_eq!(channel.send(&sent), Ok(Sent::Yes));
        }
        // The process reads the first.
        let mut buffer = Vec::new();
        let read = receive(channel.far.as_fd(), &mut buffer).unwrap();
        assert!(matches!(read, Received::Packet(first) if *first == packet(1, b"a")));
        let taken: Vec<_> = std::iter::from_fn(|| channel.take_back(&mut buffer)).collect();
        assert_eq!(taken, [(1, 2), (1, 3), (5, 0)]);
    }

    #[test]
    fn a_large_packet_arrives_whole() {
        let channel = Channel::new().unwrap();
        let large: Vec<u8> = (0..1_000_000_u32).map(|n| n.to_le_bytes()[0]).collect();
        channel.send(&packet(9, &large)).unwrap();
        let mut buffer = Vec::new();
        match receive(channel.far.as_fd(), &mut buffer).unwrap() {
            Received::Packet(read) => assert!(read == packet(9, &large)),
            Received::Nothing => panic!("nothing came"),
        }
    }

    #[test]
    fn a_full_channel_says_so() {
        let channel = Channel::new().unwrap();
        let some = packet(1, &[0; 1000]);
        let sent = (0..10_000).find(|_| channel.send(&some) == Ok(Sent::Full));
        assert!(sent.is_some_and(|count| count > 64), "{sent:?}");
    }

    #[test]
    fn a_file_that_is_missing_is_junk() {
        let channel = Channel::new().unwrap();
        let mut record = [0; HEAD];
        record[0] = IN_FILE;
        net::send(&channel.far, &record, SendFlags::DONTWAIT).unwrap();
        assert!(channel.receive(&mut Vec::new()).is_err());
    }
}

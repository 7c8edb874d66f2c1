//! Where large bodies are put by one side and found by the other.

use std::io;

use memmap2::Mmap;
use rustix::buffer::spare_capacity;
use rustix::fs::FallocateFlags;
use rustix::io::Errno;

use super::Arena;
use crate::os::{self, SharedBytes};

/// A region's pages are kept for the next body up to here, and given back beyond.
pub(in crate::processes) const KEPT_BYTES: u64 = KEPT as u64;
const KEPT: usize = 8 * 1024 * 1024;

/// Each region's address space; pages exist only where something was written.
const REGION_BITS: u32 = 36;

/// The longest text of bytes that fits a region.
pub(in crate::processes) const REGION_BYTES: u64 = 1 << REGION_BITS;

/// Where the regions of so many seats end.
pub(super) fn end(seats: usize) -> u64 {
    (1 + 2 * seats as u64) << REGION_BITS
}

/// Where one body, or several, are put by one side and found by the other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(in crate::processes) struct Region {
    /// Where in the file it begins.
    at: u64,
}

impl Region {
    /// What a parent writes and its child reads.
    pub(in crate::processes) fn inbox(seat: u32) -> Self {
        Self {
            at: (1 + 2 * u64::from(seat)) << REGION_BITS,
        }
    }

    /// What a child writes and its parent reads.
    pub(in crate::processes) fn outbox(seat: u32) -> Self {
        Self {
            at: (2 + 2 * u64::from(seat)) << REGION_BITS,
        }
    }
}

impl Arena {
    /// Puts bytes at `offset` of a region.
    pub(in crate::processes) fn write(
        &self,
        region: Region,
        offset: u64,
        mut bytes: &[u8],
    ) -> io::Result<()> {
        let mut at = region.at + offset;
        while !bytes.is_empty() {
            let written = rustix::io::retry_on_intr(|| rustix::io::pwrite(&self.file, bytes, at))?;
            at += written as u64;
            bytes = &bytes[written..];
        }
        Ok(())
    }

    /// Copies `len` bytes from `offset` on out of a region.
    pub(in crate::processes) fn read(
        &self,
        region: Region,
        offset: u64,
        len: usize,
    ) -> io::Result<Vec<u8>> {
        let mut out = Vec::with_capacity(len);
        while out.len() < len {
            let at = region.at + offset + out.len() as u64;
            match rustix::io::pread(&self.file, spare_capacity(&mut out), at) {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(_) | Err(Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
        // The allocator may have given more room than was asked for.
        out.truncate(len);
        Ok(out)
    }

    /// Sees to it that a region has memory behind it up to `end`.
    pub(in crate::processes) fn back(&self, region: Region, end: u64) -> io::Result<()> {
        let flags = FallocateFlags::KEEP_SIZE;
        rustix::io::retry_on_intr(|| rustix::fs::fallocate(&self.file, flags, region.at, end))?;
        Ok(())
    }

    /// The bytes of a region that are kept, to be copied in and out.
    pub(in crate::processes) fn view(&self, region: Region) -> io::Result<SharedBytes> {
        SharedBytes::map(&self.file, region.at, KEPT)
    }

    /// The child's side: the bytes of an inbox that are kept, to be looked at in place.
    pub(in crate::processes) fn view_inbox(&self, seat: u32) -> io::Result<Mmap> {
        os::map_theirs(&self.file, Region::inbox(seat).at, KEPT)
    }

    /// Gives back the pages of what has been read from a region, beyond those worth keeping.
    pub(in crate::processes) fn trim(&self, region: Region, offset: u64, len: u64) {
        let start = offset.max(KEPT_BYTES);
        let end = offset + len;
        if start < end {
            // Not doing it costs memory only.
            let _ = rustix::fs::fallocate(
                &self.file,
                FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE,
                region.at + start,
                end - start,
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::Shape;
    use super::*;

    const SHAPE: Shape = Shape { lanes: 2, seats: 3 };

    #[test]
    fn a_body_survives_the_arena() {
        let arena = Arena::create(SHAPE).unwrap();
        let body: Vec<u8> = (0..10_000_000_u32).map(|n| n.to_le_bytes()[0]).collect();
        let inbox = Region::inbox(2);
        arena.write(inbox, 0, &body).unwrap();
        assert!(arena.read(inbox, 0, body.len()).unwrap() == body);
        arena.trim(inbox, 0, body.len() as u64);
        let read = arena.read(inbox, 0, body.len()).unwrap();
        assert!(read[..8 << 20] == body[..8 << 20] && read[8 << 20..].iter().all(|&b| b == 0));
    }
}

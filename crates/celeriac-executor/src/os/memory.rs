//! Memory that two processes share.

use std::io;
use std::os::fd::{AsFd, AsRawFd};
use std::ptr;
use std::sync::atomic::AtomicU64;

use memmap2::{Mmap, MmapMut, MmapOptions, MmapRaw};

/// Words of memory that two processes share, from the start of a file.
#[derive(Debug)]
pub(crate) struct SharedWords {
    map: MmapRaw,
    count: usize,
}

impl SharedWords {
    /// Maps `count` words from the start of `file`, which must be sealed against shrinking.
    pub(crate) fn map(file: impl AsFd, count: usize) -> io::Result<Self> {
        let map = MmapOptions::new()
            .len(count * 8)
            .map_raw(file.as_fd().as_raw_fd())?;
        Ok(Self { map, count })
    }

    /// The words.
    #[expect(clippy::cast_ptr_alignment, reason = "a mapping is page-aligned")]
    pub(crate) fn words(&self) -> &[AtomicU64] {
        // SAFETY: the mapping is page-aligned, `count` words long, lives as long as `self` and
        // cannot be cut off by the other process because the file is sealed. Whatever the other
        // process stores is a valid word, and each access is atomic.
        unsafe { std::slice::from_raw_parts(self.map.as_ptr().cast::<AtomicU64>(), self.count) }
    }
}

/// Bytes that two processes share: copied in and out, and never looked at in place.
#[derive(Debug)]
pub(crate) struct SharedBytes(MmapRaw);

impl SharedBytes {
    /// Maps `len` bytes of `file` from `offset` on, which must be sealed against shrinking.
    pub(crate) fn map(file: impl AsFd, offset: u64, len: usize) -> io::Result<Self> {
        let map = MmapOptions::new()
            .offset(offset)
            .len(len)
            .map_raw(file.as_fd().as_raw_fd())?;
        Ok(Self(map))
    }

    /// Copies `bytes` to `offset`.
    ///
    /// # Panics
    ///
    /// If they are not within what was mapped.
    pub(crate) fn write(&self, offset: usize, bytes: &[u8]) {
        assert!(offset <= self.0.len() && bytes.len() <= self.0.len() - offset);
        // SAFETY: the range is mapped, as just checked, and no reference points into it.
        // What another process writes there meanwhile only changes which bytes it will read.
        unsafe {
            let place = self.0.as_mut_ptr().add(offset);
            ptr::copy_nonoverlapping(bytes.as_ptr(), place, bytes.len());
        }
    }

    /// Copies `len` bytes from `offset` on out of it.
    ///
    /// # Panics
    ///
    /// If they are not within what was mapped.
    pub(crate) fn read(&self, offset: usize, len: usize) -> Vec<u8> {
        assert!(offset <= self.0.len() && len <= self.0.len() - offset);
        let mut bytes = Vec::with_capacity(len);
        // SAFETY: the range is mapped, as just checked, and the vector has room for it; all `len`
        // bytes are initialised by the copy. Should another process write there meanwhile, they are
        // some bytes or others, and each is valid.
        unsafe {
            ptr::copy_nonoverlapping(self.0.as_ptr().add(offset), bytes.as_mut_ptr(), len);
            bytes.set_len(len);
        }
        bytes
    }
}

/// Maps memory that this process writes and another only reads, through `pread`.
pub(crate) fn map_own(file: impl AsFd, offset: u64, len: usize) -> io::Result<MmapMut> {
    // SAFETY: the file is sealed against shrinking, and no other process maps or writes this range.
    unsafe {
        MmapOptions::new()
            .offset(offset)
            .len(len)
            .map_mut(file.as_fd().as_raw_fd())
    }
}

/// Maps memory that the other process writes, at times when nobody looks at it here.
pub(crate) fn map_theirs(file: impl AsFd, offset: u64, len: usize) -> io::Result<Mmap> {
    // SAFETY: the file is sealed against shrinking. A parent writes to an inbox only while its seat
    // is free, that is before the child is told of the chunk and after it has sent the last outcome,
    // and the child reads it only in between. The parent is the same program as the child.
    unsafe {
        MmapOptions::new()
            .offset(offset)
            .len(len)
            .map(file.as_fd().as_raw_fd())
    }
}

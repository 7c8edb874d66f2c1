//! Memory that processes share: the one place of this scope with unsafe code.
//!
//! # Invariants
//!
//! - All of it is seen as atomic words and nothing else. Whatever another process stores is a valid word,
//!   so no other process can break the rules of this language here, only those of its own protocol.
//! - A place is always seen in one width: the first words as [`Memory::wide`] ones, the rest as narrow ones.
#![allow(unsafe_code, reason = "shared mappings have no safe interface")]

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd as _, BorrowedFd};
use std::sync::atomic::{AtomicU32, AtomicU64};

use memmap2::{MmapOptions, MmapRaw};
use rustix::fs::{MemfdFlags, SealFlags, fcntl_add_seals, fcntl_get_seals, memfd_create};

/// A file in memory, mapped.
#[derive(Debug)]
pub(super) struct Memory {
    file: File,
    map: MmapRaw,
}

impl Memory {
    /// So many words of zeros, which nobody else can open but through this process.
    pub(super) fn new(words: usize) -> io::Result<Self> {
        let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
        let file = File::from(memfd_create("celeriac", flags)?);
        rustix::fs::fchmod(&file, rustix::fs::Mode::from_raw_mode(0o600))?;
        file.set_len(words as u64 * 4)?;
        // What cannot shrink cannot be cut off from under a mapping.
        fcntl_add_seals(&file, SealFlags::SHRINK | SealFlags::GROW | SealFlags::SEAL)?;
        Self::map(file)
    }

    /// What another process has made. It must be sealed as ours is.
    pub(super) fn map(file: File) -> io::Result<Self> {
        let sealed = fcntl_get_seals(&file).is_ok_and(|seals| seals.contains(SealFlags::SHRINK));
        if !sealed {
            return Err(io::Error::other("it is no segment of shared memory"));
        }
        let len = usize::try_from(file.metadata()?.len()).map_err(io::Error::other)?;
        let map = MmapOptions::new().len(len).map_raw(file.as_raw_fd())?;
        Ok(Self { file, map })
    }

    /// How many narrow words it has.
    fn len(&self) -> usize {
        self.map.len() / 4
    }

    /// The words from `start` on, which must be after all that is seen as wide.
    #[expect(clippy::cast_ptr_alignment, reason = "a mapping begins with a page")]
    pub(super) fn narrow(&self, start: usize) -> &[AtomicU32] {
        let count = self.len().saturating_sub(start);
        let first = start.min(self.len());
        // SAFETY: the mapping begins with a page and lives as long as `self`; it cannot be cut off because
        // the file is sealed, and `first + count` is its length. Every bit pattern is a valid word.
        unsafe {
            let words = self.map.as_ptr().cast::<AtomicU32>().add(first);
            std::slice::from_raw_parts(words, count)
        }
    }

    /// So many wide words from the start on; fewer if it is shorter.
    #[expect(clippy::cast_ptr_alignment, reason = "a mapping begins with a page")]
    pub(super) fn wide(&self, count: usize) -> &[AtomicU64] {
        let count = count.min(self.map.len() / 8);
        // SAFETY: as above, and a page is aligned for wide words too.
        unsafe { std::slice::from_raw_parts(self.map.as_ptr().cast::<AtomicU64>(), count) }
    }
}

impl AsFd for Memory {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}

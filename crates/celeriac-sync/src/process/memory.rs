//! Memory that processes share: the one place of this scope with unsafe code.
//!
//! # Invariants
//!
//! - All of it is seen as atomic words and nothing else. Whatever another process stores is a valid word,
//!   so no other process can break the rules of this language here, only those of its own protocol.
//! - A place is always seen in one width: the first words as [`Memory::wide`] ones, then come narrow ones, and
//!   from a word on that the type in the segment knows wide ones again.
//!
//! - No word is used that is not [backed](Memory::back): one without memory behind it could not say that there is
//!   none, and would end the process with SIGBUS.
//!
//! Words that are not backed take no memory, so a type may have as many as it could ever need.
#![allow(unsafe_code, reason = "shared mappings have no safe interface")]

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd as _, BorrowedFd};
use std::sync::atomic::{AtomicU32, AtomicU64};

use memmap2::{MmapOptions, MmapRaw};
use rustix::fs::{
    FallocateFlags, MemfdFlags, SealFlags, fallocate, fcntl_add_seals, fcntl_get_seals,
    memfd_create,
};
use rustix::io::retry_on_intr;
use rustix::process::{Resource, getrlimit};

/// A file in memory, mapped.
#[derive(Debug)]
pub(super) struct Memory {
    file: File,
    map: MmapRaw,
}

impl Memory {
    /// So many words of zeros, which nobody else can open but through this process.
    pub(super) fn new(words: usize) -> io::Result<Self> {
        // Whoever makes a file larger than it may is killed for it, unless it asks before.
        let most = getrlimit(Resource::Fsize).current;
        if most.is_some_and(|most| words as u64 * 4 > most) {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
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

    /// All words from the narrow one `start` on as wide ones.
    #[expect(clippy::cast_ptr_alignment, reason = "a mapping begins with a page")]
    pub(super) fn wide_from(&self, start: usize) -> &[AtomicU64] {
        let first = start.div_ceil(2).min(self.map.len() / 8);
        let count = self.map.len() / 8 - first;
        // SAFETY: as for narrow words; `first + count` is the length in wide ones, for which a page is
        // aligned too.
        unsafe {
            let words = self.map.as_ptr().cast::<AtomicU64>().add(first);
            std::slice::from_raw_parts(words, count)
        }
    }

    /// Puts memory behind so many words from `start` on.
    pub(super) fn back(&self, start: usize, words: usize) -> io::Result<()> {
        let (start, len) = (start as u64 * 4, words as u64 * 4);
        #[cfg(test)]
        super::shortage::take(&self.file, start, len)?;
        // A signal may come meanwhile.
        retry_on_intr(|| fallocate(&self.file, FallocateFlags::empty(), start, len))?;
        Ok(())
    }

    /// Gives back the memory behind so many words from `start` on, which are zero afterwards.
    pub(super) fn give_back(&self, start: usize, words: usize) {
        let (start, len) = (start as u64 * 4, words as u64 * 4);
        #[cfg(test)]
        super::shortage::give_back(&self.file, start, len);
        let flags = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
        // What the system does not take back is used again.
        let _ = fallocate(&self.file, flags, start, len);
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

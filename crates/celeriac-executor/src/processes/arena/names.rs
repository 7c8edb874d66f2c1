//! What is said on the board, and of what.

/// The name of one call in a child: the serial number of its chunk there, and its place in that.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(in crate::processes) struct CallName {
    /// Counted from 1 in each child, so that no name is all zeros.
    pub(in crate::processes) serial: u32,
    pub(in crate::processes) index: u32,
}

impl CallName {
    pub(super) fn pack(self) -> u64 {
        u64::from(self.serial) << 32 | u64::from(self.index)
    }

    #[expect(clippy::cast_possible_truncation, reason = "both halves are wanted")]
    pub(super) fn unpack(word: u64) -> Self {
        Self {
            serial: (word >> 32) as u32,
            index: word as u32,
        }
    }
}

/// A call that a lane runs, or ran last.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::processes) struct Running {
    pub(in crate::processes) lane: usize,
    pub(in crate::processes) call: CallName,
    /// When it began; means something only if it has limits.
    pub(in crate::processes) since: u64,
}

/// What became of a chunk that was sent to a seat.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::processes) enum Claim {
    /// Nobody has touched it.
    Queued,
    /// The child has begun with it.
    Started,
    /// The parent took it back, or it was an earlier chunk.
    Gone,
}

/// What the parent has to tell about a chunk that runs. Larger ones overtake smaller ones.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u64)]
pub(in crate::processes) enum Notice {
    /// Its soft time limit has passed, says the sender.
    Soft = 1 << 2,
    /// The calls not begun yet are not wanted: the pool shuts down.
    SkipRest = 1 << 3,
    /// It was cancelled.
    Cancel = 1 << 4,
    /// It should end because the pool or worker does.
    Shutdown = 1 << 5,
}

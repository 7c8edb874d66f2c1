//! What a manager and its clients bear.

use std::time::Duration;

/// How many connections may be in their handshake. Then the oldest one is closed for each that comes.
pub(super) const HALF_OPEN: usize = 1024;

/// How many connections may have proved to know the key.
pub(super) const OPEN: usize = 8192;

/// How long a handshake may take.
pub(super) const HANDSHAKE: Duration = Duration::from_secs(5);

/// How long the bytes of a frame may be on their way.
pub(super) const FRAME: Duration = Duration::from_secs(30);

/// The largest frame, in bytes. It is a multiple of what one call may say, as calls travel together.
pub(super) const LARGEST: usize = 64 << 20;

/// How many words may wait for who is told them.
pub(super) const WORDS: usize = 4096;

/// How often something is said to who is only told, so that a dead connection is noticed.
pub(super) const SILENCE: Duration = Duration::from_secs(15);

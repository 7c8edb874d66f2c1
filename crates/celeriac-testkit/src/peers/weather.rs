//! What befalls what a network carries.

use std::sync::Arc;
use std::time::Duration;

use super::proxy::{Fault, Way};

/// What befalls what is carried.
#[derive(Debug, Clone, Default)]
pub(super) struct Weather {
    /// Whether requests are held, and whether replies are.
    pub(super) held: [bool; 2],
    pub(super) refused: bool,
    pub(super) delay: Duration,
    /// How much is carried in a second, each way; no matter how much if 0.
    pub(super) bytes_per_s: u32,
    /// After so many bytes this way a connection ends.
    pub(super) torn: Option<(Way, usize)>,
    /// How often connections were cut.
    pub(super) cuts: u64,
    /// What to do once a reply contains these bytes.
    pub(super) trap: Option<(Arc<[u8]>, Fault)>,
    pub(super) sprung: bool,
}

impl Weather {
    /// How long it takes until so many bytes have been sent.
    pub(super) fn takes(&self, bytes: usize) -> Duration {
        match self.bytes_per_s {
            0 => Duration::ZERO,
            #[expect(clippy::cast_precision_loss, reason = "a read is of 64 KiB at most")]
            bytes_per_s => Duration::from_secs_f64(bytes as f64 / f64::from(bytes_per_s)),
        }
    }

    pub(super) fn strike(&mut self, fault: Fault) {
        match fault {
            Fault::Cut => self.cuts += 1,
            Fault::Hold => self.held = [true; 2],
            Fault::HoldRequests => self.held[Way::Requests as usize] = true,
            Fault::HoldReplies => self.held[Way::Replies as usize] = true,
            Fault::Refuse => {
                self.cuts += 1;
                self.refused = true;
            }
        }
    }
}

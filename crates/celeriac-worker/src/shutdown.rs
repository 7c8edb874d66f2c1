//! How a worker is asked to stop, from friendly to final.

/// How a worker stops. Each mode is harder than the one before and overtakes it.
///
/// # Sources
///
/// The ladder is Celery's: warm, soft, cold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Shutdown {
    /// Fetch nothing more and give back what has not started, at once and uncounted. What runs may
    /// finish within the grace period; then it is as with [`Cold`](Self::Cold).
    Warm,
    /// As warm, and what runs is told to stop
    /// ([`Interrupt::Shutdown`](celeriac_core::Interrupt::Shutdown)). A task that does is given
    /// back.
    Soft,
    /// What runs is killed where the executor can, and given back now.
    Cold,
}

impl Shutdown {
    /// The next harder mode; cold is the last.
    #[must_use]
    pub fn harder(self) -> Self {
        match self {
            Self::Warm => Self::Soft,
            Self::Soft | Self::Cold => Self::Cold,
        }
    }
}

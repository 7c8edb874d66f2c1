//! The primitives of [`runners`](super::runners).

pub(super) use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering, fence};

//! One task, any scale.
#![forbid(unsafe_code)]

pub use celeriac_core::*;
#[cfg(feature = "macros")]
pub use celeriac_macros::*;

/// What the expansion of `#[task]` names. No part of the interface.
#[doc(hidden)]
pub mod __private {
    pub use celeriac_core as core;
    pub use linkme;
}

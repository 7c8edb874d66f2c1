//! One task, any scale.
#![forbid(unsafe_code)]

#[cfg(feature = "macros")]
mod entry;
pub mod report;

pub use celeriac_core::*;
#[cfg(feature = "macros")]
pub use celeriac_macros::*;

/// What the expansions of the attributes name. No part of the interface.
#[doc(hidden)]
pub mod __private {
    pub use celeriac_core as core;
    pub use linkme;

    #[cfg(feature = "macros")]
    pub use crate::entry::{Flavor, block_on, kind};
    pub use crate::report::exit;
}

//! What a driver can be told when it is opened.

use celeriac_core::payload::DEFAULT_BODY_LIMIT_BYTES;

/// How a store is opened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DriverOptions {
    /// The largest body that is published or delivered, in bytes; 16 MiB by default.
    pub body_limit_bytes: usize,
    /// What an answered call survives.
    pub durability: Durability,
    /// Whether a store that is not there is made; true by default.
    pub create: bool,
}

impl Default for DriverOptions {
    fn default() -> Self {
        Self {
            body_limit_bytes: DEFAULT_BODY_LIMIT_BYTES,
            durability: Durability::Full,
            create: true,
        }
    }
}

/// What an answered call survives.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Durability {
    /// A power cut.
    #[default]
    Full,
    /// A crash of any process, but a power cut may lose the last moments.
    Normal,
}

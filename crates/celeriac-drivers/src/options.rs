//! What a driver can be told when it is opened.

use std::sync::Arc;

use celeriac_core::Topology;
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
    /// The queues that are declared otherwise than by their names alone: none by default.
    pub topology: Arc<Topology>,
}

impl Default for DriverOptions {
    fn default() -> Self {
        Self {
            body_limit_bytes: DEFAULT_BODY_LIMIT_BYTES,
            durability: Durability::Full,
            create: true,
            topology: Arc::default(),
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

//! What the programs of the gallery share: the arguments that choose a place, opening it, progress
//! bars, and a small HTTP server to fetch from.
//!
//! Nothing here is needed to use celeriac: `App::on("threads").await` is all of it.
#![forbid(unsafe_code)]

mod bars;
pub mod http;
pub mod server;
mod site;

pub use crate::bars::Bars;
pub use crate::site::{Common, Error, Result, Site, WorkerChoice};

//! What the programs of the gallery share: the arguments that choose a place, opening it, progress
//! bars, a small HTTP server to fetch from, and workers that share something in one of three scopes.
//!
//! Nothing here is needed to use celeriac: `App::on("threads").await` is all of it.
#![forbid(unsafe_code)]

mod bars;
pub mod http;
mod scopes;
pub mod server;
mod site;
mod team;

pub use crate::bars::Bars;
pub use crate::scopes::Done;
#[doc(hidden)]
pub use crate::scopes::Here;
pub use crate::site::{Common, Error, Result, Site, WorkerChoice};
pub use crate::team::{Scope, Sharing, Team};

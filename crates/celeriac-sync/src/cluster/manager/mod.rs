//! A served manager: objects in the memory of one process, for programs on other machines.
//!
//! A client has two connections: on one it sends batches and gets outcomes, on the other it is told of
//! answers. Both begin with a handshake, in which each side proves that it knows the key without telling it.
//! What follows is neither encrypted nor signed, unless all of it is within TLS: between machines that do not
//! trust the network it has to be, or belongs into a tunnel.
//!
//! # Invariants
//!
//! - Who has not proved to know the key costs no more than one small buffer, or what a handshake of TLS needs,
//!   for no longer than a few seconds, and there is a bound to how many there are. The oldest of them makes
//!   room for the newest.
//! - Nothing is allocated for a frame before its bytes have come, and frames are bounded.

mod client;
mod handshake;
mod key;
mod limits;
mod server;
mod stream;
mod tls;
mod wire;

pub(super) use client::Client;
pub use key::Key;
pub use server::Manager;
pub(super) use tls::trust;

/// A manager as clients name it.
fn place(encrypted: bool, address: impl std::fmt::Display) -> String {
    let scheme = if encrypted { "managers" } else { "manager" };
    format!("{scheme}://{address}")
}

//! Broker and result backend in one SQLite file, shared by the processes of one machine.
//!
//! A store has three threads. The writer gathers commands into transactions; the reader answers
//! questions on a snapshot of its own; the keeper watches for news from other processes, renews
//! leases and ends those of the dead. Callers exchange messages with them and may run on any
//! executor, or on none.
//!
//! ```text
//!  publish, settle ──▶ writer ──commit──▶ file ◀── reader ◀── fetch, queues
//!                        │ one byte         ▲
//!                        ▼                  │ what is new?
//!                     <db>-wake ─inotify─▶ keeper of every process ─▶ receive, watch
//! ```
//!
//! # Invariants
//!
//! - A message is in exactly one of ready, delayed and held, or it is settled or dead.
//! - What was answered survives a power cut, unless [`Durability::Normal`](crate::Durability) was
//!   asked for. Claims and heartbeats are not synced: losing one repeats a delivery at most.
//! - A delivery is settled by its holder only, and a lost lease stores nothing.
//! - The file is made whole or not at all, for its owner only, and never made anew over another.
//!
//! # Sources
//!
//! Durability follows SQLite's documentation of write-ahead logging and `PRAGMA synchronous`.

mod check;
mod chords;
mod claim;
mod consumer;
mod failure;
mod keeper;
mod lease;
mod linux;
mod messages;
mod place;
mod reader;
mod results;
mod schema;
mod settle;
mod signals;
mod statements;
mod store;
mod transaction;
mod wake;
mod watch;
mod writer;

pub use check::{Counts, Report, check};
pub use store::{SqliteStore, open};

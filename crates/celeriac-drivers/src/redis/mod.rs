//! Broker and result backend in Redis, over the same keys as Celery's Python workers and clients.
//!
//! Lists hold queues, one for each priority step. A consumer claims with one script that pops and
//! books in the same step, in kombu's own hash and index, so that nothing is ever nowhere and a
//! Python worker finds what we hold where it would have put it. Beside them stand keys of our own,
//! all beginning with `_celeriac.`: who holds what and for how long, how often a message was
//! delivered, what waits for its time, what is dead.
//!
//! ```text
//!  publish ──LPUSH──▶ lists ──claim──▶ unacked ──settle──▶ result, follow-ups, ack
//!                       ▲                │  │
//!                       ├── take back ◀──┘  └── park ──▶ waits for its time ──claim──▶ unacked
//!                       └── a dead holder's, within seconds of the end of its lease
//! ```
//!
//! # Invariants
//!
//! - A message is in exactly one of a list, `unacked`, the waiting ones and the dead, or settled.
//! - Its delivery count is written before anybody reads it.
//! - A delivery is settled by its holder only, and a lost lease stores nothing.
//! - Whether a lease has ended is decided by the server, on the server's clock.
//! - What Python wrote is passed on to the letter, but for the two flags of a redelivery.
//!
//! # What it survives
//!
//! What an answered call survives is the server's matter: with `appendonly yes` and `appendfsync
//! always` a power cut, with `everysec` all but its last second, without persistence nothing. A
//! replica that takes over has lost what had not reached it.
//!
//! # Delayed messages
//!
//! A message with a time to come is sent as Celery sends it. The first consumer of ours that meets
//! it puts it aside, where it costs no worker anything, and any consumer of ours delivers it when
//! it is due. When the last of them is closed while Python workers are bound, what waits goes back
//! to the lists; if it was killed instead, they wait for the next consumer of ours.
//!
//! # Sources
//!
//! kombu's Redis transport and Celery's Redis result backend: keys, envelopes, restoring.

mod broadcast;
mod bus;
mod carrying;
mod chords;
mod claim;
mod consumer;
mod control;
mod dead;
mod depth;
mod ears;
mod endings;
mod exchange;
mod failure;
mod fetch;
mod hold;
mod keeper;
mod keys;
mod leaving;
mod link;
mod outgoing;
mod pace;
mod reading;
mod results;
mod revocations;
mod scripts;
mod settings;
mod settle;
mod stale;
mod store;
mod watch;

use std::hash::{BuildHasher, RandomState};
use std::time::Duration;

pub use store::{RedisStore, open};

/// A time at random between a tenth of `most` and the whole of it.
fn full_jitter(most: Duration) -> Duration {
    let bits = RandomState::new().hash_one(0_u8) >> 11;
    #[expect(clippy::cast_precision_loss, reason = "53 bits fit a float exactly")]
    let share = bits as f64 / (1_u64 << 53) as f64;
    most.mul_f64(share.max(0.1))
}

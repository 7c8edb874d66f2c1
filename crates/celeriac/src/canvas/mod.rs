//! Calls composed into chains, groups and chords, and what sending them takes.
//!
//! ```
//! use celeriac::prelude::*;
//! use celeriac::{canvas, chain, chord, group};
//!
//! #[celeriac::task]
//! fn square(n: u64) -> u64 {
//!     n * n
//! }
//!
//! #[celeriac::task]
//! fn sum(numbers: &[u64]) -> u64 {
//!     numbers.iter().sum()
//! }
//!
//! #[celeriac::task]
//! fn show(text: &str, number: u64) -> String {
//!     format!("{text}{number}")
//! }
//!
//! # celeriac::blocking::block_on(async {
//! let app = App::on("threads=2").await?;
//! // What takes the value before it is `partial`; a `call` has all its arguments and ignores it.
//! let squares = group([square::call(1), square::call(2), square::call(3)]);
//! let all = chain![chord(squares, sum::partial()), square::partial()];
//! assert_eq!(app.send(all).await?.get().await?, 14 * 14);
//!
//! // A group can stand behind a value: each of its parts takes it.
//! let twice = square::call(2).then(group([square::partial(), square::partial()]));
//! assert_eq!(app.send(twice).await?.get().await?, [16, 16]);
//!
//! // Many inputs in few messages.
//! let chunked = canvas::chunks::<square>(0..5, 2);
//! assert_eq!(app.send(chunked).await?.get().await?, [vec![0, 1], vec![4, 9], vec![16]]);
//!
//! // A task of which only the name is known here, in Python perhaps.
//! let remote = canvas::remote::<(u64,), u64>(square::DEFINITION.name);
//! let mixed = square::call(2).then(remote.partial(())).then(show::call("done", 3));
//! assert_eq!(app.send(mixed).await?.get().await?, "done3");
//! # Ok::<(), celeriac::Error>(()) }).unwrap();
//! ```
//!
//! # Replacement
//!
//! A task that has a [`Context`](crate::Context) may end by putting a canvas in its place:
//!
//! ```
//! use celeriac::prelude::*;
//! use celeriac::{chord, group};
//!
//! #[celeriac::task]
//! fn square(n: u64) -> u64 {
//!     n * n
//! }
//!
//! #[celeriac::task]
//! fn sum(numbers: &[u64]) -> u64 {
//!     numbers.iter().sum()
//! }
//!
//! #[celeriac::task]
//! fn sum_of_squares(context: &Context, n: u64) -> Result<u64, TaskError> {
//!     context.replace(chord(group((0..n).map(square::call)), sum::partial()))
//! }
//!
//! # celeriac::blocking::block_on(async {
//! let app = App::on("threads=2").await?;
//! assert_eq!(app.send(sum_of_squares::call(4)).await?.get().await?, 14);
//! # Ok::<(), celeriac::Error>(()) }).unwrap();
//! ```
//!
//! # Failure
//!
//! A step that fails ends its chain: the handle has that step's error. If a part of a group in a
//! chain fails, the error is of the type `ChordError` and names the part; the other parts run on.
//! What is linked to a call ([`Signature::link`](crate::Signature::link)) changes nothing.

mod drive;
mod group;
mod lower;
mod pool;
mod publish;
mod send;

pub use celeriac_core::canvas::*;
pub use group::GroupHandle;
pub(crate) use pool::take_over;
pub use send::Sendable;
pub(crate) use send::send_one;

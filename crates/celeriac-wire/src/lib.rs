//! Celery's wire format: what travels between our workers and Python's, and what is stored for them.
//!
//! Drivers turn a [`Message`](celeriac_core::Message) into a [`WireMessage`] and that into what their
//! server holds: an AMQP message, or an [`Envelope`] in a Redis list. A
//! [`StoredResult`](celeriac_core::StoredResult) becomes the JSON of [`result`].
//!
//! # Invariants
//!
//! - No I/O and no clock: the time is an argument.
//! - What is malformed is an error that says what is wrong and does not repeat the body.
//! - What is not understood travels on: unknown headers, properties and fields are kept.
//!
//! # Sources
//!
//! Celery 5.7's task protocol 2, as its workers and clients were seen to speak it; `spec/message.md`
//! says what we write and accept.
#![forbid(unsafe_code)]

mod base64;
pub mod body;
pub mod canvas;
mod clock;
pub mod compression;
pub mod control;
pub mod envelope;
pub mod event;
mod fields;
pub mod message;
mod protocol1;
pub mod repr;
pub mod result;
pub mod signature;
mod tagged;

pub use body::{Body, BodyError, Embed};
pub use clock::Clock;
pub use compression::CompressionError;
pub use envelope::{Envelope, EnvelopeError};
pub use fields::Fields;
pub use message::{DecodeError, Properties, WireMessage};
pub use signature::{Composite, Signature, SignatureError};
pub use tagged::{Decimal, Extended, Tagged};

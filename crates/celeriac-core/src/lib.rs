//! The words and the ports of celeriac.
//!
//! A task's life is six values, each with one maker and one taker:
//!
//! ```text
//!  client              broker              worker               executor
//!  Signature ─encode─▶ Message ─deliver─▶ Delivery ─admit─▶ Invocation ─run─▶ Outcome
//!                         ▲                  ▲                                   │
//!                         └── follow-ups ── Settlement ◀──────── decide ─────────┘
//! ```
//!
//! # Invariants
//!
//! - This crate does no I/O, spawns nothing and reads no clock: time is an argument.
//! - Only the process that runs a task decodes its arguments; everybody else passes
//!   [`Payload`] bytes on.
#![forbid(unsafe_code)]

mod brief;
pub mod broker;
mod builtin;
pub mod bus;
pub mod canvas;
pub mod celery_acks;
pub mod chord;
pub mod chunk;
mod compression;
pub mod context;
pub mod decide;
pub mod destination;
pub mod executor;
#[doc(hidden)]
pub mod expansion;
pub mod id;
pub mod message;
pub mod moment;
mod opaque;
pub mod outcome;
pub mod payload;
pub mod place;
pub mod policy;
pub mod publish_retry;
pub mod queue;
pub mod registry;
pub mod results;
pub mod revoked;
pub mod route;
pub mod runtime;
pub mod signature;
pub mod task;
pub mod topology;
pub mod tree;

pub use brief::Brief;
pub use broker::{
    Broker, BrokerError, Cause, Consumer, ConsumerInfo, DeadMessage, DeadReason, Delivery,
    QueueInfo, Settled, Settlement, Verdict,
};
pub use bus::{Address, Bus, Listener, Notice, Topic};
pub use celery_acks::{Aftermath, CeleryAcks, Standing};
pub use chord::{ChordPart, ChordStore, Joined};
pub use chunk::{Chunk, OutcomeChunk};
pub use compression::Compression;
pub use context::{Context, Control, Interrupt, Interrupted, Progress};
pub use decide::decide;
pub use destination::{Destination, DestinationError, ExchangeKey};
pub use executor::{Executor, Invocation, Limits, Reply, Scope, SharedCalls, ShutdownMode, Work};
pub use id::TaskId;
pub use message::{Headers, Message};
pub use opaque::OpaqueType;
pub use outcome::{ErrorKind, Outcome, Raised, Retry, RetryAdvice, TaskError};
pub use payload::{ContentType, Payload, PayloadError};
pub use place::{BrokerUrl, Place, PlaceError};
pub use policy::{AckProfile, Backoff, RateLimit, ResultPolicy, RetryOn, RetryPolicy};
pub use publish_retry::PublishRetry;
pub use queue::{QueueName, QueueNameError};
pub use registry::{Registry, RegistryError};
pub use results::{ResultBackend, ResultState, StoredResult, Trail};
pub use revoked::RevokedCalls;
pub use route::{RouteError, Routes};
pub use runtime::{Conclusion, EncodedResult, End, Runtime, Told};
pub use signature::{CallOptions, Marks, Signature};
pub use task::{Run, Task, TaskDefinition, TaskOptions};
pub use topology::{Binding, Exchange, ExchangeKind, Queue, Topology, TopologyError};
pub use tree::Tree;

/// A future that owns what it needs or borrows it for `'a`, boxed so that ports stay object-safe.
pub type BoxFuture<'a, T> = std::pin::Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// What runs by itself until it is over.
pub type Coroutine = BoxFuture<'static, ()>;

/// Any error, boxed: the source of an error that crosses a port.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;
